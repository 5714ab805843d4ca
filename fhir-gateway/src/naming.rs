//! Naming systems and extension addresses that CareLedger defines.
