//! The CareLedger gateway: FHIR R4 over HTTP in front of a ledger that never sees a record.
//!
//! A tour, in the order in which a request travels:
//! - [`server`]: routes, limits, authentication, request ids; then one file per FHIR interaction
//!   in [`interactions`].
//! - [`json`]: bodies as a lossless tree over the bytes that were sent, made from XML by [`xml`] where they
//!   were sent so ([`format`] says what an answer is sent as); [`validate`]: what is
//!   refused before anything is stored; [`resources`]: the table of resource types.
//! - [`patch`]: what a client wants changed in a resource, applied to its bytes.
//! - [`hooks`]: what a resource does to the ledger besides being anchored; [`mapping`] and the
//!   files it names turn FHIR into ledger messages.
//! - [`records`]: seal, store, anchor, index, answer; [`envelope`], [`vault`] and [`keys`] below it.
//! - [`index`] and [`search`]: the derived search index, in an encrypted file or in [`postgres`].
//! - [`export`]: bulk exports, made in the background and decided once more when they are fetched.
//! - [`subscriptions`]: who is told of what was written, decided once more when it is sent.
//! - [`ledger`]: the chain, in this process or behind CometBFT.
//! - [`decide`], [`release`], [`remote`]: reads across organizations.
//! - [`operations`]: health, readiness and metrics, for the operator; [`work`]: what was looked up; [`in_work`]: how
//!   much of it at once.
//! - [`outcome`]: the one place where a refusal becomes HTTP.
//!
//! Absent on purpose: nothing here re-serialises an accepted resource from a typed model, and no
//! message or log line carries the content of a resource.

pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod damage;
pub mod decide;
pub mod envelope;
pub mod export;
pub mod format;
pub mod hooks;
pub mod http_client;
pub mod in_work;
pub mod index;
pub mod interactions;
pub mod json;
pub mod keys;
pub mod ledger;
pub mod mapping;
pub mod naming;
pub mod operations;
pub mod organization;
pub mod outcome;
pub mod patch;
pub mod postgres;
pub mod records;
pub mod release;
pub mod remote;
pub mod resources;
pub mod search;
pub mod server;
pub mod subscriptions;
pub mod validate;
pub mod value_sets;
pub mod vault;
pub mod work;
pub mod xml;
