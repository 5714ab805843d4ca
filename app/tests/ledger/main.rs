//! The ledger's rules as scripts: what each sender asks for, and the answer.

mod batches;
mod blocks;
mod consent;
mod events;
mod genesis;
mod golden;
mod governance;
mod identity;
mod insurance;
mod matrix;
mod privacy;
mod purity;
mod queries;
mod records;
mod replay;
mod script;
mod trapdoor;
mod world;

use script::check;
