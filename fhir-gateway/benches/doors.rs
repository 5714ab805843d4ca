//! Whether a clock tells what is denied from what is absent: a patient's client asks for both over one
//! connection, in an order that is drawn from a seed.
//!
//! Prints for each door the median of the absent, by how much the median of the denied differs from it, with
//! the interval in which 95 of 100 such differences lie when the samples are drawn anew (bootstrap), and
//! the chance that a denied request takes longer than an absent one (Mann and Whitney's U, divided by the number
//! of pairs): 0.5 where nothing can be told. `CARELEDGER_DOORS` says how many samples of each; 400 by default.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on must stop")]

#[path = "support/server.rs"]
mod server;

use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use server::Server;

/// Different resources of each kind, so that no single place in a cache decides.
const RESOURCES: usize = 50;
/// Draws of a bootstrap.
const DRAWS: usize = 1_000;
/// Bytes of a large file.
const LARGE: usize = 500_000;

/// Method and path; `{id}` is a resource, `{patient}` whom it is about.
const DOORS: &[(&str, &str)] = &[
    ("GET", "/Condition/{id}"),
    ("GET", "/Condition/{id}/_history/1"),
    ("GET", "/Condition/{id}/_history"),
    ("PUT", "/Condition/{id}"),
    ("PATCH", "/Condition/{id}"),
    ("DELETE", "/Condition/{id}"),
    ("DELETE", "/Condition?_id={id}"),
    ("GET", "/Binary/{id}"),
    ("GET", "/Binary/linked-{id}"),
    ("GET", "/Patient/{patient}/$everything"),
    ("GET", "/Condition?_id={id}"),
    ("GET", "/Condition?patient.identifier=mrn-{patient}"),
    ("GET", "/Patient?_has:Condition:patient:_id={id}"),
    ("GET", "/AuditEvent/leaf-{number}"),
];

fn condition(id: &str, patient: &str) -> String {
    let text = "x".repeat(1_000);
    format!(
        r#"{{"resourceType":"Condition","id":"{id}","code":{{"text":"{text}"}},"subject":{{"reference":"Patient/{patient}"}}}}"#
    )
}

/// Stores what is denied, and one of each that the portal may see.
fn fill(server: &Server) {
    let put = async |path: String, headers: &[(&str, &str)], body: Vec<u8>| {
        let mut request = server.client.put(format!("{}{path}", server.base_url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    };
    server.run(async {
        for patient in ["p1", "p2"] {
            let body = format!(
                r#"{{"resourceType":"Patient","id":"{patient}","identifier":[{{"value":"mrn-{patient}"}}]}}"#
            );
            put(format!("/Patient/{patient}"), &[], body.into_bytes()).await;
        }
        put("/Condition/own".to_owned(), &[], condition("own", "p1").into_bytes()).await;
        for number in 0..RESOURCES {
            let id = format!("denied-{number:02}");
            put(format!("/Condition/{id}"), &[], condition(&id, "p2").into_bytes()).await;
            let of_p2 = [("content-type", "text/plain"), ("x-security-context", "Patient/p2")];
            put(format!("/Binary/{id}"), &of_p2, vec![b'x'; LARGE]).await;
            put(format!("/Binary/linked-{id}"), &of_p2[..1], vec![b'x'; 1_000]).await;
            let document = format!(
                r#"{{"resourceType":"DocumentReference","id":"{id}","status":"current","subject":{{"reference":"Patient/p2"}},"content":[{{"attachment":{{"url":"Binary/linked-{id}"}}}}]}}"#
            );
            put(format!("/DocumentReference/{id}"), &[], document.into_bytes()).await;
        }
    });
}

/// Microseconds of one request of the portal.
async fn timed(server: &Server, portal: &str, door: (&str, &str), is_denied: bool, number: usize) -> f64 {
    let (kind, patient, leaf) =
        if is_denied { ("denied", "p2", 1 + number) } else { ("absent", "p9", 9_000_000 + number) };
    let id = format!("{kind}-{number:02}");
    let path = door.1.replace("{id}", &id).replace("{patient}", patient).replace("{number}", &leaf.to_string());
    let url = format!("{}{path}", server.base_url);
    let mut request = server.client.request(door.0.parse().unwrap(), url);
    request = match door.0 {
        "PUT" => request.body(condition(&id, "p1")),
        "PATCH" => request.header("content-type", "application/merge-patch+json").body(r#"{"language":"en"}"#),
        _ => request,
    };
    let request = request.header("authorization", format!("Bearer {portal}")).build().unwrap();
    let began = Instant::now();
    let response = server.client.execute(request).await.unwrap();
    response.bytes().await.unwrap();
    began.elapsed().as_secs_f64() * 1e6
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The chance that one of `left` is greater than one of `right`; ties count half.
fn chance(left: &[f64], right: &[f64]) -> f64 {
    let pairs = left.iter().flat_map(|one| right.iter().map(move |other| (one, other)));
    let won = pairs.map(|(one, other)| match one.total_cmp(other) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    });
    won.sum::<f64>() / (left.len() * right.len()) as f64
}

/// The middle 95 of 100 differences of medians, of samples drawn anew.
fn interval(random: &mut StdRng, denied: &[f64], absent: &[f64]) -> (f64, f64) {
    let mut differences: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let mut again = |samples: &[f64]| {
                let drawn: Vec<f64> = samples.iter().map(|_| samples[random.random_range(0..samples.len())]).collect();
                drawn
            };
            let (mut denied, mut absent) = (again(denied), again(absent));
            median(&mut denied) - median(&mut absent)
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    (differences[DRAWS / 40], differences[DRAWS - 1 - DRAWS / 40])
}

fn main() {
    let samples = std::env::var("CARELEDGER_DOORS").map_or(400, |text| text.parse().expect("a number of samples"));
    let server = server::start();
    fill(&server);
    let portal = server.token("portal");
    let mut random = StdRng::seed_from_u64(1);
    println!("| door | absent, median | denied more by | 95 % | chance that denied is slower |\n|---|---|---|---|---|");
    for door in DOORS {
        let (mut denied, mut absent) = (Vec::with_capacity(samples), Vec::with_capacity(samples));
        let mut order: Vec<bool> = (0..2 * samples).map(|at| at % 2 == 0).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.random_range(0..=at));
        }
        for (at, is_denied) in order.into_iter().enumerate() {
            let taken = server.run(timed(&server, &portal, *door, is_denied, at % RESOURCES));
            // The first ones warm up the connection, the index's statements and the disk's cache.
            if at >= RESOURCES {
                if is_denied { denied.push(taken) } else { absent.push(taken) }
            }
        }
        let (low, high) = interval(&mut random, &denied, &absent);
        let chance = chance(&denied, &absent);
        let (denied, absent) = (median(&mut denied), median(&mut absent));
        println!(
            "| `{} {}` | {absent:.0} µs | {:.0} µs | {low:.0} to {high:.0} µs | {chance:.2} |",
            door.0,
            door.1,
            denied - absent,
        );
    }
    // The server's threads go on until the process ends; its files are removed before.
    drop(server);
    std::process::exit(0);
}
