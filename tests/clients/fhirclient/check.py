"""Drives fhirclient (SMART on FHIR) through the interactions an EHR uses, with a token that it gets itself.

Reads FHIR_BASE_URL, FHIR_CLIENT_ID, FHIR_CLIENT_KEY (a file) and FHIR_CLIENT_KEY_ID.
"""

import os
import time
import uuid

import jwt
import requests
from fhirclient import client
from fhirclient.models import bundle, condition, observation, operationoutcome, patient
from fhirclient.models.codeableconcept import CodeableConcept
from fhirclient.models.coding import Coding
from fhirclient.models.fhirdate import FHIRDate
from fhirclient.models.fhirreference import FHIRReference
from fhirclient.models.humanname import HumanName
from fhirclient.models.quantity import Quantity
from fhirclient.server import FHIRNotFoundException, FHIRUnauthorizedException

BASE_URL = os.environ["FHIR_BASE_URL"]
PAGE, OBSERVATIONS = 3, 7
family = f"Smart{time.time_ns()}"


def assertion():
    """What SMART Backend Services has a client sign."""
    name = os.environ["FHIR_CLIENT_ID"]
    with open(os.environ["FHIR_CLIENT_KEY"], encoding="ascii") as file:
        key = file.read()
    discovered = requests.get(f"{BASE_URL}/.well-known/smart-configuration", timeout=10).json()
    claims = {
        "iss": name,
        "sub": name,
        "aud": discovered["token_endpoint"],
        "exp": int(time.time()) + 60,
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode(claims, key, algorithm="ES384", headers={"kid": os.environ["FHIR_CLIENT_KEY_ID"]})


def connected():
    """A client that is authorized."""
    settings = {"app_id": "check", "api_base": BASE_URL, "scope": "system/*.cruds", "jwt_token": assertion()}
    smart = client.FHIRClient(settings=settings)
    # A program on its own: nobody chooses a patient for it.
    smart.wants_patient = False
    smart.prepare()
    smart.server.authorize()
    assert smart.ready, "the CapabilityStatement says where a token is had"
    return smart


def named(name):
    person = patient.Patient()
    person.name = [HumanName({"family": name, "given": ["Smart"]})]
    person.gender = "female"
    person.birthDate = FHIRDate("1980-02-29")
    return person


def refused(request, status):
    """The OperationOutcome of a request that must be refused."""
    try:
        request()
    except (FHIRNotFoundException, FHIRUnauthorizedException) as refusal:
        response = refusal.response
    except requests.HTTPError as refusal:
        response = refusal.response
    else:
        raise AssertionError(f"not refused with {status}")
    assert response.status_code == status, response.text
    return operationoutcome.OperationOutcome(response.json())


smart = connected()
server = smart.server
assert server.capabilityStatement.fhirVersion == "4.0.1"

created = patient.Patient(named(family).create(server))
assert created.meta.versionId == "1"
person = patient.Patient.read(created.id, server)
assert smart.human_name(person.name[0]) == f"Smart {family}"

person.gender = "other"
server.session.headers["If-Match"] = 'W/"1"'
assert person.update(server)["meta"]["versionId"] == "2"
refused(lambda: person.update(server), 412)
del server.session.headers["If-Match"]
first = patient.Patient.read_from(f"Patient/{created.id}/_history/1", server)
assert first.gender == "female"

# It knows neither patches nor conditions of its own: through its session, which carries the token.
headers = server.auth.signed_headers({"Content-Type": "application/json-patch+json"})
patched = server.session.patch(
    f"{BASE_URL}/Patient/{created.id}", json=[{"op": "replace", "path": "/gender", "value": "unknown"}], headers=headers
)
assert patient.Patient(patched.json()).gender == "unknown"
server.session.headers["If-None-Exist"] = f"family={family}"
assert named(family).create(server)["id"] == created.id
del server.session.headers["If-None-Exist"]

for number in range(OBSERVATIONS):
    seen = observation.Observation()
    seen.status = "final"
    seen.code = CodeableConcept({"coding": [Coding({"system": "http://loinc.org", "code": "29463-7"}).as_json()]})
    seen.subject = FHIRReference({"reference": f"Patient/{created.id}"})
    seen.valueQuantity = Quantity({"value": 70.5 + number, "unit": "kg"})
    seen.create(server)
search = observation.Observation.where({"patient": created.id, "_count": str(PAGE)})
pages = list(search.perform_iter(server))
assert [len(page.entry) for page in pages] == [3, 3, 1]
ids = {entry.resource.id for page in pages for entry in page.entry}
assert len(ids) == OBSERVATIONS, "paging neither skips nor repeats"
found = patient.Patient.where({"family": family}).include("subject", observation.Observation, reverse=True)
kinds = [resource.resource_type for resource in found.perform_resources_iter(server)]
assert sorted(kinds) == ["Observation"] * OBSERVATIONS + ["Patient"]

urn = f"urn:uuid:{uuid.uuid4()}"
diagnosis = condition.Condition()
diagnosis.subject = FHIRReference({"reference": urn})
diagnosis.code = CodeableConcept({"text": "checked"})
transaction = bundle.Bundle({"type": "transaction", "entry": [
    {"fullUrl": urn, "resource": named(f"{family}Two").as_json(), "request": {"method": "POST", "url": "Patient"}},
    {"resource": diagnosis.as_json(), "request": {"method": "POST", "url": "Condition"}},
]})
answer = bundle.Bundle(transaction.create(server))
assert answer.type == "transaction-response"
assert all(entry.response.status.startswith("201") for entry in answer.entry)

versions = bundle.Bundle.read_from(f"Patient/{created.id}/_history", server)
assert [entry.resource.gender for entry in versions.entry] == ["unknown", "other", "female"]
assert bundle.Bundle.read_from("_history?_count=1", server).type == "history"
everything = bundle.Bundle.read_from(f"Patient/{created.id}/$everything", server)
assert len(everything.entry) == 1 + OBSERVATIONS

invalid = refused(lambda: server.post_json("Observation", {"resourceType": "Observation", "code": {"text": "x"}}), 422)
assert "Observation.status" in invalid.issue[0].diagnostics
person.delete(server)
assert refused(lambda: patient.Patient.read(created.id, server), 410).issue[0].code == "deleted"
assert refused(lambda: patient.Patient.read("absent", server), 404).issue[0].code == "not-found"
server.auth.access_token = "wrong"
assert refused(lambda: patient.Patient.read("absent", server), 401).issue[0].code == "login"
print("fhirclient: all interactions as expected")
