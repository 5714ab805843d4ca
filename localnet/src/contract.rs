//! The API's contract: what a gateway's OpenAPI document says, tried on that gateway by schemathesis.

use crate::failure::Failure;
use crate::lone::Lone;
use crate::places::Places;
use crate::program::Program;
use crate::toolbox::python;

/// The organization that is served.
const ORGANIZATION: &str = "contract";

/// A token is good for longer than the run.
const SETTINGS: [(&str, &str); 1] = [("token_seconds", "3600")];

/// What is tried: the endpoint itself and types of each kind. The addresses of the others are made by the same
/// rules from the same tables, and all of them together take ten minutes.
const PATHS: &str = r"^/(|metadata|openapi\.json|_history|\.well-known/.*|(Practitioner|Observation|AuditEvent|Binary)(/.*)?|Patient(/(\{id\}|_search|_history|\$.*))?|Patient/\{id\}/(\*|Condition.*|_history.*|\$.*))$";

/// Starts a gateway and lets schemathesis try it.
///
/// # Errors
/// What it finds, or what cannot be started; where schemathesis cannot be had, as [`python::environment`].
pub fn check(places: &Places) -> Result<(), Failure> {
    let project = places.repository.join("tests/clients/schemathesis");
    let python = python::environment(places, &project)?;
    let gateway = Lone::start(places, ORGANIZATION, &SETTINGS)?;
    Program::new(python.join("schemathesis"))
        .arg("--config-file")
        .arg(project.join("schemathesis.toml"))
        .args(["run", "--include-path-regex", PATHS])
        .arg(format!("{}/openapi.json", gateway.fhir_url()))
        .env("FHIR_TOKEN", gateway.token(places)?)
        // What it remembers of a run is for the next one to find nowhere.
        .in_folder(gateway.folder())
        .run()
}
