//! Keeps what the gateway answers, for a validator that is not ours: `cargo localnet answers`.

use std::{env, fs, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Variable that names the folder; without it nothing is kept.
const FOLDER: &str = "CARELEDGER_TEST_ANSWERS";

/// Keeps a body that is FHIR, once for all that differ in identifiers, numbers and times only; `request` says what was
/// asked.
pub fn keep(request: &str, media_type: &str, bytes: &[u8]) {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    match media_type {
        "application/fhir+json" | "application/json" => one(folder, request, "json", bytes),
        "application/fhir+xml" => one(folder, request, "xml", bytes),
        "application/fhir+ndjson" => {
            bytes.split(|byte| *byte == b'\n').for_each(|line| one(folder, request, "json", line))
        }
        _ => {}
    }
}

fn one(folder: &Path, request: &str, extension: &str, bytes: &[u8]) {
    // Discovery, manifests and the OpenAPI document are JSON and no resources.
    let is_resource = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        value["resourceType"].is_string()
    };
    let Ok(text) = str::from_utf8(bytes) else { return };
    if text.is_empty() || extension == "json" && !is_resource(text) {
        return;
    }
    let name = hex::encode(&Sha256::digest(shape(text))[..16]);
    let file = folder.join(&name).with_extension(extension);
    if !file.exists() {
        fs::write(folder.join(&name).with_extension("request"), request).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

/// The text with a zero for every word that has a digit.
fn shape(text: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let mut shape = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(end);
        shape.push_str(if word.contains(|letter: char| letter.is_ascii_digit()) { "0" } else { word });
        rest = after;
    }
    shape
}

#[test]
fn answers_that_differ_in_identifiers_and_times_only_are_one() {
    let same = [
        "{\"id\":\"a1\",\"at\":\"2026-11-22T03:00:00Z\",\"n\":1.50}",
        "{\"id\":\"3-b-c\",\"at\":\"2020-01-02T03:04:05Z\",\"n\":27.1}",
    ];
    assert_eq!(shape(same[0]), shape(same[1]));
    assert_ne!(shape("{\"id\":\"a1\"}"), shape("{\"name\":\"a1\"}"));
    assert_eq!(shape("ä 1 ß-2"), "ä 0 ß0");
}
