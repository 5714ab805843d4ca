//! The CareLedger ledger: who may see what, what exists, and who looked, agreed by consensus.
//!
//! Where to look, in the order of a transaction's life:
//!
//! - [`machine`]: the state machine that CometBFT and the embedded ledger both drive.
//! - [`actions`]: everything a transaction can do, one file each; the table is in `actions.rs`.
//! - [`reject`]: why a transaction is refused. [`limits`]: every bound.
//! - [`keys`]: the paths of the state and the type of value at each. [`state`]: reading and writing it.
//! - [`accounts`]: addresses, their numbers, roles and keys. [`signatures`]: whether one holds. [`proofs`]: eligibility proofs and their verdicts.
//! - [`store`]: committed state and its Merkle root.
//! - [`genesis`]: the first state. [`query`]: reading from outside.
//! - [`abci`]: the machine as CometBFT's application. [`client`]: asking a running ledger. [`wallet`]: keys that sign for it.
//! - [`fault`]: how a node stops.
//!
//! The core is a pure function of state and block: no clock, randomness, I/O or async.
//! `clippy.toml` and `tests/ledger/purity.rs` name what is banned, each with its reason.

pub mod abci;
#[deny(clippy::float_arithmetic)]
pub mod accounts;
#[deny(clippy::float_arithmetic)]
pub mod actions;
pub mod client;
pub mod fault;
#[deny(clippy::float_arithmetic)]
pub mod genesis;
pub mod keys;
pub mod limits;
#[deny(clippy::float_arithmetic)]
pub mod machine;
#[deny(clippy::float_arithmetic)]
pub mod proofs;
#[deny(clippy::float_arithmetic)]
pub mod query;
#[deny(clippy::float_arithmetic)]
pub mod reject;
#[deny(clippy::float_arithmetic)]
pub mod signatures;
#[deny(clippy::float_arithmetic)]
pub mod state;
pub mod store;
#[deny(clippy::float_arithmetic)]
pub mod types;
pub mod wallet;
