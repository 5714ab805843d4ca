//! The command line.

use std::time::Duration;

use super::Plan;
use super::requests::Kind;
use super::senders::Times;
use super::servers::{Other, Which};
use crate::places::{Places, Profile};

/// What the long help ends with.
pub const EXAMPLES: &str = "\
Patients and requests follow from the seed: whoever is given the same numbers gets the same bytes. Patients are stored in
transactions of 100 updates with ids of ours (`Patient/p0` and on), then each kind of request is sent over each number of
connections, of which every one waits for its answer. An answer is read to its end and must contain what was asked for; the
first that does not ends the run. What only reads comes first. Processor time is that of the server's processes and of
those that they started.

Examples:
  A gateway with 1,000 and with 100,000 patients, each on a ledger of its own:
    cargo localnet fhir-load
  The same beside HAPI FHIR JPA on PostgreSQL, one after the other request by request; Java, Maven and PostgreSQL are
  installed where they are missing:
    cargo localnet fhir-load --beside hapi
  Creates alone, at 32 connections:
    cargo localnet fhir-load --patients 1000 --requests create --connections 32 --seconds 20
  Any FHIR R4 server, which keeps what it is sent. Name its processes to see what a request costs it, the database's, too:
    cargo localnet fhir-load --server http://127.0.0.1:8080/fhir --process 4711 --process 4712";

/// What is measured, as the command line says it.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// With how many patients, in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000], value_parser = clap::value_parser!(u32).range(1..))]
    patients: Vec<u32>,
    /// At how many connections, in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    connections: Vec<usize>,
    /// What is asked, always in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    requests: Vec<Kind>,
    /// How long each is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long each is sent before it is measured.
    #[arg(long, default_value_t = 2)]
    warm_up_seconds: u64,
    /// What patients and requests are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the gateway is built: as an operator would, unless said otherwise.
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// Also measures this server, which is started for it.
    #[arg(long, value_enum)]
    beside: Option<Other>,
    /// Measures the FHIR R4 server at this address, in place of a gateway of its own.
    #[arg(long, value_name = "URL", conflicts_with_all = ["beside", "profile"])]
    server: Option<String>,
    /// A bearer token for it. Others on this machine can see it in the list of processes.
    #[arg(long, requires = "server")]
    token: Option<String>,
    /// One of its processes; may be given several times.
    #[arg(long = "process", value_name = "PID", requires = "server")]
    processes: Vec<u32>,
}

impl Arguments {
    /// The folders, with our programs as they are to be built.
    pub fn places(&self, places: Places) -> Places {
        Places { profile: self.profile, ..places }
    }

    /// What to measure.
    pub fn plan(self) -> Plan {
        let which = match self.server {
            Some(url) => Which::At { url, token: self.token, processes: self.processes },
            None => Which::Own(self.beside),
        };
        let [warm_up, measured] = [self.warm_up_seconds, self.seconds].map(Duration::from_secs);
        Plan {
            which,
            patients: self.patients,
            kinds: self.requests,
            connections: self.connections,
            times: Times { warm_up, measured },
            seed: self.seed,
        }
    }
}
