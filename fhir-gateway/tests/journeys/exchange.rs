//! Journey 1 of the product through two gateways: one with the embedded ledger, the other reaching
//! it through its RPC.

mod closed;
mod exports;
mod gateways;
mod grounds;
mod names;
mod reading;
mod scopes;
mod signed;
pub(super) mod world;
