//! Eligibility from rule to proof: one program, because linking is slow.

mod circuit;
mod commands;
mod page;
mod proofs;
mod scenario;
