//! The two gateways of a home: one serves hospital A and the insurer, the other hospital B.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::failure::{Doing, Failure};
use crate::home;
use crate::network::prepare::random_passphrase;
use crate::network::record::App;
use crate::places::{self, Places};
use crate::program::Program;
use crate::story::world::{Organization, text};
use crate::supervisor::plan::{Process, Stage, log_file};

/// How many gateway processes there are.
pub const GATEWAYS: usize = 2;
/// How long a gateway may take to answer: it makes its folders first.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);
/// How much of a log is shown when a gateway does not answer.
const LOG_LINES_SHOWN_MAX: usize = 15;
/// The id of each organization's one client, its EHR.
pub const CLIENT: &str = "ehr";

/// An organization of the story and the gateway that serves it.
#[derive(Debug)]
pub struct Seat {
    /// Path segment of its URLs.
    pub name: &'static str,
    /// What it does, as the ledger calls it.
    pub kind: &'static str,
    gateway: usize,
}

/// Hospital A, the insurer, hospital B.
pub const SEATS: [Seat; 3] = [
    Seat { name: "general", kind: "provider", gateway: 0 },
    Seat { name: "insurer", kind: "insurer", gateway: 0 },
    Seat { name: "lakeside", kind: "provider", gateway: 1 },
];

/// The ledger that a gateway uses.
#[derive(Clone, Debug)]
pub enum Ledger {
    /// In the gateway's own process, with an RPC for others.
    Embedded {
        /// Port of the RPC.
        rpc_port: u16,
        /// Id of the chain.
        chain_id: String,
        /// The ledger's part of the genesis.
        genesis: PathBuf,
    },
    /// Behind an RPC address.
    Comet {
        /// The address.
        rpc: String,
    },
}

/// Refuses a number of gateways that the story's organizations do not need, and gateways without their ledger.
pub fn check_count(gateways: usize, app: App) -> Result<(), Failure> {
    match (gateways, app) {
        (0, _) | (GATEWAYS, App::Careledger) => Ok(()),
        (GATEWAYS, _) => Err(Failure::Needs("gateways need CareLedger as the application; add --gateways 0".into())),
        _ => Err(Failure::Needs(format!("there are 0 or {GATEWAYS} gateways"))),
    }
}

impl Seat {
    fn folder(&self, home: &Path) -> PathBuf {
        folder(home).join(self.name)
    }

    /// Its FHIR endpoint, without a slash at the end.
    pub fn base_url(&self, ports: &[u16; GATEWAYS]) -> String {
        format!("{}/fhir", self.url(ports))
    }

    fn url(&self, ports: &[u16; GATEWAYS]) -> String {
        format!("http://127.0.0.1:{}/{}", ports[self.gateway], self.name)
    }

    /// The private key of its client.
    pub fn client_key(&self, home: &Path) -> PathBuf {
        self.folder(home).join(format!("{CLIENT}.pem"))
    }

    /// Its account and encryption key, as `keys add` told them.
    fn public(&self, home: &Path) -> Result<Value, Failure> {
        let file = self.folder(home).join("public.json");
        serde_json::from_str(&places::read(&file)?)
            .map_err(|error| Failure::Check(format!("{}: {error}", file.display())))
    }

    fn account(&self, home: &Path) -> Result<String, Failure> {
        text(&self.public(home)?, "address")
    }

    /// A token for its client, through the real exchange.
    pub fn token(&self, places: &Places, home: &Path, ports: &[u16; GATEWAYS]) -> Result<String, Failure> {
        let token = gateway(places)
            .args(["token", "--client", CLIENT, "--url", &self.base_url(ports), "--key"])
            .arg(self.client_key(home))
            .capture()?;
        Ok(token.trim().to_owned())
    }

    /// The organization as the story meets it, with a fresh token.
    pub fn organization(
        &'static self,
        places: &Places,
        home: &Path,
        ports: &[u16; GATEWAYS],
    ) -> Result<Organization, Failure> {
        let public = self.public(home)?;
        Ok(Organization {
            name: self.name,
            kind: self.kind,
            account: text(&public, "address")?,
            encryption_key: text(&public, "encryption_key")?,
            fhir: crate::story::http::Fhir::new(self.base_url(ports), self.token(places, home, ports)?),
        })
    }
}

fn gateway(places: &Places) -> Program {
    Program::new(places.built("careledger-gateway"))
}

fn folder(home: &Path) -> PathBuf {
    home.join("gateways")
}

fn name(index: usize) -> String {
    format!("g{index}")
}

fn configuration_file(home: &Path, index: usize) -> PathBuf {
    folder(home).join(name(index)).with_extension("toml")
}

/// Makes the keys of the organizations and of their clients, where they are not there yet.
pub fn create(places: &Places, home: &Path) -> Result<(), Failure> {
    for seat in &SEATS {
        let folder = seat.folder(home);
        if folder.join("public.json").exists() {
            continue;
        }
        if folder.exists() {
            // Whatever is there was not made to its end.
            fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
        }
        places::make_folder(&folder)?;
        places::write_secret(&folder.join("passphrase"), &random_passphrase()?)?;
        gateway(places)
            .args(["keys", "client", "--key"])
            .arg(seat.client_key(home))
            .arg("--jwks")
            .arg(folder.join(format!("{CLIENT}.jwks.json")))
            .capture()?;
        let public = gateway(places)
            .args(["keys", "add", "--keystore"])
            .arg(folder.join("keystore.json"))
            .arg("--passphrase-file")
            .arg(folder.join("passphrase"))
            .capture()?;
        // Last: it is what says that all of this was finished.
        places::write(&folder.join("public.json"), &public)?;
    }
    Ok(())
}

/// Writes both configurations; to be repeated when the ports change.
pub fn configure(
    home: &Path,
    ports: &[u16; GATEWAYS],
    ledgers: &[Ledger; GATEWAYS],
    token_seconds: u32,
) -> Result<(), Failure> {
    for (index, ledger) in ledgers.iter().enumerate() {
        let text = configuration(home, index, ports, ledger, token_seconds)?;
        places::write(&configuration_file(home, index), &text)?;
    }
    Ok(())
}

fn configuration(
    home: &Path,
    index: usize,
    ports: &[u16; GATEWAYS],
    ledger: &Ledger,
    token_seconds: u32,
) -> Result<String, Failure> {
    let (kind, table) = match ledger {
        Ledger::Embedded { rpc_port, chain_id, genesis } => (
            "embedded",
            format!(
                "[embedded]\npath = \"../ledger/state\"\nrpc_listen = \"127.0.0.1:{rpc_port}\"\n\
                 chain_id = {}\ngenesis = {}\n",
                quoted(chain_id),
                quoted(&genesis.display().to_string()),
            ),
        ),
        Ledger::Comet { rpc } => ("comet", format!("[comet]\nrpc = {}\n", quoted(rpc))),
    };
    let port = ports[index];
    let mut text = format!(
        "# Written by careledger-localnet, again at each start. fhir-gateway/example.toml explains every key.\n\
         ledger = \"{kind}\"\n\n\
         [server]\nlisten = \"127.0.0.1:{port}\"\nbase_url = \"http://127.0.0.1:{port}\"\n\
         body_bytes_max = 33554432\nworkers = 2\n\n\
         [auth]\ntoken_seconds = {token_seconds}\nrequests_per_second = 500\nrequest_burst = 2000\n\
         token_requests_per_second = 20\n\n\
         [audit]\nbatch_leaves = 1000\nbatch_seconds = 10\n\n{table}",
    );
    for seat in &SEATS {
        if seat.gateway == index {
            let name = seat.name;
            write!(
                text,
                "\n[[organization]]\nname = \"{name}\"\nkeystore = \"{name}/keystore.json\"\n\
                 passphrase_file = \"{name}/passphrase\"\ndata = \"{name}/data\"\n\n\
                 [[organization.client]]\nid = \"{CLIENT}\"\njwks = \"{name}/{CLIENT}.jwks.json\"\n\
                 scopes = \"system/*.cruds\"\n",
            )
        } else {
            let (account, url) = (seat.account(home)?, seat.url(ports));
            write!(text, "\n[[peer]]\norganization = \"{account}\"\nurl = \"{url}\"\n")
        }
        .expect("a String takes any text");
    }
    Ok(text)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The processes.
pub fn processes(places: &Places, home: &Path) -> [Process; GATEWAYS] {
    std::array::from_fn(|index| Process {
        name: name(index),
        group: name(index),
        stage: Stage::Gateway,
        program: places.built("careledger-gateway"),
        arguments: vec!["start".into(), "--config".into(), configuration_file(home, index).display().to_string()],
        socket: None,
        environment: Default::default(),
    })
}

/// Waits until every organization's endpoint answers.
pub fn wait_until_ready(home: &Path, ports: &[u16; GATEWAYS]) -> Result<(), Failure> {
    for seat in &SEATS {
        let url = seat.base_url(ports);
        home::wait(&format!("{url} to answer"), READY_TIME_MAX, || answers(&url)).map_err(|failure| {
            let log = log_file(home, &name(seat.gateway));
            let text = places::read(&log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN_MAX)..];
            Failure::Check(format!("{failure}; {} ends with\n{}", log.display(), last.join("\n")))
        })?;
    }
    Ok(())
}

/// Whether an endpoint gives its CapabilityStatement.
pub fn answers(base_url: &str) -> bool {
    let agent = Agent::config_builder().timeout_global(Some(LOOK_TIME_MAX)).build().new_agent();
    agent.get(format!("{base_url}/metadata")).call().is_ok()
}

/// Lines of an environment file: each organization's endpoint, account and client.
pub fn environment(home: &Path, ports: &[u16; GATEWAYS]) -> String {
    let mut lines = String::new();
    for seat in &SEATS {
        let name = seat.name.to_uppercase();
        // The account of a home that is being made is told by the next `save`.
        let account = seat.account(home).unwrap_or_default();
        write!(
            lines,
            "{name}_BASE_URL='{}'\n{name}_ACCOUNT='{account}'\n{name}_CLIENT_ID='{CLIENT}'\n{name}_CLIENT_KEY='{}'\n",
            seat.base_url(ports),
            seat.client_key(home).display(),
        )
        .expect("a String takes any text");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gateway_serves_its_own_and_knows_the_others() {
        let home = tempfile::tempdir().unwrap();
        for seat in &SEATS {
            places::make_folder(&seat.folder(home.path())).unwrap();
            let public = format!("{{\"address\": \"care1{}\"}}", seat.name);
            places::write(&seat.folder(home.path()).join("public.json"), &public).unwrap();
        }
        let ledger = Ledger::Comet { rpc: "http://127.0.0.1:1".into() };
        let read = |index| -> toml::Table {
            configuration(home.path(), index, &[8_100, 8_101], &ledger, 300).unwrap().parse().unwrap()
        };
        let names = |table: &toml::Table, list: &str, key: &str| -> Vec<String> {
            let items = table[list].as_array().unwrap().iter();
            items.map(|item| item[key].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&read(0), "organization", "name"), ["general", "insurer"]);
        assert_eq!(names(&read(0), "peer", "organization"), ["care1lakeside"]);
        assert_eq!(names(&read(1), "organization", "name"), ["lakeside"]);
        let urls = ["http://127.0.0.1:8100/general", "http://127.0.0.1:8100/insurer"];
        assert_eq!(names(&read(1), "peer", "url"), urls);
    }

    #[test]
    fn other_numbers_of_gateways_and_gateways_without_their_ledger_are_refused() {
        assert!(check_count(2, App::Careledger).is_ok() && check_count(0, App::Kvstore).is_ok());
        for (count, app) in [(1, App::Careledger), (3, App::Careledger), (2, App::Kvstore)] {
            assert!(check_count(count, app).is_err(), "{count} {app:?}");
        }
    }
}
