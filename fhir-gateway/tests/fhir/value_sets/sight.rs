//! A value set that the caller may not see is as absent as one that is not there.

use serde_json::{Value, json};

use super::{fill, ids, listed, put, value_set};
use crate::{
    shown,
    support::{Client, Got, World, at_rest},
};

/// Status, headers and body, without the name that was asked for; and the work that it was.
async fn told(world: &World, client: &Client, door: &Door, id: &str) -> (u16, Vec<(String, String)>, String, String) {
    let filled = |text: &str| text.replace("{id}", id);
    let before = world.organization.work();
    let headers: Vec<(&str, String)> = door.headers.iter().map(|(name, value)| (*name, filled(value))).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let got: Got = client.send(door.method, &filled(&door.path), &headers, filled(&door.body)).await;
    let work = format!("{:?}", world.organization.work() - before);
    let (status, headers, text) = shown(&got);
    let headers = headers.into_iter().map(|(name, value)| (name, value.replace(id, "{id}"))).collect();
    (status, headers, text.replace(id, "{id}"), work)
}

struct Door {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn doors() -> Vec<Door> {
    let door = |method, path: &str, headers, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Door { method, path: path.to_owned(), headers, body }
    };
    let new = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}});
    let mut doors: Vec<Door> = [
        "/Observation?code:in=ValueSet/{id}",
        "/Observation?code:not-in=ValueSet/{id}",
        "/Observation?code:in=http://vs/{id}",
        "/Observation?code:in=http://vs/{id}%7C1&_summary=count",
        "/Observation?code:in=ValueSet/seen,ValueSet/{id}",
        "/Patient?_has:Observation:patient:code:in=ValueSet/{id}",
        "/DiagnosticReport?result.code:in=ValueSet/{id}",
        "/Observation?code:in=ValueSet/of-{id}",
    ]
    .map(|path| door("GET", path, Vec::new(), &Value::Null))
    .into();
    doors.push(door("POST", "/Observation", vec![("if-none-exist", "code:in=ValueSet/{id}".to_owned())], &new));
    doors.push(door("PUT", "/Observation?code:in=ValueSet/{id}", Vec::new(), &new));
    doors.push(door("DELETE", "/Observation?code:in=http://vs/{id}", Vec::new(), &Value::Null));
    let asynchronous = vec![("prefer", "respond-async".to_owned())];
    let filter = "/$export?_type=Observation&_typeFilter=Observation%3Fcode:in%3DValueSet/{id}";
    doors.push(door("GET", filter, asynchronous, &Value::Null));
    for kind in ["batch", "transaction"] {
        let request = json!({"method": "POST", "url": "Observation", "ifNoneExist": "code:in=ValueSet/{id}"});
        let entry = json!({"resource": new, "request": request});
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
        doors.push(door("POST", "/", Vec::new(), &bundle));
    }
    doors
}

#[actix_web::test]
async fn a_value_set_that_the_caller_may_not_see_is_as_absent() {
    let world = at_rest().await;
    let ehr = world.client("ehr").await;
    fill(&ehr).await;
    put(&ehr, &listed("seen", &["a"])).await;
    let mut hidden = listed("hidden", &["a"]);
    hidden["status"] = json!("draft");
    put(&ehr, &hidden).await;
    // Who may see these may not see what they include.
    for id in ["hidden", "absent"] {
        put(&ehr, &value_set(&format!("of-{id}"), json!([{"valueSet": [format!("http://vs/{id}")]}]))).await;
    }
    let rest = "Observation.cruds {}/Patient.rs {}/DiagnosticReport.rs";
    let scopes = |level: &str, sets: &str| format!("{level}/{} {sets}", rest.replace("{}", level));
    let limited = world.token_for("ehr", &scopes("system", "system/ValueSet.rs?status=active")).await;
    let limited = Client::of(&world.gateway, limited).await;
    let portal = world.token_for("portal", &scopes("patient", "patient/ValueSet.rs")).await;
    let portal = Client::of(&world.gateway, portal).await;
    for door in doors() {
        for (who, client) in [("limited", &limited), ("portal", &portal)] {
            let denied = told(&world, client, &door, "hidden").await;
            let absent = told(&world, client, &door, "absent").await;
            assert_eq!(denied, absent, "{who} {} {}", door.method, door.path);
            let is_refused = (400..405).contains(&absent.0) || absent.2.contains("\"400 ");
            assert!(is_refused, "{who} {} {}: {absent:?}", door.method, door.path);
        }
    }
    assert_eq!(ids(&limited.get("/Observation?code:in=ValueSet/seen").await.expect(200).json()), "oa");
    assert_eq!(ids(&ehr.get("/Observation?code:in=ValueSet/of-hidden").await.expect(200).json()), "oa");
    // Without a scope on value sets there is nothing to look for, whatever the name.
    let none = Client::of(&world.gateway, world.token_for("ehr", &scopes("system", "")).await).await;
    for door in doors() {
        let answers = [told(&world, &none, &door, "hidden").await, told(&world, &none, &door, "absent").await];
        assert_eq!(answers[0], answers[1], "{} {}", door.method, door.path);
        let is_refused = answers[0].0 == 403 || answers[0].2.contains("\"403 ");
        assert!(is_refused && answers[0].2.contains("system/ValueSet.s"), "{} {:?}", door.path, answers[0]);
    }
}
