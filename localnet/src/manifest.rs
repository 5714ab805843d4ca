//! What a network consists of: `localnet/networks/*.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gateways::GATEWAYS;
use crate::places;
use crate::ports::RANGE_PORTS_MAX;

/// Largest network that this machine is asked to hold.
const VALIDATORS_MAX: usize = 16;
/// Most gateways of one network: they serve the organizations of the story.
const GATEWAYS_MAX: usize = GATEWAYS;
/// Most registrars of one network.
const REGISTRARS_MAX: usize = 9;

const _: () =
    assert!(VALIDATORS_MAX * 2 + GATEWAYS_MAX <= RANGE_PORTS_MAX as usize, "a network's ports must fit a range");

/// A network's manifest. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The chain's name; part of everything that is signed.
    pub chain_id: String,
    /// How many validators.
    pub validators: usize,
    /// How many gateways.
    pub gateways: usize,
    /// The first port to try.
    pub base_port: u16,
    /// Validators that index transactions.
    pub indexed_validators: Vec<usize>,
    /// How many accounts may accredit organizations.
    pub registrars: usize,
    /// How many of them must agree.
    pub registrar_threshold: usize,
    /// Heights between two snapshots for nodes that join; 0 takes none.
    pub snapshot_interval: u32,
    /// CometBFT settings, `section.key`.
    pub settings: BTreeMap<String, toml::Value>,
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        Self::parse(&places::read(file)?).map_err(|failure| Failure::Needs(format!("{}: {failure}", file.display())))
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let manifest: Self = toml::from_str(text).map_err(|error| Failure::Needs(error.to_string()))?;
        manifest.validate()?;
        Ok(manifest)
    }

    fn validate(&self) -> Result<(), Failure> {
        let refuse = |why: &str| Err(Failure::Needs(why.into()));
        if !(1..=VALIDATORS_MAX).contains(&self.validators) {
            return refuse("validators must be 1 to 16");
        }
        if ![0, GATEWAYS].contains(&self.gateways) {
            return refuse("gateways must be 0 or 2");
        }
        if self.chain_id.is_empty() || self.chain_id.len() > 50 {
            return refuse("chain_id must have 1 to 50 characters");
        }
        if self.indexed_validators.iter().any(|index| *index >= self.validators) {
            return refuse("indexed_validators names a validator that does not exist");
        }
        if !(1..=self.registrars).contains(&self.registrar_threshold) || self.registrars > REGISTRARS_MAX {
            return refuse("registrar_threshold must be 1 to registrars, and registrars at most 9");
        }
        if let Some(owned) = self.settings.keys().find(|key| crate::network::settings::is_filled_in(key)) {
            return Err(Failure::Needs(format!("settings: {owned} is filled in and cannot be set")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = r#"
        chain_id = "test-1"
        validators = 4
        gateways = 2
        base_port = 26600
        indexed_validators = [0]
        registrars = 3
        registrar_threshold = 2
        snapshot_interval = 10
        [settings]
        "p2p.pex" = false
    "#;

    #[test]
    fn the_manifests_in_the_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("networks");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            Manifest::load(&entry.unwrap().path()).unwrap();
            seen += 1;
        }
        assert!(seen >= 2, "only {seen} manifests were found");
    }

    #[test]
    fn a_manifest_that_makes_no_sense_is_refused_with_the_reason() {
        assert!(Manifest::parse(VALID).is_ok());
        for (from, to, reason) in [
            ("validators = 4", "validators = 0", "validators must be"),
            ("validators = 4", "validators = 17", "validators must be"),
            ("gateways = 2", "gateways = 9", "gateways must be"),
            ("\"test-1\"", "\"\"", "chain_id must have"),
            ("[0]", "[4]", "does not exist"),
            ("threshold = 2", "threshold = 0", "registrar_threshold must be"),
            ("threshold = 2", "threshold = 4", "registrar_threshold must be"),
            ("base_port", "first_port", "unknown field"),
            ("p2p.pex\" = false", "p2p.laddr\" = \"tcp://0.0.0.0:1\"", "is filled in"),
        ] {
            let refused = Manifest::parse(&VALID.replace(from, to)).unwrap_err().to_string();
            assert!(refused.contains(reason), "{to}: {refused}");
        }
    }
}
