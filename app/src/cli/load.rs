//! `load`: a bounded load of transactions, and what the network made of it.
//!
//! Everything is signed before the clock starts, so that what is measured is the network. Plain
//! HTTP from threads, as any client would; the mempool is asked how full it is, and the load
//! pauses where it is, because a full mempool measures nothing but refusals.

mod measure;
mod prepare;
mod rpc;

use std::{iter, time::Duration};

use careledger_app::wallet::Role;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    Failure, Home, Node, Result,
    keys::{self, Passphrase},
};

/// Send a bounded load of signed transactions and print what the network made of it.
///
/// Registers organizations with the registrar's key, has subjects opened and claimed, signs consents
/// of them or anchors of batches, then sends for a time. Prints one JSON line: committed transactions per
/// second and the records in them, mean block interval and the longest, the time from sending to being in
/// a block (half and 99 of 100 are faster), and the most transactions that waited in a mempool.
/// For networks made to be measured: what it writes stays on the ledger.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd load --from registrar --node http://127.0.0.1:26657 --seconds 20
  careledgerd load --send pairs --node http://127.0.0.1:26657")]
pub struct Load {
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Name of the registrar's key; one registrar must be enough to register. Not needed for pairs.
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// How long to send.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// More nodes of the network, over which the connections are spread.
    #[arg(long = "also-node", value_name = "URL")]
    also_nodes: Vec<String>,
    /// Connections that send at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// What is sent.
    #[arg(long, value_enum, default_value = "consents")]
    send: Kind,
    /// Subjects whose consents are sent.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    subjects: u32,
    /// Transactions that are signed beforehand; sending stops when they are used up.
    #[arg(long, value_name = "N")]
    transactions: Option<u32>,
    /// Transactions that may wait in a node's mempool before the load on it pauses.
    #[arg(long, default_value_t = 2_000)]
    mempool: u64,
}

/// What a load is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A patient's consent in each transaction.
    Consents,
    /// The root over a batch of 10,000 records in each transaction.
    Batches,
    /// A pair of CometBFT's own key-value store, as large as a signed consent: what consensus gives where
    /// an application costs next to nothing.
    Pairs,
}

/// Transactions signed for each second of sending, where nothing else is said.
const SIGNED_PER_SECOND: u32 = 3_000;

impl Load {
    pub fn run(self) -> Result<()> {
        let seconds = u32::try_from(self.seconds).map_err(Failure::new)?;
        let count = self.transactions.unwrap_or(seconds * SIGNED_PER_SECOND);
        let transactions = self.transactions(count)?;
        let records = if self.send == Kind::Batches { prepare::BATCH_RECORDS } else { 0 };
        eprintln!("sending for at most {seconds} s over {} connections", self.connections);
        let plan = measure::Plan {
            urls: iter::once(self.node.node.clone()).chain(self.also_nodes).collect(),
            connections: self.connections,
            duration: Duration::from_secs(self.seconds),
            mempool_max: self.mempool,
            question: if self.send == Kind::Pairs { rpc::value_of_pair } else { rpc::result_of_transaction },
        };
        let measured = measure::run(&plan, &transactions).map_err(Failure::new)?;
        println!(
            "{}",
            json!({
                "committed_tx_per_s": measured.committed_per_second(),
                "records_per_s": measured.committed_per_second() * f64::from(records),
                "block_interval_ms": measured.block_interval_ms(),
                "block_interval_max_ms": measured.longest_interval_ms(),
                "commit_p50_ms": measured.latency_ms(50),
                "commit_p99_ms": measured.latency_ms(99),
                "waiting_max": measured.waiting_max,
                "transactions": measured.committed,
                "sent": measured.sent,
                "refused": measured.refused,
                "blocks": measured.blocks,
            })
        );
        Ok(())
    }

    /// What will be sent, ready before the clock starts.
    fn transactions(&self, count: u32) -> Result<Vec<Vec<u8>>> {
        if self.send == Kind::Pairs {
            return Ok(prepare::pairs(count));
        }
        let from = self.from.as_ref().ok_or_else(|| {
            Failure::new("who registers the organizations is missing").next("name the registrar's key: --from NAME")
        })?;
        let registrar = keys::keystore(&self.home).open(from, &self.passphrase.read()?)?.signer(Role::Account);
        let url = &self.node.node;
        if self.send == Kind::Batches {
            eprintln!("registering {} organizations", prepare::CUSTODIANS);
            let custodians = super::block_on(prepare::custodians(url, &registrar))?;
            eprintln!("signing {count} anchors of batches");
            return Ok(prepare::batches(&custodians, count));
        }
        eprintln!("registering an organization and {} subjects", self.subjects);
        let claimants = super::block_on(prepare::claimants(url, &registrar, self.subjects))?;
        eprintln!("signing {count} consents");
        Ok(prepare::consents(&claimants, count))
    }
}
