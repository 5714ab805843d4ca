//! CareLedger.
fn main() {}
