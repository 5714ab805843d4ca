//! Consent has no side doors: every door × every type × (permitted, denied, absent). Denied and absent are
//! one answer: status, headers, body, and what the server did for it.

mod list;
mod made;

use std::{collections::BTreeSet, sync::LazyLock};

use careledger_gateway::{
    resources::{Access, Resource, resources},
    work::Work,
};
use regex::Regex;
use serde_json::{Value, json};

use super::{
    shown,
    support::{Client, Got, World, at_rest},
};
pub use list::access_request;
use list::{Door, Way, doors, has_patients, open_to_its_patient, writes};
use made::about;

/// Types whose doors one test goes through.
const TESTS: usize = 4;
/// Pages of a search that are followed.
const PAGES_MAX: usize = 10;

/// What a door is tried with.
#[derive(Debug, Clone, Copy)]
struct Thing {
    id: &'static str,
    patient: &'static str,
}

/// All ids are as long, so that lengths compare.
struct Things {
    mine: Thing,
    /// The first is absent; the others are there, and another patient's.
    others: Vec<Thing>,
}

fn things(kind: &Resource) -> Things {
    let thing = |id, patient| Thing { id, patient };
    if kind.name == "Patient" {
        let of = |id| thing(id, id);
        return Things { mine: of("p1"), others: vec![of("p9"), of("p2"), of("p3")] };
    }
    let mut others = vec![thing("absent", "p9"), thing("denied", "p2"), thing("erased", "p2")];
    if kind.name == "Binary" {
        others.push(thing("linked", "p2"));
    }
    Things { mine: thing("mine-1", "p1"), others }
}

/// What the server shows and does for a request, without what was asked and what is new each time.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
    work: Work,
}

struct Asking {
    world: World,
    ehr: Client,
    portal: Client,
}

/// What is random or of the moment: cursors are sealed, and what was created a moment later is.
static OF_THE_MOMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"_cursor=[A-Za-z0-9_-]+|"(?:lastUpdated|lastModified)":"[^"]*"|(?:last-modified|date): .*"#).unwrap()
});
/// An id that the server chose.
static CHOSEN: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap());

impl Asking {
    /// A portal of `p1`, and patients besides.
    async fn new() -> Self {
        // What works in the background would be counted with what is asked.
        let world = at_rest().await;
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        let asking = Self { world, ehr, portal };
        for patient in ["p1", "p2", "p3"] {
            asking.put(&json!({"resourceType": "Patient", "id": patient, "identifier": [{"value": format!("mrn-{patient}")}]})).await;
        }
        asking.ehr.send("DELETE", "/Patient/p3", &[], "").await.expect(204);
        asking
    }

    /// The version that the EHR stored.
    async fn put(&self, resource: &Value) -> u64 {
        let path = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let got = self.ehr.send("PUT", &path, &[], resource.to_string()).await;
        assert!([200, 201].contains(&got.status), "{path}: {}", got.text());
        got.json()["meta"]["versionId"].as_str().unwrap().parse().unwrap()
    }

    /// Fills a type with what is the portal's and what is not.
    async fn fill(&self, kind: &'static Resource) {
        if kind.name == "Patient" {
            return;
        }
        for (id, patient) in [("denied", "p2"), ("erased", "p2"), ("mine-1", "p1"), ("mine-2", "p1")] {
            self.put(&about(kind, id, patient)).await;
        }
        self.ehr.send("DELETE", &format!("/{}/erased", kind.name), &[], "").await.expect(204);
        if kind.name == "Binary" {
            // Whose it is follows from a document alone.
            self.ehr.send("PUT", "/Binary/linked", &[("content-type", "text/plain")], "text").await.expect(201);
            let attachment = json!({"attachment": {"url": "Binary/linked", "contentType": "text/plain"}});
            self.put(&json!({"resourceType": "DocumentReference", "id": "links", "status": "current",
                "subject": {"reference": "Patient/p2"}, "content": [attachment]}))
                .await;
        }
    }

    /// Goes through a door as the portal, to the last page.
    async fn through(&self, door: &Door, thing: Thing, version: u64) -> Shown {
        let filled = |text: &str| {
            let text = text.replace("{id}", thing.id).replace("{patient}", thing.patient);
            text.replace("{version}", &version.to_string())
        };
        let headers: Vec<(&str, String)> = door.headers.iter().map(|(name, value)| (*name, filled(value))).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before = self.world.organization.work();
        let mut got = self.portal.send(door.method, &filled(&door.path), &headers, filled(&door.body)).await;
        let (status, mut shown_headers, mut text) = shown(&got);
        for _ in 0..PAGES_MAX {
            let Some(next) = next_page(&got) else { break };
            got = self.portal.get(&next).await;
            text.push_str(&got.text());
        }
        let work = self.world.organization.work() - before;
        if let (Way::Subscriptions, Some(location)) = (door.way, got.header("location")) {
            // A client has a bounded number of them, and each is read with the next.
            let path = location.split("/fhir").nth(1).unwrap();
            self.portal.send("DELETE", path, &[], "").await.expect(204);
        }
        let is_new = status == 201 || text.contains("201 Created");
        let plain = |text: &str| {
            let text = text.replace(thing.id, "{id}").replace(thing.patient, "{patient}");
            if is_new { CHOSEN.replace_all(&text, "{chosen}").into_owned() } else { text }
        };
        let text = plain(&OF_THE_MOMENT.replace_all(&text, "{moment}"));
        for (name, value) in &mut shown_headers {
            *value = if name == "last-modified" && is_new { "{moment}".to_owned() } else { plain(value) };
        }
        Shown { status, headers: shown_headers, text, work }
    }

    /// One door: what is denied is as what is absent, or else why not. Whether it is open to whom it should be.
    async fn one(&self, kind: &'static Resource, door: &Door, told: &mut Vec<String>) -> bool {
        let Things { mine, others } = things(kind);
        let absent = self.through(door, others[0], 1).await;
        for denied in &others[1..] {
            let shown = self.through(door, *denied, 1).await;
            if shown != absent {
                let Door { method, path, headers, body, .. } = door;
                let request = format!("{} {method} {path} {headers:?} {body}", kind.name);
                told.push(format!("{request}\n  {}: {shown:?}\n  absent: {absent:?}", denied.id));
            }
        }
        if !has_patients(kind) {
            // Of nobody, and so of nobody who is limited to one patient.
            if !writes(door) && kind.name != "Patient" {
                let own = Thing { patient: "p9", ..mine };
                let own = self.through(door, own, 1).await;
                assert_eq!((own.status, &own.text), (absent.status, &absent.text), "{} {}", kind.name, door.path);
            }
            return false;
        }
        let version = if writes(door) { self.put(&about(kind, mine.id, mine.patient)).await } else { 1 };
        let permitted = self.through(door, mine, version).await;
        (permitted.status, &permitted.text, &permitted.headers) != (absent.status, &absent.text, &absent.headers)
    }

    /// All doors of a type; how many there are.
    async fn all(&self, kind: &'static Resource) -> usize {
        self.fill(kind).await;
        let (mut open, mut tried, mut told) = (BTreeSet::new(), 0, Vec::new());
        for door in doors(kind) {
            if self.one(kind, &door, &mut told).await {
                open.insert(door.way);
            }
            tried += 1;
        }
        assert!(told.is_empty(), "{} of {tried} doors tell:\n{}", told.len(), told.join("\n"));
        let expected: BTreeSet<Way> =
            if has_patients(kind) { open_to_its_patient(kind) } else { Vec::new() }.into_iter().collect();
        let closed: Vec<_> = expected.difference(&open).collect();
        assert!(closed.is_empty(), "{}: {closed:?} are closed to its own patient", kind.name);
        // Nothing of what was tried changed anything of another patient's.
        for thing in things(kind).others.iter().skip(1).filter(|thing| !["erased", "p3"].contains(&thing.id)) {
            let kept = self
                .ehr
                .send("GET", &format!("/{}/{}", kind.name, thing.id), &[("accept", "application/fhir+json")], "")
                .await;
            assert_eq!(kept.expect(200).json()["meta"]["versionId"], "1", "{} {}", kind.name, thing.id);
        }
        tried
    }
}

/// Where a search goes on, below the FHIR endpoint.
fn next_page(got: &Got) -> Option<String> {
    let bundle: Value = serde_json::from_slice(&got.bytes).ok()?;
    let links = bundle["link"].as_array()?;
    let next = links.iter().find(|link| link["relation"] == "next")?;
    next["url"].as_str()?.split("/fhir").nth(1).map(str::to_owned)
}

/// Every door of the types of one test.
async fn every_door(test: usize) {
    let asking = Asking::new().await;
    let kinds: Vec<_> = resources().filter(|kind| kind.access == Access::Full).collect();
    let own: Vec<_> = kinds.into_iter().skip(test).step_by(TESTS).collect();
    let (types, mut tried) = (own.len(), 0);
    for kind in own {
        tried += asking.all(kind).await;
    }
    println!("{types} types, {tried} doors");
    assert!(types > 10 && tried > 60 * types, "{types} types, {tried} doors");
}

#[actix_web::test]
async fn no_door_tells_what_is_denied_from_what_is_absent() {
    every_door(0).await;
}

#[actix_web::test]
async fn no_door_tells_what_is_denied_from_what_is_absent_in_the_second_part_of_the_types() {
    every_door(1).await;
}

#[actix_web::test]
async fn no_door_tells_what_is_denied_from_what_is_absent_in_the_third_part_of_the_types() {
    every_door(2).await;
}

#[actix_web::test]
async fn no_door_tells_what_is_denied_from_what_is_absent_in_the_fourth_part_of_the_types() {
    every_door(3).await;
}

#[actix_web::test]
async fn the_exports_of_others_are_as_absent_as_none() {
    let asking = Asking::new().await;
    let begun = asking.ehr.send("GET", "/$export?_type=Patient", &[("prefer", "respond-async")], "").await.expect(202);
    let job = begun.header("content-location").unwrap().rsplit('/').next().unwrap().to_owned();
    let (denied, absent): (&'static str, &'static str) = (job.clone().leak(), "0".repeat(job.len()).leak());
    for (method, path) in [("GET", "/bulk/{id}"), ("GET", "/bulk/{id}/0.ndjson"), ("DELETE", "/bulk/{id}")] {
        let path = path.to_owned();
        let door = Door { way: Way::Bulk, method, path, headers: Vec::new(), body: String::new() };
        let denied = asking.through(&door, Thing { id: denied, patient: "p2" }, 1).await;
        let absent = asking.through(&door, Thing { id: absent, patient: "p9" }, 1).await;
        assert_eq!((&denied, denied.status), (&absent, 404), "{method} {}", door.path);
    }
    asking.ehr.get(&format!("/bulk/{job}")).await.expect(202);
}

#[actix_web::test]
async fn the_access_log_tells_nobody_which_lines_are_about_others() {
    let asking = Asking::new().await;
    let Asking { ehr, portal, .. } = &asking;
    ehr.get("/Patient/p1").await.expect(200);
    ehr.get("/Patient/p2").await.expect(200);
    let line = async |client: &Client, patient: &str| {
        let found = client.get(&format!("/AuditEvent?patient={patient}&_count=1")).await.expect(200).json();
        found["entry"][0]["resource"]["id"].as_str().unwrap().to_owned()
    };
    let (own, other) = (line(portal, "p1").await, line(ehr, "p2").await);
    portal.get(&format!("/AuditEvent/{own}")).await.expect(200);
    // As long as the other.
    let never = format!("leaf-{}", "9".repeat(other.len() - "leaf-".len()));
    let (other, never): (&'static str, &'static str) = (other.leak(), never.leak());
    let door = |path: &str| Door {
        way: Way::Id,
        method: "GET",
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    for path in [
        "/AuditEvent/{id}",
        "/AuditEvent/{id}?_elements=id",
        "/AuditEvent/{id}/_history/1",
        "/AuditEvent/{id}/$inclusion",
        "/AuditEvent?_id={id}",
        "/AuditEvent?_id={id}&_summary=count",
        "/AuditEvent?entity=Patient/{patient}",
        "/AuditEvent?entity=Patient/{patient}&_summary=count",
        "/AuditEvent?patient={patient}",
        "/AuditEvent?patient={patient}&_summary=count",
        "/AuditEvent?patient.identifier=mrn-{patient}",
        "/Patient/{patient}/AuditEvent",
        "/Patient/{patient}/AuditEvent?_count=0",
    ] {
        let denied = asking.through(&door(path), Thing { id: other, patient: "p2" }, 1).await;
        let absent = asking.through(&door(path), Thing { id: never, patient: "p9" }, 1).await;
        assert_eq!(denied, absent, "{path}");
    }
}
