//! The two gateways of a home: one serves hospital A and the insurer, the other hospital B.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use ureq::Agent;

use crate::failure::{Doing, Failure};
use crate::home;
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

/// Where a gateway is, for each who wants to reach it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What it listens on.
    pub listen: String,
    /// How clients reach it. Tokens are issued for this address.
    pub url: String,
    /// How the other gateway reaches it.
    pub peer_url: String,
}

/// Both gateways.
pub type Endpoints = [Endpoint; GATEWAYS];

impl Endpoint {
    /// On a port of this machine's loopback.
    pub fn loopback(port: u16) -> Self {
        let address = format!("127.0.0.1:{port}");
        let url = format!("http://{address}");
        Self { listen: address, url: url.clone(), peer_url: url }
    }
}

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
        folder(home, self.gateway).join(self.name)
    }

    /// Its FHIR endpoint, without a slash at the end.
    pub fn base_url(&self, at: &Endpoints) -> String {
        format!("{}/fhir", self.url(at))
    }

    fn url(&self, at: &Endpoints) -> String {
        format!("{}/{}", at[self.gateway].url, self.name)
    }

    /// The private key of its client.
    pub fn client_key(&self, home: &Path) -> PathBuf {
        self.folder(home).join(format!("{CLIENT}.pem"))
    }

    /// Its account and encryption key.
    fn public(&self, home: &Path) -> Result<Value, Failure> {
        let file = public_file(home, self.gateway);
        let all: Value = serde_json::from_str(&places::read(&file)?)
            .map_err(|error| Failure::Check(format!("{}: {error}", file.display())))?;
        Ok(all[self.name].clone())
    }

    fn account(&self, home: &Path) -> Result<String, Failure> {
        text(&self.public(home)?, "address")
    }

    /// A token for its client, through the real exchange.
    pub fn token(&self, places: &Places, home: &Path, at: &Endpoints) -> Result<String, Failure> {
        let token = gateway(places)
            .args(["token", "--client", CLIENT, "--url", &self.url(at), "--key"])
            .arg(self.client_key(home))
            .capture()?;
        Ok(token.trim().to_owned())
    }

    /// The organization as the story meets it, with a fresh token.
    pub fn organization(&'static self, places: &Places, home: &Path, at: &Endpoints) -> Result<Organization, Failure> {
        let public = self.public(home)?;
        Ok(Organization {
            name: self.name,
            kind: self.kind,
            account: text(&public, "address")?,
            encryption_key: text(&public, "encryption_key")?,
            fhir: crate::story::http::Fhir::new(self.base_url(at), self.token(places, home, at)?),
        })
    }
}

fn gateway(places: &Places) -> Program {
    Program::new(places.built("careledger-gateway"))
}

fn folder(home: &Path, index: usize) -> PathBuf {
    home.join("gateways").join(name(index))
}

fn name(index: usize) -> String {
    format!("g{index}")
}

fn configuration_file(home: &Path, index: usize) -> PathBuf {
    folder(home, index).join("gateway.toml")
}

fn public_file(home: &Path, index: usize) -> PathBuf {
    folder(home, index).join("public.json")
}

/// Makes the keys of the organizations and of their clients, where they are not there yet.
pub fn create(places: &Places, home: &Path) -> Result<(), Failure> {
    for index in 0..GATEWAYS {
        let folder = folder(home, index);
        let finished = public_file(home, index);
        if finished.exists() {
            continue;
        }
        if folder.exists() {
            // Whatever is there was not made to its end.
            fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
        }
        let organizations = SEATS.iter().filter(|seat| seat.gateway == index);
        let printed = gateway(places)
            // `configure` writes the configuration anew, with this home's own addresses.
            .args(["init", "--comet", "http://127.0.0.1:26657", "--folder"])
            .arg(&folder)
            .args(organizations.map(|seat| format!("--organization={}={}", seat.name, seat.kind)))
            .capture()?;
        let public = public_keys(&printed);
        // Last: it is what says that all of this was finished.
        places::write(&finished, &Value::from(public).to_string())?;
    }
    Ok(())
}

/// Accounts and encryption keys, by organization, from what `init` prints:
/// `  general: address care1…, encryption key 5f…`.
fn public_keys(printed: &str) -> Map<String, Value> {
    let parsed = printed.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(": address ")?;
        let (address, key) = rest.split_once(", encryption key ")?;
        Some((name.to_owned(), json!({"address": address, "encryption_key": key})))
    });
    parsed.collect()
}

/// Writes both configurations; to be repeated when the ports change.
pub fn configure(home: &Path, at: &Endpoints, ledgers: &[Ledger; GATEWAYS], token_seconds: u32) -> Result<(), Failure> {
    for (index, ledger) in ledgers.iter().enumerate() {
        let text = configuration(home, index, at, ledger, token_seconds)?;
        places::write(&configuration_file(home, index), &text)?;
    }
    Ok(())
}

fn configuration(
    home: &Path,
    index: usize,
    at: &Endpoints,
    ledger: &Ledger,
    token_seconds: u32,
) -> Result<String, Failure> {
    let (kind, table) = match ledger {
        Ledger::Embedded { rpc_port, chain_id, genesis } => (
            "embedded",
            format!(
                "[embedded]\npath = \"ledger\"\nrpc_listen = \"127.0.0.1:{rpc_port}\"\n\
                 chain_id = {}\ngenesis = {}\n",
                quoted(chain_id),
                quoted(&genesis.display().to_string()),
            ),
        ),
        Ledger::Comet { rpc } => ("comet", format!("[comet]\nrpc = {}\n", quoted(rpc))),
    };
    let Endpoint { listen, url, .. } = &at[index];
    // Other machines do not reach a container: its port is published on loopback.
    let closed = if listen.starts_with("127.0.0.1:") { "" } else { "proxy_terminates_tls = true\n" };
    let mut text = format!(
        "# Written by careledger-localnet, again at each start. fhir-gateway/example.toml explains every key.\n\
         ledger = \"{kind}\"\n\n\
         [server]\nlisten = \"{listen}\"\nbase_url = \"{url}\"\n\
         body_bytes_max = 33554432\nworkers = 2\n{closed}\n\
         [auth]\ntoken_seconds = {token_seconds}\nrequests_per_second = 500\nrequest_burst = 2000\n\
         token_requests_per_second = 20\n\n\
         [audit]\nbatch_leaves = 4000\nbatch_seconds = 60\n\n{table}",
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
            let (account, peer) = (seat.account(home)?, &at[seat.gateway].peer_url);
            write!(text, "\n[[peer]]\norganization = \"{account}\"\nurl = \"{peer}/{}\"\n", seat.name)
        }
        .expect("a String takes any text");
    }
    Ok(text)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The processes. One that has its ledger elsewhere ends when that does not answer, so it waits.
pub fn processes(places: &Places, home: &Path, ledgers: &[Ledger; GATEWAYS]) -> [Process; GATEWAYS] {
    std::array::from_fn(|index| Process {
        name: name(index),
        group: name(index),
        stage: Stage::Gateway,
        program: places.built("careledger-gateway"),
        arguments: vec!["start".into(), "--config".into(), configuration_file(home, index).display().to_string()],
        socket: None,
        waits_for: match &ledgers[index] {
            Ledger::Embedded { .. } => None,
            Ledger::Comet { rpc } => Some(rpc.clone()),
        },
    })
}

/// Waits until every organization's endpoint answers.
pub fn wait_until_ready(home: &Path, at: &Endpoints) -> Result<(), Failure> {
    for seat in &SEATS {
        let url = seat.base_url(at);
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
pub fn environment(home: &Path, at: &Endpoints) -> String {
    let mut lines = String::new();
    for seat in &SEATS {
        let name = seat.name.to_uppercase();
        // The account of a home that is being made is told by the next `save`.
        let account = seat.account(home).unwrap_or_default();
        write!(
            lines,
            "{name}_BASE_URL='{}'\n{name}_ACCOUNT='{account}'\n{name}_CLIENT_ID='{CLIENT}'\n{name}_CLIENT_KEY='{}'\n",
            seat.base_url(at),
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
        for (index, printed) in [
            "Wrote x.\n  general: address care1general, encryption key 01\n  general: client ehr, key k\n  \
             insurer: address care1insurer, encryption key 02",
            "  lakeside: address care1lakeside, encryption key 03",
        ]
        .into_iter()
        .enumerate()
        {
            places::make_folder(&folder(home.path(), index)).unwrap();
            let public = Value::from(public_keys(printed)).to_string();
            places::write(&public_file(home.path(), index), &public).unwrap();
        }
        assert_eq!(SEATS[1].public(home.path()).unwrap()["encryption_key"], "02");
        let ledger = Ledger::Comet { rpc: "http://127.0.0.1:1".into() };
        let read = |index| -> toml::Table {
            configuration(home.path(), index, &[8_100, 8_101].map(Endpoint::loopback), &ledger, 300)
                .unwrap()
                .parse()
                .unwrap()
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
