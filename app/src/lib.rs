//! The CareLedger ledger: who may see what, what exists, and who looked, agreed by consensus.
//!
//! Where to look, in the order of a transaction's life:
//!
//! - [`machine`]: the state machine that CometBFT and the embedded ledger both drive.
//! - [`actions`]: everything a transaction can do, one file each; the table is in `actions.rs`.
//! - [`reject`]: why a transaction is refused. [`limits`]: every bound.
//! - [`keys`]: the paths of the state and the type of value at each. [`state`]: reading and writing it.
//! - [`access_log_tree`]: the Merkle log of each organization's access log.
//! - [`accounts`]: addresses, their numbers, roles and keys. [`signatures`]: whether one holds. [`proofs`]: eligibility
//!   proofs and their verdicts. [`insurance`]: plans and proofs as messages.
//! - [`subject_counts`]: how many grants and emergencies each subject has.
//! - [`store`]: committed state and its Merkle root.
//! - [`governance`]: what registrars decide together. [`evidence`]: what validators did wrong. [`upgrade`]: changes of the
//!   state's format.
//! - [`genesis`]: the first state. [`query`]: reading from outside.
//! - [`events`]: what indexers learn.
//! - [`abci`]: the machine as CometBFT's application. [`client`]: asking a running ledger. [`wallet`]: keys that sign for it.
//! - [`light`]: which headers the validators signed, from one that somebody trusts.
//! - [`audit`]: an access log against what the ledger proves.
//! - [`fault`]: how a node stops.
//!
//! The core is a pure function of state and block: no clock, randomness, I/O or async.
//! `clippy.toml` and `tests/ledger/purity.rs` name what is banned, each with its reason.

pub mod abci;
#[deny(clippy::float_arithmetic)]
pub mod access_log_tree;
#[deny(clippy::float_arithmetic)]
pub mod accounts;
#[deny(clippy::float_arithmetic)]
pub mod actions;
pub mod audit;
pub mod client;
#[deny(clippy::float_arithmetic)]
pub mod events;
#[deny(clippy::float_arithmetic)]
pub mod evidence;
pub mod fault;
#[deny(clippy::float_arithmetic)]
pub mod genesis;
#[deny(clippy::float_arithmetic)]
pub mod governance;
#[deny(clippy::float_arithmetic)]
pub mod insurance;
pub mod keys;
pub mod light;
pub mod limits;
#[deny(clippy::float_arithmetic)]
pub mod machine;
#[deny(clippy::float_arithmetic)]
mod openers;
#[deny(clippy::float_arithmetic)]
pub mod proofs;
#[deny(clippy::float_arithmetic)]
pub mod query;
#[deny(clippy::float_arithmetic)]
pub mod reject;
mod remembered;
#[deny(clippy::float_arithmetic)]
pub mod signatures;
pub mod sim;
#[deny(clippy::float_arithmetic)]
pub mod snapshot;
#[deny(clippy::float_arithmetic)]
pub mod state;
pub mod store;
#[deny(clippy::float_arithmetic)]
pub mod subject_counts;
#[deny(clippy::float_arithmetic)]
pub mod types;
#[deny(clippy::float_arithmetic)]
pub mod upgrade;
pub mod wallet;
