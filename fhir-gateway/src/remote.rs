//! What other custodians hold and consent opens.
