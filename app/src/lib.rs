//! The CareLedger ledger: who may see what, what exists, and who looked, agreed by consensus.
//!
//! Where to look, in the order of a transaction's life:
//!
//! - [`reject`]: why a transaction is refused. [`limits`]: every bound.
//! - [`keys`]: the paths of the state and the type of value at each. [`state`]: reading and writing it.
//! - [`store`]: committed state and its Merkle root.
//!
//! The core is a pure function of state and block: no clock, randomness, I/O or async.
//! `clippy.toml` beside this crate names what is banned, each with its reason.

pub mod keys;
pub mod limits;
pub mod reject;
pub mod state;
pub mod store;
