//! The tables in `definitions/` are what the official definitions say.
//!
//! Has a `main` of its own: the definitions come from the npm registry, and where they cannot be had, these
//! checks are neither passed nor failed. They say then that they were skipped, and why.
//!
//! `FHIR_FILES=folder` looks at the files of a folder instead.
//!
//! To make the tables anew: `UPDATE_GENERATED=1 cargo test --workspace --features careledger_zk/prover --test definitions`.

#![expect(clippy::print_stdout, reason = "it reports as a test harness does")]

mod compartments;
mod composite;
mod elements;
mod examples;
mod package;
mod search;

use std::{collections::BTreeSet, env, fs, path::Path, process::ExitCode};

use careledger_gateway::resources;
use elements::Types;
use package::{Missing, Package};

/// A check: its name, and what is wrong.
type Check = (&'static str, fn(&Package) -> Result<(), String>);

const CHECKS: &[Check] = &[
    ("the_tables_are_those_of_the_official_definitions", tables),
    ("the_committed_examples_are_official", examples::committed),
    ("every_official_example_is_accepted_or_wrong_by_the_definitions", examples::examples),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        CHECKS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let checks: Vec<&Check> = CHECKS.iter().filter(|(name, _)| is_asked(name)).collect();
    if checks.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", checks.len());
    if let Some(folder) = env::var_os("FHIR_FILES") {
        return match examples::folder(Path::new(&folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                println!("{problem}");
                ExitCode::FAILURE
            }
        };
    }
    let package = match Package::fetch() {
        Ok(package) => package,
        Err(Missing::Unreachable(why)) if env::var_os("UPDATE_GENERATED").is_none() => {
            checks.iter().for_each(|(name, _)| println!("test {name} ... SKIPPED"));
            println!("\nSKIPPED, not passed: the official definitions cannot be fetched ({why})");
            println!("\n0 passed; 0 failed; {} skipped\n", checks.len());
            return ExitCode::SUCCESS;
        }
        Err(Missing::Unreachable(why) | Missing::Altered(why)) => {
            println!("\nFAILED: {why}\n");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = 0;
    for (name, check) in &checks {
        match check(&package) {
            Ok(()) => println!("test {name} ... ok"),
            Err(problem) => {
                failed += 1;
                println!("test {name} ... FAILED\n{problem}");
            }
        }
    }
    println!("\n{} passed; {failed} failed; 0 skipped\n", checks.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The committed tables against those that are made now; writes them where that is asked for.
fn tables(package: &Package) -> Result<(), String> {
    let types = Types::read(package);
    let kept: BTreeSet<&str> = resources::resources().map(|resource| resource.name).collect();
    let fresh = [
        ("elements.txt", types.elements()),
        ("codes.txt", types.codes()),
        ("patterns.txt", types.patterns().to_owned()),
        ("search.txt", search::search(package, &types, &kept)),
        ("compartments.txt", compartments::compartments(package, &kept)),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("definitions");
    for (name, expected) in fresh {
        let file = folder.join(name);
        if env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&file, &expected).map_err(|error| format!("{name}: {error}"))?;
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        if committed != expected {
            let differing = committed.lines().zip(expected.lines()).position(|(left, right)| left != right);
            let line = differing.unwrap_or_else(|| committed.lines().count().min(expected.lines().count())) + 1;
            return Err(format!("definitions/{name} differs from line {line}: run it again with UPDATE_GENERATED=1"));
        }
    }
    Ok(())
}
