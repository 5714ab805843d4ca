"""Drives fhirpy through the interactions an EHR uses. Reads FHIR_BASE_URL and FHIR_TOKEN."""

import os
import time

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

BASE_URL, TOKEN = os.environ["FHIR_BASE_URL"], os.environ["FHIR_TOKEN"]
client = SyncFHIRClient(BASE_URL, authorization=f"Bearer {TOKEN}")
family = f"Py{time.time_ns()}"

patient = client.resource("Patient", name=[{"family": family, "given": ["Fhir"]}], birthDate="1980-02-29")
patient.save()
assert patient.id, "the server assigns an id"

found = client.resources("Patient").search(family=family)
assert found.count() == 1, "count() needs Bundle.total"
assert found.first().birthDate == "1980-02-29"

for number in range(7):
    client.resource(
        "Observation",
        status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        subject=patient.to_reference(),
        valueQuantity={"value": 70 + number, "unit": "kg"},
    ).save()
observations = client.resources("Observation").search(patient=patient.id).limit(3).fetch_all()
assert len({observation.id for observation in observations}) == 7, "paging neither skips nor repeats"

patient["gender"] = "female"
patient.save()
assert client.reference("Patient", patient.id).to_resource()["gender"] == "female"

patient.patch(gender="other")
assert client.reference("Patient", patient.id).patch(active=True)["gender"] == "other", "a patch keeps what it does not name"
assert client.resources("Patient").search(family=family).patch(active=False)["active"] is False, "also by condition"
same = client.resource("Patient", name=[{"family": family}])
_, is_created = client.resources("Patient").search(family=family).update(same)
assert not is_created, "a conditional update replaces what meets the condition"

try:
    client.resource("Patient", id=patient.id, nonsense=1).save()
except OperationOutcome:
    pass
else:
    raise AssertionError("an unknown element is refused")

patient.delete()
try:
    client.reference("Patient", "absent").to_resource()
except ResourceNotFound:
    pass
else:
    raise AssertionError("an absent resource is not found")
print("fhirpy: all interactions as expected")
