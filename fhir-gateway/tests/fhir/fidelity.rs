//! The official examples (CC0-1.0) of every type that is kept: in, and out again as they were.

use std::collections::BTreeSet;

use careledger_gateway::{
    json::{Document, Node, Value},
    resources::{Access, resources},
};
use futures::{StreamExt as _, stream};

use super::support::{Client, golden, world};

/// Examples that the definitions themselves refuse: `definitions/refused.txt` says why.
const REFUSED: &str = include_str!("../../definitions/refused.txt");

/// Types that are more than stored: what CareLedger cannot enforce is refused, with this sentence. The official
/// Consents give a base rule by their code alone, which no patient signed (docs/api/consent.md).
const NOT_ENFORCED: &[(&str, &str)] =
    &[("Consent", "Consent.provision.type: must be permit: everything else is denied without being asked")];

struct Example {
    name: String,
    resource_type: String,
    bytes: Vec<u8>,
}

fn examples() -> Vec<Example> {
    let all = golden("examples/examples.gz");
    let (mut rest, mut examples) = (all.as_slice(), Vec::new());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let (name, length) = std::str::from_utf8(&rest[..end]).unwrap().split_once(' ').unwrap();
        let length: usize = length.parse().unwrap();
        let bytes = rest[end + 1..end + 1 + length].to_vec();
        let resource_type = name.split('-').next().unwrap().to_owned();
        examples.push(Example { name: name.to_owned(), resource_type, bytes });
        rest = &rest[end + 1 + length..];
    }
    examples
}

/// What a client gets of an example that was put there.
async fn put(client: &Client, example: &Example) -> Result<Vec<u8>, (u16, String)> {
    let sent = Document::parse(example.bytes.clone()).unwrap();
    let path = format!("/{}/{}", example.resource_type, sent.id().unwrap());
    let created = client.send("PUT", &path, &[], example.bytes.clone()).await;
    if created.status != 201 {
        return Err((created.status, created.text()));
    }
    let json = [("accept", "application/fhir+json")];
    let read = client.send("GET", &path, &json, "").await.expect(200);
    assert_eq!(read.bytes, created.bytes, "{}", example.name);
    let xml = client.send("GET", &path, &[("accept", "application/fhir+xml")], "").await.expect(200);
    let again = client.send("PUT", &path, &[("content-type", "application/fhir+xml"), json[0]], xml.bytes).await;
    let again = Document::parse(again.expect(200).bytes).unwrap();
    let before = Document::parse(read.bytes.clone()).unwrap();
    assert!(same(before.root(), again.root(), true), "{} is not the same after it was XML", example.name);
    Ok(read.bytes)
}

#[actix_web::test]
async fn official_examples_go_in_and_come_out_byte_for_byte_and_the_same_through_xml() {
    let world = world().await;
    let client = world.client("ehr").await;
    let examples = examples();
    let types: BTreeSet<&str> = examples.iter().map(|example| example.resource_type.as_str()).collect();
    assert_eq!(types, resources().map(|resource| resource.name).collect(), "an example of every type");
    let is_refused = |name: &str| REFUSED.lines().any(|line| line.split(' ').next() == Some(name));
    let written = resources().filter(|resource| resource.access == Access::Full).map(|resource| resource.name);
    let written: BTreeSet<&str> = written.collect();
    let storable: Vec<&Example> =
        examples.iter().filter(|example| written.contains(example.resource_type.as_str())).collect();
    let mut answers = stream::iter(storable.iter().map(|example| put(&client, example))).buffered(16);
    let mut wrong = Vec::new();
    for example in &storable {
        let name = example.name.as_str();
        let unenforced = NOT_ENFORCED.iter().find(|(of, _)| *of == example.resource_type);
        match answers.next().await.unwrap() {
            Ok(_) if is_refused(name) || unenforced.is_some() => wrong.push(format!("{name} was accepted")),
            Ok(served) if without_meta(&served) == without_meta(&example.bytes) => {}
            Ok(_) => wrong.push(format!("{name} came back otherwise")),
            Err((422, _)) if is_refused(name) => {}
            Err((422, text)) if unenforced.is_some_and(|(_, sentence)| text.contains(sentence)) => {}
            Err((status, text)) => wrong.push(format!("{name} {status} {text}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The bytes without `meta` and the comma that parts it from what stands before.
fn without_meta(bytes: &[u8]) -> Vec<u8> {
    let document = Document::parse(bytes.to_vec()).unwrap();
    let Some(meta) = document.root().get("meta") else { return bytes.to_vec() };
    let start = bytes[..meta.start].iter().rposition(|byte| *byte == b',').unwrap();
    [&bytes[..start], &bytes[meta.end..]].concat()
}

/// Whether two trees say the same, but for the order of members, and for `meta` where it is asked for.
fn same(left: &Node, right: &Node, but_meta: bool) -> bool {
    match (&left.value, &right.value) {
        (Value::Object(_), Value::Object(_)) => {
            let keys = |node: &Node| -> BTreeSet<String> {
                let keys = node.members().iter().map(|(key, _)| key.to_string());
                keys.filter(|key| !(but_meta && key == "meta")).collect()
            };
            let own = keys(left);
            own == keys(right) && own.iter().all(|key| same(left.get(key).unwrap(), right.get(key).unwrap(), false))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right, false))
        }
        (left, right) => left == right,
    }
}
