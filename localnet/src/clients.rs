//! Clients that we did not write, unmodified, against a gateway: each by a script in `tests/clients` that drives it
//! through the interactions of an EHR.

use std::path::Path;

use crate::failure::Failure;
use crate::lone::{CLIENT, Lone};
use crate::places::Places;
use crate::program::Program;
use crate::toolbox::java::{Classes, Project};
use crate::toolbox::{node, python};

/// The organization that is served.
const ORGANIZATION: &str = "clients";

/// A token is good for longer than the run.
const SETTINGS: [(&str, &str); 1] = [("token_seconds", "3600")];

/// Enough for HAPI's model of FHIR.
const HAPI_MEBIBYTES_MAX: u32 = 512;

/// One of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Client {
    /// npm `fhir-kit-client`.
    #[value(name = "fhir-kit-client")]
    FhirKit,
    /// npm `@medplum/core`.
    Medplum,
    /// PyPI `fhirpy`.
    Fhirpy,
    /// PyPI `fhirclient`, SMART on FHIR.
    Fhirclient,
    /// HAPI FHIR's client, of Maven Central.
    Hapi,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::FhirKit, Self::Medplum, Self::Fhirpy, Self::Fhirclient, Self::Hapi];

    fn folder(self) -> &'static str {
        match self {
            Self::FhirKit => "fhir-kit-client",
            Self::Medplum => "medplum",
            Self::Fhirpy => "fhirpy",
            Self::Fhirclient => "fhirclient",
            Self::Hapi => "hapi",
        }
    }

    /// What drives it, ready to be run.
    fn program(self, places: &Places) -> Result<Program, Failure> {
        let project = places.repository.join("tests/clients").join(self.folder());
        match self {
            Self::FhirKit | Self::Medplum => node(places, &project),
            Self::Fhirpy | Self::Fhirclient => {
                let programs = python::environment(places, &project)?;
                Ok(Program::new(programs.join("python")).arg(project.join("check.py")))
            }
            Self::Hapi => {
                Ok(Classes::provide(places, &Project::CHECKS)?.program("careledger.ClientCheck", HAPI_MEBIBYTES_MAX))
            }
        }
    }
}

fn node(places: &Places, project: &Path) -> Result<Program, Failure> {
    node::provide(places)?;
    // npm writes it last: an installation that was cut off is done again.
    if !project.join("node_modules/.package-lock.json").is_file() {
        node::program(places, "npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .in_folder(project)
            .fetch("npm's registry")?;
    }
    Ok(node::program(places, "node").arg("check.mjs").in_folder(project))
}

/// Starts a gateway and drives each of the clients against it. Gives what could not be checked on this machine, with the
/// reason.
///
/// # Errors
/// Where a client stumbles.
pub fn check(places: &Places, clients: &[Client]) -> Result<Vec<String>, Failure> {
    let mut skipped = Vec::new();
    let gateway = Lone::start(places, ORGANIZATION, &SETTINGS)?;
    for client in clients {
        let program = match client.program(places) {
            Ok(program) => program,
            Err(failure) => {
                skipped.push(format!("{}: {}", client.folder(), failure.of_this_machine()?));
                continue;
            }
        };
        program
            .env("FHIR_BASE_URL", gateway.fhir_url())
            .env("FHIR_TOKEN", gateway.token(places)?)
            .env("FHIR_CLIENT_ID", CLIENT)
            .env("FHIR_CLIENT_KEY", gateway.key())
            .env("FHIR_CLIENT_KEY_ID", gateway.key_id()?)
            .run()?;
    }
    Ok(skipped)
}
