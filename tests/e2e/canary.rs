//! A canary: strings that no honest part would write by itself, planted as personal data and then searched for.

use std::{fs, path::Path, process::Command};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use careledger_wire::commitment;
use memchr::memmem;
use serde_json::json;

use crate::{
    fhir::Fhir,
    home::{Home, VALIDATORS, built, succeeded},
};

/// What was planted: in a name, and in a document.
pub struct Planted(Vec<String>);

/// Plants both through hospital A's gateway, and reads them back.
pub fn plant(home: &Home) -> Planted {
    let unique = |purpose: &str| {
        let place = home.path().display().to_string();
        format!("Canary{}", hex::encode(&commitment::hash(purpose, &[place.as_bytes()])[..8]))
    };
    let (family, sentence) = (unique("careledger/test-name/1"), unique("careledger/test-document/1"));
    let fhir = Fhir::new(home, "general");
    let patient = fhir.created(&json!({
        "resourceType": "Patient",
        "name": [{"family": family}],
        "birthDate": "1970-01-01",
    }));
    let text = format!("The patient says: {sentence}.");
    let document = fhir.created(&json!({
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": format!("Patient/{patient}")},
        "description": sentence,
        "content": [{"attachment": {"contentType": "text/plain", "data": BASE64_STANDARD.encode(&text)}}],
    }));
    // Found where they belong: by search, and in what is served. So the index has them, under its key.
    for (path, canary) in
        [(format!("Patient?family={family}"), &family), (format!("DocumentReference/{document}"), &sentence)]
    {
        let (status, body) = fhir.get(&path);
        assert_eq!(status, 200);
        assert!(contains(&body, canary.as_bytes()), "{path} does not give what was planted");
    }
    Planted(vec![family, sentence])
}

/// Every transaction of every block.
pub fn blocks(home: &Home) -> Vec<Vec<u8>> {
    let mut transactions = Vec::new();
    for height in 1..=home.height(0) {
        let block = home.rpc(0, "block", &json!({"height": height.to_string()}));
        let list = block["block"]["data"]["txs"].as_array().cloned().unwrap_or_default();
        transactions.extend(list.iter().map(|text| BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()));
    }
    assert!(transactions.len() > 20, "the story and the clients sent transactions");
    transactions
}

/// Searches the blocks, each validator's state and every file of the home.
pub fn assert_nowhere(home: &Home, planted: &Planted, blocks: &[Vec<u8>]) {
    let needles = planted.0.iter().flat_map(|text| spellings(text)).collect::<Vec<_>>();
    let search = |place: &str, bytes: &[u8]| {
        for (spelling, needle) in &needles {
            assert!(!contains(bytes, needle), "{place} holds the canary as {spelling}");
        }
    };
    for transaction in blocks {
        search("a block", transaction);
    }
    for index in 0..VALIDATORS {
        let app = home.path().join(format!("v{index}/app"));
        // The database compresses its files, which could hide a string from the search below.
        let state = succeeded(Command::new(built("careledgerd")).args(["export", "--home"]).arg(app));
        assert!(state.contains("pairs"));
        search(&format!("the state of validator {index}"), state.as_bytes());
    }
    let mut files = 0;
    visit(&home.path(), &mut |file| {
        files += 1;
        search(&file.display().to_string(), &fs::read(file).unwrap());
        search(&file.display().to_string(), file.display().to_string().as_bytes());
    });
    assert!(files > 50, "only {files} files were searched");
}

/// The ways in which a text could stand in a file.
fn spellings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let utf16 = |encode: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(encode).collect::<Vec<u8>>();
    let mut found = vec![
        ("text", bytes.to_vec()),
        ("lower case", text.to_lowercase().into_bytes()),
        ("hexadecimal", hex::encode(bytes).into_bytes()),
        ("upper-case hexadecimal", hex::encode_upper(bytes).into_bytes()),
        ("UTF-16 LE", utf16(u16::to_le_bytes)),
        ("UTF-16 BE", utf16(u16::to_be_bytes)),
    ];
    for before in 0..3 {
        // Base64 depends on where the text begins; what its neighbours could change is cut off.
        let padded = [&b"\0\0"[..before], bytes].concat();
        let whole = padded.len() / 3 * 4;
        let cut = if before == 0 { 0 } else { 4 };
        let encoded = BASE64_STANDARD_NO_PAD.encode(&padded);
        found.push(("base64", encoded.as_bytes()[cut..whole].to_vec()));
    }
    found
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    memmem::find(bytes, needle).is_some()
}

fn visit(folder: &Path, file: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, file);
        } else if path.is_file() {
            file(&path);
        }
    }
}

#[test]
fn the_search_finds_a_text_however_it_is_written() {
    let text = "Canary0123456789abcdef";
    let utf16: Vec<u8> = format!("x{text}y").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let written = [
        format!("before {text} after").into_bytes(),
        BASE64_STANDARD.encode(format!("{text} after")).into_bytes(),
        BASE64_STANDARD.encode(format!("a{text} after")).into_bytes(),
        BASE64_STANDARD.encode(format!("ab{text} after")).into_bytes(),
        hex::encode(format!("ab{text}")).into_bytes(),
        utf16,
    ];
    for bytes in written {
        let found = spellings(text).iter().any(|(_, needle)| contains(&bytes, needle));
        assert!(found, "{}", String::from_utf8_lossy(&bytes));
    }
}
