//! The gateway among others: its ledger, the exchange between two gateways, and insurance.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop there")]

#[path = "../support/answers.rs"]
mod answers;
mod chain;
mod damage;
mod exchange;
mod export;
mod insurance;
mod ledger;
mod limits;
mod site;
mod unknown;
