//! What a gateway gives under load, with few and with many patients: how fast it answers, and in how much memory. Other
//! FHIR servers get the same data and the same requests, beside it or alone.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use flate2::read::GzDecoder;

use crate::failure::{Doing, Failure};
use crate::places::Places;

mod arguments;
mod figures;
mod hapi;
mod patients;
mod requests;
mod senders;
mod servers;

pub use arguments::{Arguments, EXAMPLES};

use figures::Figures;
use patients::Patients;
use requests::{Kind, Requests};
use senders::Times;
use servers::{Server, Which};

/// Requests under way at once while patients are stored.
const STORING_CONNECTIONS: usize = 8;
/// Bundles that others refer to, stored once.
const SHARED: [&str; 2] = ["hospitals", "practitioners"];
/// Synthea patients whose records are imported again and again.
const RECORDS: [&str; 4] = ["carmelo-streich", "darcy-schmidt", "dwain-mcglynn", "fannie-waelchi"];

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which servers.
    pub which: Which,
    /// With how many patients, in turn.
    pub patients: Vec<u32>,
    /// What is asked of them.
    pub kinds: Vec<Kind>,
    /// At how many connections, in turn.
    pub connections: Vec<usize>,
    /// How long each.
    pub times: Times,
    /// What patients and requests are drawn from.
    pub seed: u64,
}

/// A server, and what is sent to it.
struct Measuring {
    server: Server,
    requests: Requests,
    figures: Figures,
}

/// Measures the servers with each number of patients, and prints what they gave and their ratios.
///
/// # Errors
/// Where a request is not answered with success: then nothing is measured.
pub fn run(places: &Places, plan: &Plan) -> Result<(), Failure> {
    let mut all: Vec<Vec<Figures>> = Vec::new();
    for patients in &plan.patients {
        let figures = measure(places, plan, *patients)?;
        if let Some((first, others)) = figures.split_first() {
            others.iter().for_each(|other| first.compare(other));
        }
        all.push(figures);
    }
    let [few, rest @ ..] = &all[..] else { return Ok(()) };
    for many in rest {
        many.iter().zip(few).for_each(|(many, few)| many.compare(few));
    }
    Ok(())
}

/// What the servers gave with so many patients.
fn measure(places: &Places, plan: &Plan, count: u32) -> Result<Vec<Figures>, Failure> {
    let patients = Patients { seed: plan.seed, count };
    let records = places.repository.join("fhir-gateway/golden/synthea");
    let shared = SHARED.iter().map(|name| bundle(&records, name)).collect::<Result<Vec<_>, _>>()?;
    let bundles = RECORDS.iter().map(|name| bundle(&records, name)).collect::<Result<Vec<_>, _>>()?;
    let prepare = |server: Server| {
        let Server { base_url, token, .. } = &server;
        let (base_url, token) = (base_url.clone(), token.clone());
        let requests = Requests { base_url, token, patients, bundles: bundles.clone() };
        let figures = Figures::new(format!("{}, {count} patients", server.name));
        store(&requests, &shared, &figures.name)?;
        Ok(Measuring { server, requests, figures })
    };
    let servers = plan.which.start(places)?.into_iter();
    let mut all = servers.map(prepare).collect::<Result<Vec<_>, Failure>>()?;
    // What stores comes last, so that the others see the number of patients that is asked for.
    for kind in Kind::ALL.into_iter().filter(|kind| plan.kinds.contains(kind)) {
        for connections in &plan.connections {
            // One server after the other: what the machine does besides is about the same for all.
            for Measuring { server, requests, figures } in &mut all {
                let one = senders::measure(server, requests, kind, *connections, plan.times)?;
                say!("{}: {one}", figures.name);
                figures.measured.push(one);
            }
        }
    }
    let finish = |Measuring { server, mut figures, .. }| {
        let server: Server = server;
        figures.peak_memory_bytes = server.watched.peak_memory_bytes();
        say!("{}: most memory: {}", figures.name, figures.memory());
        figures
    };
    Ok(all.into_iter().map(finish).collect())
}

/// Stores the patients, and what the records refer to.
fn store(requests: &Requests, shared: &[String], name: &str) -> Result<(), Failure> {
    let began = Instant::now();
    senders::store(requests, STORING_CONNECTIONS)?;
    let rate = f64::from(requests.patients.count) / began.elapsed().as_secs_f64();
    say!("{name}: stored, {rate:.0}/s, in Bundles of {}", patients::BUNDLE_ENTRIES);
    shared.iter().try_for_each(|bundle| senders::once(requests, bundle.clone()))
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
