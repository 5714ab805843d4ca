//! Eligibility in zero knowledge: a member shows an insurer that a plan covers
//! them and commits to what is payable at most, without a diagnosis, a
//! provider, or an identity leaving their device.
//!
//! Where to look:
//!
//! | question | module |
//! |---|---|
//! | what is a field element on a wire? | [`field`] |
//! | which hash, which domain tags? | [`poseidon`] |
//! | where do attestations and enrolments live? | [`tree`] |
//! | what does a plan promise, and what is its commitment? | [`plan`] |
//! | how does a clinical code become a number? | [`code`] |
//! | what is a proof bound to? | [`binding`] |
//! | what is public? | [`statement`] |
//! | how is a key read, named and refused? | [`key`] |
//! | how is a proof checked? | [`verify`] |
//! | how does a tool none of us wrote check it? | [`snarkjs`] |
//! | what passes between people? | [`opening`], [`document`] |
//! | what exactly is proven? (feature `prover`) | `rule`, and `circuit` beside it |
//!
//! Without the feature `prover` nothing here can make a proof: the ledger links
//! the verifier only.

pub mod binding;
#[cfg(feature = "prover")]
pub mod circuit;
pub mod code;
pub mod date;
pub mod document;
pub mod field;
mod fixed_base;
pub mod key;
pub mod opening;
pub mod plan;
pub mod poseidon;
#[cfg(feature = "prover")]
pub mod prover;
#[cfg(feature = "prover")]
pub mod r1cs;
#[cfg(feature = "prover")]
pub mod rule;
#[cfg(feature = "prover")]
pub mod setup;
pub mod snarkjs;
pub mod statement;
pub mod tree;
pub mod verify;
