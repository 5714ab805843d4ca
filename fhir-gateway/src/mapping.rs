//! Pure functions from FHIR resources to what the ledger is told, one file per resource.
//!
//! - [`element`]: reading elements of a resource, with the path of what is wrong.
//! - [`period`]: FHIR's dates and periods as ranges of seconds.
//! - [`consent`]: a Consent as the terms of a grant; [`signed`]: the patient's transaction beside it.
//! - [`task`]: an access request.
//! - [`facts`]: what an access decision needs to know of a record; [`attachment`]: which Binary belongs to one.
//! - [`patient`], [`practitioner`]: accounts that a resource names.
//! - [`document`], [`cda`]: what a document says of itself, and what IHE MHD says of documents.
//! - [`plan`], [`coverage`], [`attestation`], [`eligibility`]: insurance.

pub mod attachment;
pub mod attestation;
pub mod cda;
pub mod consent;
pub mod coverage;
pub mod document;
pub mod element;
pub mod eligibility;
pub mod facts;
pub mod patient;
pub mod period;
pub mod plan;
pub mod practitioner;
pub mod signed;
pub mod task;
