//! The keys of one organization, in an encrypted keystore.
