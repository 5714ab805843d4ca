//! Where the story takes place: three organizations, a wallet, a ledger.

use std::path::{Path, PathBuf};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::http::Fhir;
use crate::failure::Failure;
use crate::gateways::{Endpoints, SEATS};
use crate::network::prepare;
use crate::places::{self, Places};
use crate::program::Program;

/// One organization, as its EHR and its neighbours see it.
#[derive(Debug)]
pub struct Organization {
    /// Path segment of its URLs.
    pub name: &'static str,
    /// What it does, as the ledger calls it.
    pub kind: &'static str,
    /// Its account.
    pub account: String,
    /// X25519 key to which others seal for it.
    pub encryption_key: String,
    /// Its FHIR endpoint, with a token.
    pub fhir: Fhir,
}

/// Which header the story's proofs are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The one that the gateway gives: an embedded ledger has nobody else.
    Node,
    /// The first one that a validator gives; from then on what validators sign.
    FirstUse,
}

/// Everything that the story needs.
#[derive(Debug)]
pub struct World {
    /// Where the programs are.
    pub places: Places,
    /// The folder of this network or demo; its `client` folder holds people's keys.
    pub home: PathBuf,
    /// JSON-RPC of the ledger.
    pub rpc: String,
    /// Id of the chain.
    pub chain_id: String,
    /// What its proofs rest on.
    pub trust: Trust,
    /// Hospital A, where the patient is known.
    pub general: Organization,
    /// Hospital B, whose doctor asks.
    pub lakeside: Organization,
    /// The insurer.
    pub insurer: Organization,
}

impl World {
    /// The world of a home whose gateways are there, with a fresh token for each organization.
    pub fn open(
        places: &Places,
        home: &Path,
        (rpc, trust): (String, Trust),
        chain_id: String,
        at: &Endpoints,
    ) -> Result<Self, Failure> {
        let [general, insurer, lakeside] = SEATS.each_ref().map(|seat| seat.organization(places, home, at));
        Ok(Self {
            places: places.clone(),
            home: home.to_path_buf(),
            rpc,
            chain_id,
            trust,
            general: general?,
            lakeside: lakeside?,
            insurer: insurer?,
        })
    }

    /// The story's own folder, for files that people pass to each other.
    pub fn folder(&self) -> PathBuf {
        self.home.join("story")
    }

    /// A file in the story's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a JSON file into the story's folder.
    pub fn write(&self, name: &str, value: &Value) -> Result<PathBuf, Failure> {
        places::make_folder(&self.folder())?;
        let file = self.file(name);
        places::write(&file, &value.to_string())?;
        Ok(file)
    }

    /// `careledgerd` with the wallet's keys, answering in JSON.
    pub fn careledgerd(&self, arguments: &[&str]) -> Program {
        let program = Program::new(self.places.built("careledgerd")).args(arguments).args(["--output", "json"]);
        let program = if arguments[0] == "keys" { program } else { program.args(["--node", &self.rpc]) };
        if arguments[0] == "query" {
            return program;
        }
        program
            .arg("--home")
            .arg(prepare::client_home(&self.home))
            .arg("--passphrase-file")
            .arg(prepare::passphrase_file(&self.home))
    }

    /// Sends a transaction and returns the ledger's answer.
    pub fn send(&self, arguments: &[&str]) -> Result<Value, Failure> {
        json(&self.careledgerd(&[&["tx"], arguments].concat()).capture()?)
    }

    /// Asks the ledger, with a proof; `None` where nothing is there.
    pub fn query(&self, arguments: &[&str]) -> Result<Option<Value>, Failure> {
        let trust = match self.trust {
            Trust::Node => "--trust-node",
            Trust::FirstUse => "--trust-on-first-use",
        };
        let program = self.careledgerd(&[&["query"], arguments, &["--prove", trust]].concat());
        let program = program.arg("--home").arg(prepare::client_home(&self.home));
        match program.capture() {
            Ok(answer) => json(&answer).map(Some),
            Err(Failure::Program { outcome, .. }) if outcome.contains("absence is proven") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The account of a key in the wallet; `organization` where it is the patient's at one.
    pub fn account(&self, key: &str, organization: Option<&Organization>) -> Result<String, Failure> {
        let derive = organization.map(|organization| ["--derive", organization.account.as_str()]);
        let arguments = [&["keys", "show", key][..], derive.as_ref().map_or(&[][..], |derive| &derive[..])].concat();
        let shown = json(&self.careledgerd(&arguments).capture()?)?;
        text(&shown, "address")
    }

    /// Makes a key in the wallet, unless it is there.
    pub fn make_key(&self, key: &str) -> Result<(), Failure> {
        match self.account(key, None) {
            Ok(_) => Ok(()),
            Err(_) => self.careledgerd(&["keys", "add", key]).capture().map(drop),
        }
    }

    /// `careledger-gateway`, for what a patient does with it: it needs no keys and talks to nobody.
    pub fn gateway(&self, arguments: &[&str]) -> Program {
        Program::new(self.places.built("careledger-gateway")).args(arguments)
    }

    /// `prove`, the patient's prover.
    pub fn prove(&self, arguments: &[&str]) -> Program {
        Program::new(self.places.built("prove")).args(arguments)
    }
}

/// What a program printed, as JSON.
pub fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Check(format!("a program printed no JSON: {error}: {text}")))
}

/// A text member of a JSON object.
pub fn text(value: &Value, name: &str) -> Result<String, Failure> {
    let found = value[name].as_str().map(str::to_owned);
    found.ok_or_else(|| Failure::Check(format!("an answer has no {name}: {value}")))
}

/// A file's name as an argument.
pub fn argument(file: &Path) -> String {
    file.display().to_string()
}

/// The clock of this machine, Unix seconds.
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// The date of a time, as FHIR writes it (UTC).
pub fn date(seconds: i64) -> String {
    instant(seconds)[..10].to_owned()
}

/// A time as a FHIR instant (UTC).
pub fn instant(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).expect("the story's times are near the present");
    time.format(&Rfc3339).expect("such a time has an RFC 3339 form")
}
