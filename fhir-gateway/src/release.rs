//! What a custodian answers to another gateway.
