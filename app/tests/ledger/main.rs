//! The ledger's rules as scripts: what each sender asks for, and the answer.

mod blocks;
mod consent;
mod fairness;
mod genesis;
mod golden;
mod identity;
mod insurance;
mod keys;
mod matrix;
mod passkeys;
mod privacy;
mod purity;
mod queries;
mod records;
mod recovery;
mod replay;
mod script;
mod sponsors;
mod trapdoor;
mod world;

use script::check;
