//! The ledger's rules as scripts: what each sender asks for, and the answer.

mod batches;
mod blocks;
mod codes;
mod consent;
mod consent_words;
mod continued;
mod counts;
mod delegation;
mod emergency;
mod events;
mod fairness;
mod formats;
mod genesis;
mod golden;
mod governance;
mod guardian;
mod identity;
mod insurance;
mod insurance_words;
mod keys;
mod matrix;
mod once;
mod passkeys;
mod privacy;
mod purity;
mod queries;
mod records;
mod recovery;
mod replay;
mod script;
mod sponsors;
mod standing;
mod world;

use script::check;
