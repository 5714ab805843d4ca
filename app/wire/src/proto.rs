//! Generated protobuf messages, by package. `tests/generated.rs` keeps them current.

#![expect(missing_docs, reason = "the comments live in proto/ and are carried over where there are any")]
#![expect(clippy::all, reason = "generated code")]

pub mod careledger {
    pub mod identity {
        pub mod v1 {
            include!("generated/careledger.identity.v1.rs");
        }
    }
    pub mod consent {
        pub mod v1 {
            include!("generated/careledger.consent.v1.rs");
        }
    }
    pub mod records {
        pub mod v1 {
            include!("generated/careledger.records.v1.rs");
        }
    }
    pub mod audit {
        pub mod v1 {
            include!("generated/careledger.audit.v1.rs");
        }
    }
    pub mod insurance {
        pub mod v1 {
            include!("generated/careledger.insurance.v1.rs");
        }
    }
    pub mod governance {
        pub mod v1 {
            include!("generated/careledger.governance.v1.rs");
        }
    }
    pub mod accounts {
        pub mod v1 {
            include!("generated/careledger.accounts.v1.rs");
        }
    }
    pub mod crypto {
        pub mod v1 {
            include!("generated/careledger.crypto.v1.rs");
        }
    }
    pub mod state {
        pub mod v1 {
            include!("generated/careledger.state.v1.rs");
        }
    }
    pub mod query {
        pub mod v1 {
            include!("generated/careledger.query.v1.rs");
        }
    }
}

pub mod cosmos {
    pub mod tx {
        pub mod v1beta1 {
            include!("generated/cosmos.tx.v1beta1.rs");
        }
    }
}

pub use careledger::governance::v1 as governance;
pub use careledger::{accounts::v1 as accounts, crypto::v1 as crypto};
pub use careledger::{audit::v1 as audit, consent::v1 as consent, identity::v1 as identity};
pub use careledger::{insurance::v1 as insurance, query::v1 as query, records::v1 as records, state::v1 as state};
pub use cosmos::tx::v1beta1 as tx;
