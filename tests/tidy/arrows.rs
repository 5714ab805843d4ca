//! Which crate may depend on which (docs/ARCHITECTURE.md).

use std::{collections::BTreeMap, fs};

use careledger_tests::root;

/// Each crate's folder, name and the crates of ours that it may depend on outside its tests.
const ARROWS: [(&str, &str, &[&str]); 6] = [
    ("app/wire", "careledger_wire", &[]),
    ("zk", "careledger_zk", &[]),
    ("app", "careledger_app", &["careledger_wire", "careledger_zk"]),
    ("fhir-gateway", "careledger_gateway", &["careledger_wire", "careledger_app", "careledger_zk"]),
    ("localnet", "careledger_localnet", &[]),
    ("tests", "careledger_tests", &[]),
];

fn manifest(folder: &str) -> toml::Table {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("the manifest is readable");
    text.parse().expect("the manifest is TOML")
}

fn dependencies(folder: &str) -> BTreeMap<String, toml::Value> {
    let manifest = manifest(folder);
    let table = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    table.into_iter().collect()
}

#[test]
fn crates_depend_along_the_arrows_only() {
    for (folder, name, allowed) in ARROWS {
        assert_eq!(manifest(folder)["package"]["name"].as_str(), Some(name));
        let ours = dependencies(folder).into_keys().filter(|dependency| dependency.starts_with("careledger_"));
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn every_member_of_the_workspace_has_its_arrows_here() {
    let workspace = manifest(".");
    let members: Vec<&str> =
        workspace["workspace"]["members"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let mut expected: Vec<&str> = ARROWS.iter().map(|(folder, _, _)| *folder).collect();
    expected.sort_unstable();
    assert_eq!(members, expected);
}

#[test]
fn the_ledger_never_links_the_prover() {
    let zk = &dependencies("app")["careledger_zk"];
    assert!(!zk.to_string().contains("prover"), "app must use careledger_zk without the prover: {zk}");
    let workspace = manifest(".");
    let shared = &workspace["workspace"]["dependencies"]["careledger_zk"];
    assert_eq!(shared["default-features"].as_bool(), Some(false));
    assert!(!shared.to_string().contains("prover"), "{shared}");
}

/// The packages that the product was founded on, and the crate that uses each for what it is for.
#[test]
fn the_founding_packages_are_in_their_places() {
    let places = [
        ("tendermint-abci", "app"),
        ("tendermint-rpc", "app"),
        ("cosmrs", "app"),
        ("rocksdb", "app"),
        ("sha3", "app/wire"),
        ("ark-bn254", "zk"),
        ("ark-groth16", "zk"),
        ("fhir-sdk", "fhir-gateway"),
        ("actix-web", "fhir-gateway"),
        ("serde", "fhir-gateway"),
    ];
    for (package, folder) in places {
        assert!(dependencies(folder).contains_key(package), "{folder} should use {package}");
        let module = package.replace('-', "_");
        let used = careledger_tests::tracked_files()
            .into_iter()
            .filter(|file| file.starts_with(folder) && file.extension().is_some_and(|extension| extension == "rs"))
            .any(|file| fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(&format!("{module}::"))));
        assert!(used, "{folder} names {package} but does not use it");
    }
}
