//! CareLedger.
