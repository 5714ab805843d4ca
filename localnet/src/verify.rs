//! `cargo verify`: everything that must hold, in one command.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::answers;
use crate::binaries::{self, WHOLE};
use crate::clients::{self, Client};
use crate::contract;
use crate::failure::Failure;
use crate::places::Places;
use crate::postgres::{Postgres, Purpose};
use crate::program::Program;
use crate::toolbox::{self, Need, node};

/// How a stage went.
enum Outcome {
    Passed,
    /// What could not be checked on this machine, and why.
    NotChecked(String),
    Failed(Failure),
}

struct Stage {
    name: &'static str,
    run: fn(&Places) -> Result<Outcome, Failure>,
}

/// In the order in which a failure is cheapest to learn of.
const STAGES: [Stage; 14] = [
    Stage { name: "tools", run: tools },
    Stage { name: "format", run: format },
    Stage { name: "CometBFT and the node program", run: nodes },
    Stage { name: "lints", run: lints },
    Stage { name: "tests", run: tests },
    Stage { name: "index and vault on PostgreSQL", run: postgres },
    Stage { name: "official definitions", run: definitions },
    Stage { name: "OpenAPI under schemathesis", run: contract },
    Stage { name: "outside clients", run: clients },
    Stage { name: "answers under HAPI's validator", run: answers },
    Stage { name: "node program's tests", run: node_tests },
    Stage { name: "proofs under another implementation", run: foreign_proofs },
    Stage { name: "licences and sources", run: licences },
    Stage { name: "advisories", run: advisories },
];

/// Runs every stage, failed or not, and sums up.
pub fn run(places: &Places) -> Result<(), Failure> {
    let mut done = Vec::new();
    for stage in STAGES {
        say!("\n== {} ==", stage.name);
        let started = Instant::now();
        let outcome = (stage.run)(places).unwrap_or_else(Outcome::Failed);
        if let Outcome::Failed(failure) = &outcome {
            say!("{failure}");
        }
        // Without the tools no later stage says anything about the code.
        let is_hopeless = stage.name == STAGES[0].name && matches!(outcome, Outcome::Failed(_));
        done.push((stage.name, outcome, started.elapsed()));
        if is_hopeless {
            break;
        }
    }
    summarize(&done)
}

fn summarize(done: &[(&str, Outcome, Duration)]) -> Result<(), Failure> {
    say!("\n== summary ==");
    let mut failed = Vec::new();
    for (name, outcome, elapsed) in done {
        let verdict = match outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::NotChecked(why) => format!("NOT CHECKED: {why}"),
            Outcome::Failed(failure) => {
                failed.push(*name);
                format!("FAILED: {failure}")
            }
        };
        say!("{:>6} s  {name}: {verdict}", elapsed.as_secs());
    }
    if failed.is_empty() {
        say!("everything that was checked holds");
        return Ok(());
    }
    Err(Failure::Check(format!("failed: {}", failed.join(", "))))
}

fn tools(places: &Places) -> Result<Outcome, Failure> {
    toolbox::provide(&[Need::CompilerAndMake, Need::Libclang])?;
    node::provide(places)?;
    toolbox::go(places)?.arg("version").run()?;
    Ok(Outcome::Passed)
}

fn format(places: &Places) -> Result<Outcome, Failure> {
    cargo(places, &["fmt", "--all", "--check"])
}

fn nodes(places: &Places) -> Result<Outcome, Failure> {
    binaries::build_nodes(places)?;
    Ok(Outcome::Passed)
}

fn lints(places: &Places) -> Result<Outcome, Failure> {
    cargo(places, &[&["clippy", "--locked"], &WHOLE[..], &["--all-targets", "--", "-D", "warnings"]].concat())
}

fn tests(places: &Places) -> Result<Outcome, Failure> {
    // The end-to-end tests start the programs, which `cargo test` alone would not build for them.
    binaries::build(places)?;
    // A suite that fails keeps no other from being heard.
    let arguments = [&["test", "--locked", "--no-fail-fast"], &WHOLE[..]].concat();
    answers::kept_by(places, toolbox::cargo_here(places).args(&arguments))?.run()?;
    Ok(Outcome::Passed)
}

/// What the tests ran on files, once more on a server: the index, the vault and all of FHIR; and what only a
/// server can do, two processes of one organization.
fn postgres(places: &Places) -> Result<Outcome, Failure> {
    let certificates = places.repository.join("fhir-gateway/src/server/testdata");
    let (certificate, key) = (certificates.join("server.pem"), certificates.join("server.key"));
    let server = match Postgres::start(&Purpose::Tests { certificate: &certificate, key: &key }) {
        Ok(server) => server,
        Err(failure) => return failure.of_this_machine().map(Outcome::NotChecked),
    };
    say!("{} is running", server.version()?);
    for chosen in [&["--lib", "--", "index::", "vault::", "records::", "postgres::"][..], &["--test", "fhir"]] {
        let arguments = [&["test", "--locked"], &WHOLE[..], chosen].concat();
        toolbox::cargo_here(places).args(&arguments).env("CARELEDGER_TEST_POSTGRES", server.url()).run()?;
    }
    Ok(Outcome::Passed)
}

/// What the tests ran already; here to say apart from them when it could not be checked.
fn definitions(places: &Places) -> Result<Outcome, Failure> {
    let arguments = [&["test", "--locked"], &WHOLE[..], &["--test", "definitions"]].concat();
    let said = toolbox::cargo_here(places).args(&arguments).capture()?;
    say!("{said}");
    let skipped = said.lines().find_map(|line| line.strip_prefix("SKIPPED, not passed: "));
    Ok(skipped.map_or(Outcome::Passed, |why| Outcome::NotChecked(why.to_owned())))
}

fn contract(places: &Places) -> Result<Outcome, Failure> {
    checked(contract::check(places))
}

fn clients(places: &Places) -> Result<Outcome, Failure> {
    let skipped = clients::check(places, &Client::ALL)?;
    Ok(if skipped.is_empty() { Outcome::Passed } else { Outcome::NotChecked(skipped.join("; ")) })
}

/// Of what the tests were answered in their stage.
fn answers(places: &Places) -> Result<Outcome, Failure> {
    checked(answers::validate(places))
}

fn node_tests(places: &Places) -> Result<Outcome, Failure> {
    go_tests(places, &places.cometbft_module())
}

fn foreign_proofs(places: &Places) -> Result<Outcome, Failure> {
    go_tests(places, &places.ics23_module())
}

fn go_tests(places: &Places, module: &Path) -> Result<Outcome, Failure> {
    // What is compiled is fetched first, so that the proxy's absence is told from a test's failure.
    let needed = toolbox::go(places)?.args(["list", "-deps", "-test", "./..."]).in_folder(module);
    if let Err(failure) = needed.fetch("the proxy of Go modules") {
        return failure.of_this_machine().map(Outcome::NotChecked);
    }
    for arguments in [["vet", "./..."], ["test", "./..."]] {
        toolbox::go(places)?.args(arguments).in_folder(module).run()?;
    }
    Ok(Outcome::Passed)
}

fn licences(places: &Places) -> Result<Outcome, Failure> {
    let check = ["check", "licenses", "bans", "sources"];
    checked(toolbox::cargo_deny(places).and_then(|checker| deny(&checker, places, &check).run()))
}

fn advisories(places: &Places) -> Result<Outcome, Failure> {
    checked(toolbox::cargo_deny(places).and_then(|checker| against_advisories(places, &checker)))
}

/// By a checker that is there: one that is not is no database that cannot be reached.
fn against_advisories(places: &Places, checker: &Path) -> Result<(), Failure> {
    deny(checker, places, &["fetch", "db"]).fetch("the advisory database")?;
    deny(checker, places, &["check", "--disable-fetch", "advisories"]).run()
}

fn deny(checker: &Path, places: &Places, arguments: &[&str]) -> Program {
    Program::new(checker).args(arguments).in_folder(&places.repository)
}

/// A check that this machine could not make says so, and is neither passed nor failed.
fn checked(result: Result<(), Failure>) -> Result<Outcome, Failure> {
    match result {
        Ok(()) => Ok(Outcome::Passed),
        Err(failure) => failure.of_this_machine().map(Outcome::NotChecked),
    }
}

fn cargo(places: &Places, arguments: &[&str]) -> Result<Outcome, Failure> {
    toolbox::cargo_here(places).args(arguments).run()?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Profile;

    #[test]
    fn one_failed_stage_fails_the_whole_and_is_named() {
        let failed = || Outcome::Failed(Failure::Check("broken".into()));
        let done = [
            ("format", Outcome::Passed, Duration::ZERO),
            ("tests", failed(), Duration::ZERO),
            ("advisories", Outcome::NotChecked("offline".into()), Duration::ZERO),
        ];
        assert_eq!(summarize(&done).unwrap_err().to_string(), "failed: tests");
        assert!(summarize(&done[..1]).is_ok());
    }

    #[test]
    fn what_this_machine_lacks_is_not_checked_and_what_is_wrong_fails() {
        let lacking = Failure::Needs("run: apt-get install python3-venv".into());
        let away = Failure::Unreachable { registry: "PyPI", said: "connection refused".into() };
        for failure in [lacking, away] {
            let why = failure.to_string();
            assert!(matches!(checked(Err(failure)), Ok(Outcome::NotChecked(told)) if told == why));
        }
        let refused = Failure::Program { command: "mvn compile".into(), outcome: "ended with 1".into() };
        assert!(matches!(checked(Err(refused)), Err(Failure::Program { .. })));
        assert!(matches!(checked(Ok(())), Ok(Outcome::Passed)));
    }

    #[test]
    fn a_missing_licence_checker_is_not_taken_for_advisories_that_cannot_be_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let place = || folder.path().to_owned();
        let places =
            Places { program: place(), repository: place(), target: place(), cache: place(), profile: Profile::Dev };
        let result = checked(against_advisories(&places, &folder.path().join("cargo-deny")));
        assert!(matches!(result, Err(Failure::System { .. })));
    }
}
