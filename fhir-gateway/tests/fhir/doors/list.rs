//! The doors of gateway.md, each for one type: requests with places for a resource and its patient.

use std::collections::BTreeSet;

use careledger_gateway::resources::{Access, Resource, parameters::SearchType};
use serde_json::{Value, json};

use super::made::about;

/// By what a caller could learn of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Id,
    Vread,
    History,
    Search,
    Total,
    SummaryCount,
    Has,
    Chaining,
    Includes,
    Elements,
    LaterPages,
    Everything,
    Bulk,
    Subscriptions,
    BinaryUrl,
    ConditionalStatus,
    /// Not in the list by name: what the server does with a resource beyond the interactions of REST.
    Operations,
    /// IHE MHD.
    Documents,
}

/// A request. In path, headers and body stand `{id}` for the resource, `{patient}` for whom it is about, and
/// `{version}` for its version, 1 where it has none for the caller.
#[derive(Debug, Clone)]
pub struct Door {
    pub way: Way,
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
}

/// Whether a permitted caller changes something by a request.
pub fn writes(door: &Door) -> bool {
    door.method != "GET" && door.method != "HEAD" && !door.path.ends_with("_search")
}

const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");
const MERGE_PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const LATER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

#[derive(Default)]
struct Doors(Vec<Door>);

impl Doors {
    fn add(
        &mut self,
        way: Way,
        method: &'static str,
        path: String,
        headers: &[(&'static str, &'static str)],
        body: impl ToString,
    ) {
        self.0.push(Door { way, method, path, headers: headers.to_vec(), body: body.to_string() });
    }

    fn get(&mut self, way: Way, path: String) {
        self.add(way, "GET", path, &[], "");
    }

    /// An entry of a batch and of a transaction.
    fn entry(&mut self, way: Way, entry: &Value) {
        for kind in ["batch", "transaction"] {
            let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
            self.add(way, "POST", "/".to_owned(), &[], bundle);
        }
    }
}

/// Every door of a type.
pub fn doors(kind: &'static Resource) -> Vec<Door> {
    let mut doors = Doors::default();
    by_id(&mut doors, kind);
    by_search(&mut doors, kind);
    by_writing(&mut doors, kind);
    by_condition(&mut doors, kind);
    in_bundles(&mut doors, kind);
    by_operations(&mut doors, kind);
    match kind.name {
        "Binary" => of_binaries(&mut doors),
        "DocumentReference" | "List" => of_documents(&mut doors, kind.name),
        _ => {}
    }
    doors.0
}

fn by_id(doors: &mut Doors, kind: &Resource) {
    let name = kind.name;
    let path = || format!("/{name}/{{id}}");
    for headers in [
        &[][..],
        &[("accept", "application/fhir+xml")],
        &[("if-none-match", "W/\"{version}\"")],
        &[("if-none-match", "*")],
        &[("if-modified-since", LATER)],
    ] {
        doors.add(Way::Id, "GET", path(), headers, "");
    }
    doors.add(Way::Id, "HEAD", path(), &[], "");
    doors.get(Way::Elements, format!("{}?_elements=id", path()));
    doors.get(Way::Elements, format!("{}?_summary=text", path()));
    doors.get(Way::Vread, format!("{}/_history/1", path()));
    doors.get(Way::Vread, format!("{}/_history/2", path()));
    doors.add(Way::Vread, "GET", format!("{}/_history/1", path()), &[("if-none-match", "W/\"1\"")], "");
    for query in ["", "?_count=0", "?_since=2000-01-01", "?_at=ge2000", "?_count=1"] {
        doors.get(Way::History, format!("{}/_history{query}", path()));
    }
    doors.get(Way::History, format!("/{name}/_history?_cursor={name}/{{id}}/1"));
    doors.get(Way::History, format!("/_history?_cursor={name}/{{id}}/1"));
}

fn by_search(doors: &mut Doors, kind: &Resource) {
    let name = kind.name;
    for (way, query) in [
        (Way::Search, "_id={id}"),
        (Way::Search, "_id={id}&_sort=_lastUpdated&_count=1"),
        (Way::Search, "_id={id}&_sort=-_id,_lastUpdated"),
        (Way::Search, "_id={id}&_lastUpdated=gt2000-01-01"),
        (Way::Total, "_id={id}&_total=accurate&_count=1"),
        (Way::Total, "_id={id}&_count=0"),
        (Way::SummaryCount, "_id={id}&_summary=count"),
        (Way::Includes, "_id={id}&_include=*&_revinclude=*&_include:iterate=*"),
        (Way::Elements, "_id={id}&_summary=true&_elements=id"),
        (Way::LaterPages, "_id={id},mine-2&_count=1"),
        (Way::LaterPages, "_id={id},mine-2&_count=1&_sort=-_id,_lastUpdated"),
    ] {
        doors.get(way, format!("/{name}?{query}"));
    }
    doors.add(Way::Search, "POST", format!("/{name}/_search"), &[FORM], "_id={id}");
    doors.add(Way::Search, "GET", format!("/{name}?_id={{id}}"), &[("prefer", "handling=strict")], "");
    doors.add(Way::Search, "GET", format!("/{name}?_id={{id}}"), &[("accept", "application/fhir+xml")], "");
    if name == "Patient" {
        return;
    }
    for code in by_patient(kind) {
        doors.get(Way::Search, format!("/{name}?{code}=Patient/{{patient}}"));
        doors.get(Way::Chaining, format!("/{name}?{code}:Patient._id={{patient}}"));
        doors.get(Way::Chaining, format!("/{name}?{code}:Patient.identifier=mrn-{{patient}}"));
        doors.get(Way::Has, format!("/Patient?_has:{name}:{code}:_id={{id}}"));
        doors.get(Way::Has, format!("/{name}?{code}:Patient._has:{name}:{code}:_id={{id}}"));
        doors.get(Way::Includes, format!("/Patient?_id={{patient}}&_revinclude={name}:{code}"));
    }
    if kind.compartment.is_empty() {
        return;
    }
    doors.get(Way::Search, format!("/Patient/{{patient}}/{name}"));
    doors.add(Way::Search, "POST", format!("/Patient/{{patient}}/{name}/_search"), &[FORM], "_id={id}");
    doors.get(Way::Search, format!("/Patient/{{patient}}/*?_type={name}"));
    doors.get(Way::LaterPages, format!("/Patient/{{patient}}/*?_type={name}&_count=1"));
    doors.get(Way::Everything, format!("/Patient/{{patient}}/$everything?_type={name}"));
}

/// The parameters by which a type refers to Patients.
fn by_patient(kind: &Resource) -> BTreeSet<&'static str> {
    let names = kind.compartment.iter().copied().chain(["patient", "subject"]);
    let is_reference = |code: &&str| {
        kind.parameter(code).is_some_and(|found| {
            found.search_type == SearchType::Reference && kind.targets(found).iter().any(|of| of.name == "Patient")
        })
    };
    names.filter(is_reference).collect()
}

/// What is patched: in FHIRPath, in JSON Patch, and as a merge.
fn fhirpath_patch(name: &str) -> Value {
    let part = |name: &str, kind: &str, value: &str| {
        let mut part = json!({"name": name});
        part[kind] = json!(value);
        part
    };
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        part("type", "valueCode", "add"), part("path", "valueString", name),
        part("name", "valueString", "language"), part("value", "valueCode", "en"),
    ]}]})
}

const OPERATIONS: &str = r#"[{"op":"add","path":"/language","value":"en"}]"#;

fn json_patch() -> Value {
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(OPERATIONS);
    json!({"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data})
}

fn by_writing(doors: &mut Doors, kind: &'static Resource) {
    let name = kind.name;
    let path = || format!("/{name}/{{id}}");
    let body = || about(kind, "{id}", "p1");
    let matching = ("if-match", "W/\"{version}\"");
    doors.add(Way::Id, "PUT", path(), &[], body());
    doors.add(Way::Id, "PUT", path(), &[matching], body());
    doors.add(Way::Id, "PUT", path(), &[("if-none-match", "*")], body());
    doors.add(Way::Id, "PATCH", path(), &[MERGE_PATCH], r#"{"language":"en"}"#);
    doors.add(Way::Id, "PATCH", path(), &[JSON_PATCH, matching], OPERATIONS);
    doors.add(Way::Id, "PATCH", path(), &[("if-match", "W/\"9\"")], fhirpath_patch(name));
    doors.add(Way::Id, "PATCH", path(), &[], fhirpath_patch(name));
    doors.add(Way::Id, "DELETE", path(), &[], "");
    doors.add(Way::Id, "DELETE", path(), &[matching], "");
}

fn by_condition(doors: &mut Doors, kind: &'static Resource) {
    let way = Way::ConditionalStatus;
    let path = || format!("/{}?_id={{id}}", kind.name);
    let matching = ("if-match", "W/\"{version}\"");
    let mut anew = about(kind, "", "p1");
    anew.as_object_mut().unwrap().remove("id");
    doors.add(way, "PUT", path(), &[], about(kind, "{id}", "p1"));
    doors.add(way, "PUT", path(), &[("if-none-match", "*")], about(kind, "{id}", "p1"));
    doors.add(way, "PUT", path(), &[matching], &anew);
    doors.add(way, "PATCH", path(), &[MERGE_PATCH], r#"{"language":"en"}"#);
    doors.add(way, "PATCH", path(), &[JSON_PATCH, matching], OPERATIONS);
    doors.add(way, "DELETE", path(), &[], "");
    doors.add(way, "DELETE", path(), &[matching], "");
    // These make something for whoever may: what there is to learn is whether they do.
    doors.add(way, "PUT", path(), &[], &anew);
    doors.add(way, "POST", format!("/{}", kind.name), &[("if-none-exist", "_id={id}")], &anew);
    let create = json!({"method": "POST", "url": kind.name, "ifNoneExist": "_id={id}"});
    doors.entry(way, &json!({"resource": anew, "request": create}));
    let mut referring = about(kind, "", "?identifier=mrn-{patient}");
    referring.as_object_mut().unwrap().remove("id");
    let text = referring.to_string().replace("Patient/?", "Patient?");
    let referring: Value = serde_json::from_str(&text).unwrap();
    doors.entry(way, &json!({"resource": referring, "request": {"method": "POST", "url": kind.name}}));
}

fn in_bundles(doors: &mut Doors, kind: &'static Resource) {
    let name = kind.name;
    let asking = |way, url: String, more: Value| {
        let mut request = json!({"method": "GET", "url": url});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (way, json!({"request": request}))
    };
    let reads = [
        asking(Way::Id, format!("{name}/{{id}}"), json!({})),
        asking(Way::Id, format!("{name}/{{id}}"), json!({"ifNoneMatch": "W/\"{version}\""})),
        asking(Way::Id, format!("{name}/{{id}}"), json!({"ifModifiedSince": "2100-01-01T00:00:00Z"})),
        asking(Way::Vread, format!("{name}/{{id}}/_history/1"), json!({})),
        asking(Way::History, format!("{name}/{{id}}/_history"), json!({})),
        asking(Way::Search, format!("{name}?_id={{id}}"), json!({})),
        asking(Way::SummaryCount, format!("{name}?_id={{id}}&_summary=count"), json!({})),
    ];
    for (way, entry) in &reads {
        doors.entry(*way, entry);
    }
    let (address, condition) = (format!("{name}/{{id}}"), format!("{name}?_id={{id}}"));
    for (way, url) in [(Way::Id, &address), (Way::ConditionalStatus, &condition)] {
        for patch in [fhirpath_patch(name), json_patch()] {
            doors.entry(way, &json!({"resource": patch, "request": {"method": "PATCH", "url": url}}));
        }
        let request = json!({"method": "PATCH", "url": url, "ifMatch": "W/\"{version}\""});
        doors.entry(way, &json!({"resource": fhirpath_patch(name), "request": request}));
        let resource = about(kind, "{id}", "p1");
        doors.entry(way, &json!({"resource": resource, "request": {"method": "PUT", "url": url}}));
        let request = json!({"method": "PUT", "url": url, "ifMatch": "W/\"{version}\""});
        doors.entry(way, &json!({"resource": resource, "request": request}));
        let request = json!({"method": "PUT", "url": url, "ifNoneMatch": "*"});
        doors.entry(way, &json!({"resource": resource, "request": request}));
        doors.entry(way, &json!({"request": {"method": "DELETE", "url": url}}));
        doors.entry(way, &json!({"request": {"method": "DELETE", "url": url, "ifMatch": "W/\"{version}\""}}));
    }
}

fn by_operations(doors: &mut Doors, kind: &Resource) {
    let name = kind.name;
    let (later, asynchronous) =
        (format!("_type={name}&_typeFilter={name}%3F_id%3D{{id}}"), ("prefer", "respond-async"));
    for path in ["/$export".to_owned(), "/Patient/$export".to_owned(), "/Group/{id}/$export".to_owned()] {
        doors.add(Way::Bulk, "GET", format!("{path}?{later}"), &[asynchronous], "");
    }
    let subscription = json!({"resourceType": "Subscription", "status": "requested", "reason": "x",
        "criteria": format!("{name}?_id={{id}}"),
        "channel": {"type": "rest-hook", "endpoint": "https://app.example.org/hook"}});
    doors.add(Way::Subscriptions, "POST", "/Subscription".to_owned(), &[], subscription);
    match name {
        "Patient" => {
            doors.get(Way::Operations, "/Patient/{id}/$subject".to_owned());
            doors.get(Way::Everything, "/Patient/{id}/$everything".to_owned());
            doors.add(Way::Everything, "POST", "/Patient/{id}/$everything".to_owned(), &[], parameters(json!([])));
            let pseudonym = json!([{"name": "pseudonym", "valueString": "1"}]);
            doors.add(Way::Operations, "POST", "/Patient/{id}/$attest".to_owned(), &[], parameters(pseudonym));
        }
        "Coverage" => doors.get(Way::Operations, "/Coverage/{id}/$opening".to_owned()),
        "InsurancePlan" => doors.get(Way::Operations, "/InsurancePlan/{id}/$plan".to_owned()),
        "ValueSet" => by_value_set(doors),
        "DocumentReference" => {
            doors.get(Way::Operations, "/DocumentReference/$docref?patient=Patient/{patient}".to_owned());
        }
        // A request for access names who asks.
        "Practitioner" => doors.add(Way::Operations, "POST", "/Task".to_owned(), &[], access_request()),
        _ => {}
    }
}

/// What codes a value set has is told by every search that names it.
fn by_value_set(doors: &mut Doors) {
    for query in ["code:in=ValueSet/{id}", "code:not-in=ValueSet/{id}&_summary=count"] {
        doors.get(Way::Search, format!("/Observation?{query}"));
        doors.get(Way::Search, format!("/Patient/p1/Observation?{query}"));
        doors.get(Way::Has, format!("/Patient?_has:Observation:patient:{query}"));
        doors.get(Way::Chaining, format!("/DiagnosticReport?result.{query}"));
        doors.add(Way::Search, "POST", "/Observation/_search".to_owned(), &[FORM], query);
    }
    let new = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "subject": {"reference": "Patient/p1"}});
    let condition = "code:in=ValueSet/{id}";
    doors.add(Way::ConditionalStatus, "POST", "/Observation".to_owned(), &[("if-none-exist", condition)], &new);
    doors.add(Way::ConditionalStatus, "DELETE", format!("/Observation?{condition}"), &[], "");
    let request = json!({"method": "POST", "url": "Observation", "ifNoneExist": condition});
    doors.entry(Way::ConditionalStatus, &json!({"resource": new, "request": request}));
}

fn parameters(parameters: Value) -> Value {
    json!({"resourceType": "Parameters", "parameter": parameters})
}

/// A Task that asks a patient of another organization for access, in the name of the Practitioner `{id}`.
pub fn access_request() -> Value {
    let input = |code: &str, name: &str, value: Value| json!({"type": {"coding": [{"system": "urn:careledger:task-input", "code": code}]}, name: value});
    let account = |system: &str, value: String| json!({"system": system, "value": value});
    json!({
        "resourceType": "Task", "status": "requested", "intent": "order",
        "code": {"coding": [{"system": "urn:careledger:task-code", "code": "access-request"}]},
        "for": {"reference": "Patient/p1"}, "requester": {"reference": "Practitioner/{id}"},
        "reasonCode": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]},
        "restriction": {"period": {"end": "2100-01-01T00:00:00Z"}},
        "input": [
            input("subject", "valueIdentifier", account("urn:careledger:subject", "07".repeat(32))),
            input("custodian", "valueIdentifier",
                account("urn:careledger:account", careledger_wire::ids::Address::new([9; 20]).to_string())),
            input("scope", "valueCode", json!("DocumentReference")),
        ],
    })
}

/// ITI-68, and what stands beside it.
fn of_binaries(doors: &mut Doors) {
    for headers in [
        &[][..],
        &[("accept", "application/fhir+json")],
        &[("accept", "application/octet-stream")],
        &[("accept", "text/plain;q=0.1, */*;q=0.01")],
        &[("range", "bytes=0-1")],
        &[("if-none-match", "W/\"{version}\"")],
    ] {
        doors.add(Way::BinaryUrl, "GET", "/Binary/{id}".to_owned(), headers, "");
    }
    doors.add(Way::BinaryUrl, "HEAD", "/Binary/{id}".to_owned(), &[], "");
    let raw = [("content-type", "text/plain"), ("x-security-context", "Patient/p1")];
    doors.add(Way::BinaryUrl, "PUT", "/Binary/{id}".to_owned(), &raw, "text");
    // A document of one's own that points at it would make it one's own, and tell its hash.
    let attachment =
        json!({"url": "Binary/{id}", "contentType": "text/plain", "hash": "Ny6gjKsz5xwCxlHbyDpHTTLGduo=", "size": 4});
    let document = json!({"resourceType": "DocumentReference", "status": "current",
        "meta": {"profile": ["https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.DocumentReference"]},
        "subject": {"reference": "Patient/p1"}, "content": [{"attachment": attachment}]});
    doors.add(Way::Documents, "POST", "/DocumentReference".to_owned(), &[], &document);
    doors.entry(
        Way::Documents,
        &json!({"resource": document, "request": {"method": "POST", "url": "DocumentReference"}}),
    );
}

/// ITI-65 to ITI-67.
fn of_documents(doors: &mut Doors, name: &str) {
    for query in ["patient=Patient/{patient}", "patient.identifier=mrn-{patient}", "_id={id}&status=current"] {
        doors.get(Way::Documents, format!("/{name}?{query}"));
        doors.add(Way::Documents, "POST", format!("/{name}/_search"), &[FORM], query);
    }
    if name == "List" {
        return;
    }
    let replacing = json!({"resourceType": "DocumentReference", "status": "current",
        "meta": {"profile": ["https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.DocumentReference"]},
        "subject": {"reference": "Patient/p1"},
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/{id}"}}],
        "content": [{"attachment": {"url": "https://elsewhere.example.org/1", "contentType": "text/plain"}}]});
    doors.add(Way::Documents, "POST", "/DocumentReference".to_owned(), &[], &replacing);
    doors.entry(
        Way::Documents,
        &json!({"resource": replacing, "request": {"method": "POST", "url": "DocumentReference"}}),
    );
}

/// The ways that must be open to whom a resource of the type is about.
pub fn open_to_its_patient(kind: &Resource) -> Vec<Way> {
    let mut ways = vec![
        Way::Id,
        Way::Vread,
        Way::History,
        Way::Search,
        Way::Total,
        Way::SummaryCount,
        Way::Includes,
        Way::Elements,
        Way::ConditionalStatus,
    ];
    match kind.name {
        "Binary" => ways.push(Way::BinaryUrl),
        "Patient" => {}
        _ => ways.extend([Way::Has, Way::Chaining, Way::LaterPages]),
    }
    if !kind.compartment.is_empty() {
        ways.push(Way::Everything);
    }
    if ["DocumentReference", "List"].contains(&kind.name) {
        ways.push(Way::Documents);
    }
    ways
}

/// Whether the resources of a type are some patient's: by the parameter `patient`, or themselves.
pub fn has_patients(kind: &Resource) -> bool {
    let by_parameter = kind.parameter("patient").is_some_and(|found| found.search_type == SearchType::Reference);
    kind.access == Access::Full && (by_parameter || ["Binary", "Patient"].contains(&kind.name))
}
