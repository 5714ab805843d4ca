//! The CareLedger wire format: what crosses between wallets, gateways and validators.
//!
//! - [`proto`]: the generated messages; `proto/` is their source.
//! - [`ids`]: fixed-size identifiers, each a type of its own.
//! - [`message`]: the closed set of messages that a transaction may carry.
//! - [`signing`]: keys and signatures, of secp256k1 and of passkeys.
//! - [`transaction`]: Cosmos `TxRaw` in `SIGN_MODE_DIRECT`: strict decoding, sign bytes, building.
//! - [`commitment`]: the salted commitments that stand on chain for what stays off it.
//! - [`terms`]: what a grant opens, in the one spelling that is committed to.
//! - [`decision`]: who may see what: one pure function for the ledger and every gateway.
//! - [`access_log`]: the Merkle tree over access-log leaves.
//!
//! Absent on purpose: no message has a free-text field, so no personal data can reach the chain.

pub mod access_log;
pub mod commitment;
pub mod decision;
pub mod ids;
pub mod message;
pub mod proto;
pub mod signing;
pub mod terms;
pub mod transaction;
