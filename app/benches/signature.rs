//! Pure signature checking, to compare with.

use std::sync::LazyLock;

use careledger_wire::{ids::Address, transaction::Transaction};
use secp256k1::{PublicKey, ecdsa, ecdsa::Signature};

use crate::scene;

/// Making a key costs nearly as much as checking a signature.
static CLINIC: LazyLock<Address> = LazyLock::new(|| scene::address("clinic"));

/// Whether the clinic or the patient signed it.
pub fn holds(bytes: &[u8]) -> bool {
    let transaction = Transaction::decode(bytes).expect("a transaction of ours");
    let account = if transaction.signer() == *CLINIC { scene::CLINIC } else { scene::PATIENT };
    let digest = secp256k1::Message::from_digest(transaction.sign_digest(scene::CHAIN, account.1));
    let key = PublicKey::from_byte_array_compressed(*transaction.sender().key.as_bytes()).expect("a key of ours");
    let signature = transaction.sender().signature.as_ref().expect("a signed transaction").encode();
    let signature = Signature::from_compact(&signature).expect("a signature of ours");
    ecdsa::verify(&signature, digest, &key).is_ok()
}
