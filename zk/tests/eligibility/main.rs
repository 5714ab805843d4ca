//! Eligibility from rule to proof: one program, because linking is slow.

mod circuit;
mod commands;
#[path = "../../../tests/support/node_project.rs"]
mod node_project;
mod page;
mod proofs;
mod scenario;
