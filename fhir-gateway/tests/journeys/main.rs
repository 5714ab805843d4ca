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
#[path = "../../../tests/support/node_project.rs"]
mod node_project;
mod restarted;
mod site;
mod unknown;
