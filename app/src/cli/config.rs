//! The daemon's configuration: `config/app.toml` in the home folder, as `example.toml`.

use std::{fs, path::Path};

use careledger_app::{
    abci::server::Address, limits::RESULTS_RETAINED_BLOCKS, snapshot::JOIN_BYTES_MAX, store::disk::Retention,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Failure, Result};

/// The file's text where `init` makes it; also the documentation of every key.
pub const EXAMPLE: &str = include_str!("../../example.toml");

/// Every setting of a node. A key that is not known is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where CometBFT finds the application.
    #[serde(serialize_with = "write_address", deserialize_with = "read_address")]
    pub abci: Address,
    /// What is kept.
    pub retention: RetentionConfig,
    /// Which snapshots are taken for nodes that join, and what this node takes when it joins.
    pub snapshots: SnapshotConfig,
    /// What is logged: a `tracing` filter.
    pub log: String,
}

/// How long what is no longer newest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Heights whose state can be proven.
    pub heights: u64,
    /// Changes of state that all but the two newest of these heights have together.
    pub changes: usize,
    /// Blocks whose transactions' outcomes can be asked for.
    pub results_blocks: u64,
    /// Blocks that CometBFT keeps; 0 for all.
    pub blocks: u64,
}

/// Which snapshots are taken for nodes that join, and what this node takes when it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotConfig {
    /// Every so many heights; 0 for never.
    pub interval: u64,
    /// Newest ones that stay.
    pub keep: usize,
    /// Most bytes of state that this node joins.
    pub join_bytes_max: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self { interval: 1_000, keep: 2, join_bytes_max: JOIN_BYTES_MAX }
    }
}

impl Default for Config {
    fn default() -> Self {
        let abci = "tcp://127.0.0.1:26658".parse().expect("the default is an address");
        Self {
            abci,
            retention: RetentionConfig::default(),
            snapshots: SnapshotConfig::default(),
            log: "info".to_owned(),
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let Retention { heights, changes, .. } = Retention::default();
        Self { heights, changes, results_blocks: RESULTS_RETAINED_BLOCKS, blocks: 0 }
    }
}

impl Config {
    /// Reads the configuration of a home folder.
    pub fn read(home: &Path) -> Result<Self> {
        let path = home.join("config").join("app.toml");
        let text = fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            Failure::new(format!("{path}: {error}")).next("careledgerd init makes it; --home names the folder")
        })?;
        toml::from_str(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }
}

fn read_address<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Address, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn write_address<S: Serializer>(address: &Address, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_names_every_key_with_its_default() {
        assert_eq!(toml::from_str::<Config>(EXAMPLE).unwrap(), Config::default());
        let written: toml::Table = toml::from_str(EXAMPLE).unwrap();
        let every: toml::Table = toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
        assert_eq!(written, every);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        for text in ["abcі = 1", "[retention]\nheight = 5", "abci = \"http://127.0.0.1\""] {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
    }
}
