//! HAPI's instance validator over what the gateway answered in its tests, once for each shape of an answer.

use std::fs;
use std::path::PathBuf;

use crate::binaries::WHOLE;
use crate::failure::{Doing, Failure};
use crate::places::{self, Places};
use crate::program::Program;
use crate::toolbox;
use crate::toolbox::java::{Classes, Project};

/// Variable that tells the gateway's tests where to keep what they are answered.
const VARIABLE: &str = "CARELEDGER_TEST_ANSWERS";

/// For the definitions of FHIR with their snapshots, and a resource at a time on each core.
const VALIDATOR_MEBIBYTES_MAX: u32 = 2_048;

/// Gives a cargo that runs tests a new folder to keep answers in.
///
/// # Errors
/// Where the folder cannot be made anew.
pub fn kept_by(places: &Places, cargo: Program) -> Result<Program, Failure> {
    let folder = folder(places);
    if folder.exists() {
        fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
    }
    places::make_folder(&folder)?;
    Ok(cargo.env(VARIABLE, folder))
}

/// Runs the tests that call a gateway over FHIR, and keeps what they are answered.
///
/// # Errors
/// Where they fail.
pub fn record(places: &Places) -> Result<(), Failure> {
    let tests = [&["test", "--locked"], &WHOLE[..], &["--test", "fhir", "--test", "journeys"]].concat();
    kept_by(places, toolbox::cargo_here(places).args(tests))?.run()
}

/// Validates what was kept.
///
/// # Errors
/// Where the validator cannot be had, as [`Hapi::provide`]; what it calls an error and no exception explains.
pub fn validate(places: &Places) -> Result<(), Failure> {
    let hapi = Classes::provide(places, &Project::CHECKS)?;
    say!("validating what the tests were answered: two to four minutes");
    let exceptions = places.repository.join("tests/clients/hapi/exceptions.txt");
    hapi.program("careledger.ResponseCheck", VALIDATOR_MEBIBYTES_MAX).arg(folder(places)).arg(exceptions).run()
}

fn folder(places: &Places) -> PathBuf {
    places.target.join("answers")
}
