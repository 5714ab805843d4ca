//! What a gateway gives under load, with few and with many patients: how fast it answers, and in how much memory.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use crate::failure::{Doing, Failure};
use crate::lone::{CLIENT, Lone};
use crate::places::Places;
use crate::program::Program;

mod patients;
mod requests;
mod senders;

use patients::Patients;
use requests::{Kind, Requests};
use senders::Measured;

/// The organization that is served.
const ORGANIZATION: &str = "fhirload";
/// Requests under way at once while patients are stored.
const IMPORT_CONNECTIONS: &str = "8";
/// A token is good for longer than the run, and the limits of a client are not what is measured.
const SETTINGS: [(&str, &str); 4] = [
    ("token_seconds", "86400"),
    ("requests_per_second", "1000000"),
    ("request_burst", "1000000"),
    ("token_requests_per_second", "1000"),
];
/// Bundles that others refer to, stored once.
const SHARED: [&str; 2] = ["hospitals", "practitioners"];
/// Synthea patients whose records are imported again and again.
const RECORDS: [&str; 4] = ["carmelo-streich", "darcy-schmidt", "dwain-mcglynn", "fannie-waelchi"];
const BYTES_PER_MEGABYTE: f64 = 1e6;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// With how many patients, in turn.
    pub patients: Vec<u32>,
    /// At how many connections, in turn.
    pub connections: Vec<usize>,
    /// How long each.
    pub duration: Duration,
    /// What patients and requests are drawn from.
    pub seed: u64,
}

/// What one gateway gave.
struct Figures {
    patients: u32,
    measured: Vec<Measured>,
    peak_memory_bytes: Option<u64>,
}

/// Measures a gateway of its own for each number of patients, and prints what they gave and their ratios.
///
/// # Errors
/// Where a request is not answered with success: then nothing is measured.
pub fn run(places: &Places, plan: &Plan) -> Result<(), Failure> {
    let figures = plan.patients.iter().map(|patients| measure(places, plan, *patients));
    let figures = figures.collect::<Result<Vec<_>, _>>()?;
    let [first, rest @ ..] = &figures[..] else { return Ok(()) };
    rest.iter().for_each(|other| compare(first, other));
    Ok(())
}

fn measure(places: &Places, plan: &Plan, count: u32) -> Result<Figures, Failure> {
    let gateway = Lone::start(places, ORGANIZATION, &SETTINGS)?;
    let token = gateway.token(places)?;
    let patients = Patients { seed: plan.seed, count };
    store(places, &gateway, &patients)?;
    let records = places.repository.join("fhir-gateway/golden/synthea");
    let shared = SHARED.iter().map(|name| bundle(&records, name)).collect::<Result<Vec<_>, _>>()?;
    let bundles = RECORDS.iter().map(|name| bundle(&records, name)).collect::<Result<Vec<_>, _>>()?;
    let requests = Requests { base_url: gateway.fhir_url(), token, patients, bundles };
    for bundle in shared {
        senders::once(&requests, bundle)?;
    }
    let mut measured = Vec::new();
    // What stores comes last, so that the others see the number of patients that is asked for.
    for kind in Kind::ALL {
        for connections in &plan.connections {
            let one = senders::measure(&requests, kind, *connections, plan.duration)?;
            say!("{count} patients, {one}");
            measured.push(one);
        }
    }
    let peak_memory_bytes = gateway.peak_memory_bytes();
    match peak_memory_bytes {
        Some(bytes) => say!("{count} patients, most memory: {:.0} MB", bytes as f64 / BYTES_PER_MEGABYTE),
        None => say!("{count} patients, most memory: this system does not say"),
    }
    Ok(Figures { patients: count, measured, peak_memory_bytes })
}

/// Stores patients by `import`, as an operator would.
fn store(places: &Places, gateway: &Lone, patients: &Patients) -> Result<(), Failure> {
    let file = gateway.folder().join("patients.ndjson");
    patients.write(&file)?;
    let began = Instant::now();
    Program::new(places.built("careledger-gateway"))
        .args(["import", "--client", CLIENT, "--url", &gateway.url(), "--connections", IMPORT_CONNECTIONS, "--key"])
        .arg(gateway.key())
        .arg(&file)
        .capture()?;
    let rate = f64::from(patients.count) / began.elapsed().as_secs_f64();
    say!("{} patients stored, {rate:.0}/s, in Bundles of {}", patients.count, patients::BUNDLE_ENTRIES);
    fs::remove_file(&file).doing(|| format!("removing {}", file.display()))
}

/// A Bundle of Synthea.
fn bundle(folder: &Path, name: &str) -> Result<String, Failure> {
    let file = folder.join(format!("{name}.json.gz"));
    let reading = || format!("reading {}", file.display());
    let bytes = fs::read(&file).doing(reading)?;
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).doing(reading)?;
    Ok(text)
}

/// Prints what many patients cost beside few.
fn compare(few: &Figures, many: &Figures) {
    say!("\n{} patients ÷ {} patients, median times", many.patients, few.patients);
    for (before, after) in few.measured.iter().zip(&many.measured) {
        let ratio = after.median.as_secs_f64() / before.median.as_secs_f64();
        say!("{:<34} {:>3} connections: {ratio:.2}", after.kind.name(), after.connections);
    }
    if let (Some(before), Some(after)) = (few.peak_memory_bytes, many.peak_memory_bytes) {
        say!("most memory: {:.2}", after as f64 / before as f64);
    }
}
