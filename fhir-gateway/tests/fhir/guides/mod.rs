//! Implementation guides, with their own examples (`tests/guides/`).

mod balp;
mod mhd;
mod pcf;
mod profile;
mod us_core;

use std::path::Path;

use serde_json::Value;

/// An example of a guide, as it is published.
pub fn example(path: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guides").join(path);
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}
