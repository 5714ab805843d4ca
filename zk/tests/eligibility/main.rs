//! Eligibility from rule to proof: one program, because linking is slow.

mod circuit;
mod commands;
mod proofs;
mod scenario;
