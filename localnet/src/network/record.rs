//! What is written down about a network, so that later commands and outside tools find it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gateways::{self, Endpoint, Endpoints, GATEWAYS};
use crate::manifest::Manifest;
use crate::places;
use crate::supervisor::control::socket_folder;

/// The application that the validators run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum App {
    /// CareLedger: `careledgerd` behind a Unix socket.
    Careledger,
    /// CometBFT's built-in key-value store, to compare with.
    Kvstore,
    /// The same store in a process of its own: what the way to the application costs.
    SocketKvstore,
}

impl App {
    /// What to call it in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Careledger => "CareLedger",
            Self::Kvstore => "key-value store built into CometBFT",
            Self::SocketKvstore => "key-value store behind a socket",
        }
    }
}

/// The node program that the validators run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Ours: CometBFT with an ABCI client that flushes sensibly.
    Careledger,
    /// The stock `cometbft`.
    Stock,
}

/// Where the validators find each other and their applications.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// All on this machine's loopback, on ports of their own.
    Loopback,
    /// Each in a container of its own, named `node0`, `node1`, …, with its folder at `/validator`.
    Containers,
}

/// The port for validators inside a container.
const CONTAINER_P2P_PORT: u16 = 26656;
/// The RPC port inside a container.
const CONTAINER_RPC_PORT: u16 = 26657;
/// The HTTP port of a gateway inside a container.
const CONTAINER_GATEWAY_PORT: u16 = 8080;
/// The ports on the host's loopback under which compose.yaml publishes the gateways.
pub const PUBLISHED_GATEWAY_PORTS: [u16; GATEWAYS] = [8080, 8081];

/// A network as it was set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its application.
    pub app: App,
    /// Its node program.
    pub node: NodeKind,
    /// Where its parts find each other.
    pub layout: Layout,
    /// How many gateways it has: none, or those of the story's organizations.
    pub gateways: usize,
    /// The first of its ports.
    pub first_port: u16,
}

impl Record {
    /// The record of a home, if a network was set up there.
    pub fn load(home: &Path) -> Result<Option<Self>, Failure> {
        let file = Self::file(home);
        if !file.exists() {
            return Ok(None);
        }
        serde_json::from_str(&places::read(&file)?)
            .map(Some)
            .map_err(|error| Failure::Check(format!("{}: {error}", file.display())))
    }

    /// Writes the record and `localnet.env` into a home.
    pub fn save(&self, home: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::Check(error.to_string()))?;
        places::write(&Self::file(home), &text)?;
        places::write(&home.join("localnet.env"), &self.environment(home))
    }

    fn file(home: &Path) -> PathBuf {
        home.join("network.json")
    }

    /// How many ports the network uses.
    pub fn ports(manifest: &Manifest, gateways: usize) -> u16 {
        let joining = 2;
        u16::try_from(manifest.validators * 2 + gateways + joining).expect("the manifest bounds both to 40 in all")
    }

    /// Where validator `index` waits for the others.
    pub fn p2p_listen(&self, index: usize) -> String {
        match self.layout {
            Layout::Loopback => format!("tcp://127.0.0.1:{}", self.port(index * 2)),
            Layout::Containers => format!("tcp://0.0.0.0:{CONTAINER_P2P_PORT}"),
        }
    }

    /// Where the others find validator `index`.
    pub fn p2p_address(&self, index: usize) -> String {
        match self.layout {
            Layout::Loopback => format!("127.0.0.1:{}", self.port(index * 2)),
            Layout::Containers => format!("node{index}:{CONTAINER_P2P_PORT}"),
        }
    }

    /// Where the RPC of validator `index` listens.
    pub fn rpc_listen(&self, index: usize) -> String {
        match self.layout {
            Layout::Loopback => format!("tcp://127.0.0.1:{}", self.rpc_port(index)),
            Layout::Containers => format!("tcp://0.0.0.0:{CONTAINER_RPC_PORT}"),
        }
    }

    /// Where the node of validator `index` finds its application.
    pub fn abci_address(&self, home: &Path, index: usize) -> Result<String, Failure> {
        Ok(match (self.app, self.layout) {
            (App::Kvstore, _) => "kvstore".into(),
            (_, Layout::Loopback) => format!("unix://{}", self.abci_socket(home, index)?.display()),
            (_, Layout::Containers) => "unix:///validator/abci.sock".into(),
        })
    }

    /// The socket of the application of validator `index` on loopback.
    pub fn abci_socket(&self, home: &Path, index: usize) -> Result<PathBuf, Failure> {
        Ok(socket_folder(home)?.join(group(index)).with_extension("sock"))
    }

    fn rpc_port(&self, index: usize) -> u16 {
        self.port(index * 2 + 1)
    }

    /// Where a node that joins waits for the others.
    pub fn joining_p2p_listen(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.joining_port())
    }

    /// Where its RPC listens.
    pub fn joining_rpc_listen(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.joining_port() + 1)
    }

    /// The RPC address of a node that joins.
    pub fn joining_rpc_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.joining_port() + 1)
    }

    /// After those of validators and gateways.
    fn joining_port(&self) -> u16 {
        self.port(self.manifest.validators * 2 + self.gateways)
    }

    /// The HTTP port of gateway `index`.
    pub fn gateway_port(&self, index: usize) -> u16 {
        self.port(self.manifest.validators * 2 + index)
    }

    /// Where the gateways that serve the story's organizations are.
    pub fn endpoints(&self) -> Endpoints {
        std::array::from_fn(|index| match self.layout {
            Layout::Loopback => Endpoint::loopback(self.gateway_port(index)),
            Layout::Containers => Endpoint {
                listen: format!("0.0.0.0:{CONTAINER_GATEWAY_PORT}"),
                url: format!("http://127.0.0.1:{}", PUBLISHED_GATEWAY_PORTS[index]),
                peer_url: format!("http://gateway{index}:{CONTAINER_GATEWAY_PORT}"),
            },
        })
    }

    /// Where a gateway finds the RPC of validator `index`.
    pub fn node_address(&self, index: usize) -> String {
        match self.layout {
            Layout::Loopback => self.rpc_address(index),
            Layout::Containers => format!("http://node{index}:{CONTAINER_RPC_PORT}"),
        }
    }

    fn port(&self, offset: usize) -> u16 {
        self.first_port + u16::try_from(offset).expect("the manifest bounds it to 40")
    }

    /// The RPC address of validator `index`.
    pub fn rpc_address(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port(index))
    }

    /// The base URL of gateway `index`.
    pub fn gateway_address(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.gateway_port(index))
    }

    /// `localnet.env`: what an outside tool needs, for `source` in a shell.
    fn environment(&self, home: &Path) -> String {
        let mut text = format!(
            "CARELEDGER_HOME='{}'\nCARELEDGER_CHAIN_ID='{}'\nCARELEDGER_RPC='{}'\n",
            home.display(),
            self.manifest.chain_id,
            self.rpc_address(0)
        );
        for index in 0..self.manifest.validators {
            writeln!(text, "CARELEDGER_RPC_{index}='{}'", self.rpc_address(index)).expect("a String takes any text");
        }
        for index in 0..self.gateways {
            writeln!(text, "CARELEDGER_GATEWAY_{index}='{}'", self.gateway_address(index))
                .expect("a String takes any text");
        }
        if self.gateways > 0 {
            text.push_str(&gateways::environment(home, &self.endpoints()));
        }
        text
    }
}

/// The folder of validator `index`.
pub fn validator_home(home: &Path, index: usize) -> PathBuf {
    home.join(group(index))
}

/// The name of validator `index`: its folder, its logs and its group under the supervisor.
pub fn group(index: usize) -> String {
    format!("v{index}")
}
