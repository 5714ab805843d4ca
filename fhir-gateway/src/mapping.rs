//! FHIR to ledger messages, pure.
