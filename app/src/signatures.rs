//! Whether a signature holds: secp256k1, and passkeys.
//!
//! A passkey signs what the browser says about the challenge, not the challenge itself. No JSON is
//! parsed here: a browser writes `clientDataJSON` in one way (WebAuthn Level 2, 5.8.1.1), so its
//! beginning is compared byte by byte, and its end bounds it.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use careledger_wire::{
    proto::state::Parameters,
    signing::{Assertion, PublicKey, Signature},
};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256};

use crate::reject::Reject;

/// `rpIdHash`, flags and counter.
const AUTHENTICATOR_DATA_BYTES: usize = 37;
/// The user touched the authenticator.
const USER_PRESENT: u8 = 1;
/// The authenticator knows that it is the user: a PIN, a finger, a face.
const USER_VERIFIED: u8 = 1 << 2;
/// A new credential follows; never in an assertion.
const ATTESTED_CREDENTIAL: u8 = 1 << 6;
/// Extensions follow.
const EXTENSIONS: u8 = 1 << 7;

/// Whether the arithmetic of `signature` holds: it is `key`'s, in its one low-s form. What a passkey
/// signed besides the digest is judged by [`check_assertion`].
pub fn holds(key: &PublicKey, digest: &[u8; 32], signature: &Signature) -> bool {
    match (key, signature) {
        (PublicKey::Secp256k1(key), Signature::Secp256k1(signature)) => holds_secp256k1(key, *digest, signature),
        (PublicKey::WebAuthnP256(key), Signature::WebAuthnP256(assertion)) => holds_p256(key, assertion),
        _ => false,
    }
}

/// The C library refuses a high s, so a message has one signature.
fn holds_secp256k1(key: &[u8; 33], digest: [u8; 32], signature: &[u8; 64]) -> bool {
    let Ok(key) = secp256k1::PublicKey::from_byte_array_compressed(*key) else { return false };
    let Ok(signature) = secp256k1::ecdsa::Signature::from_compact(signature) else { return false };
    secp256k1::ecdsa::verify(&signature, secp256k1::Message::from_digest(digest), &key).is_ok()
}

fn holds_p256(key: &[u8; 33], assertion: &Assertion) -> bool {
    let Ok(key) = p256::ecdsa::VerifyingKey::from_sec1_bytes(key) else { return false };
    let Ok(signature) = p256::ecdsa::Signature::from_slice(&assertion.signature) else { return false };
    let signed = Sha256::new()
        .chain_update(&assertion.authenticator_data)
        .chain_update(Sha256::digest(&assertion.client_data))
        .finalize();
    signature.normalize_s().is_none() && key.verify_prehash(&signed, &signature).is_ok()
}

/// Refuses a passkey's assertion that is about something else than `digest`, comes from another
/// page than the parameters name, or was made without the user. A signature without a passkey
/// passes: it is over the digest itself.
pub fn check_assertion(signature: &Signature, digest: &[u8; 32], parameters: &Parameters) -> Result<(), Reject> {
    let Signature::WebAuthnP256(assertion) = signature else { return Ok(()) };
    check_authenticator_data(&assertion.authenticator_data, &parameters.webauthn_rp_id_hashes)?;
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest);
    check_client_data(&assertion.client_data, &challenge, &parameters.webauthn_origins)
}

fn check_authenticator_data(data: &[u8], rp_id_hashes: &[Vec<u8>]) -> Result<(), Reject> {
    let Some((fixed, rest)) = data.split_first_chunk::<AUTHENTICATOR_DATA_BYTES>() else {
        return Err(Reject::PasskeyRefused("the authenticator data is too short"));
    };
    if !rp_id_hashes.iter().any(|hash| hash == &fixed[..32]) {
        return Err(Reject::PasskeyRefused("the relying party is not one of this network's"));
    }
    let flags = fixed[32];
    if flags & USER_PRESENT == 0 {
        return Err(Reject::PasskeyRefused("the user was not present"));
    }
    if flags & USER_VERIFIED == 0 {
        return Err(Reject::PasskeyRefused("the user was not verified"));
    }
    let has_extensions = flags & EXTENSIONS != 0;
    if flags & ATTESTED_CREDENTIAL != 0 || has_extensions == rest.is_empty() {
        return Err(Reject::PasskeyRefused("the authenticator data has other parts than its flags say"));
    }
    Ok(())
}

fn check_client_data(data: &[u8], challenge: &str, origins: &[String]) -> Result<(), Reject> {
    let rest = data
        .strip_prefix(br#"{"type":"webauthn.get","challenge":""#.as_slice())
        .ok_or(Reject::PasskeyRefused("the client data is of another type"))?;
    let rest = rest
        .strip_prefix(challenge.as_bytes())
        .and_then(|rest| rest.strip_prefix(br#"","origin":""#.as_slice()))
        .ok_or(Reject::PasskeyRefused("the challenge is another"))?;
    let after = |origin: &String| rest.strip_prefix(origin.as_bytes())?.strip_prefix(b"\"");
    let rest = origins.iter().find_map(after).ok_or(Reject::PasskeyRefused("the origin is another"))?;
    match rest {
        b"}" => Ok(()),
        [b',', .., b'}'] if !rest.starts_with(br#","crossOrigin":true"#) => Ok(()),
        [b',', .., b'}'] => Err(Reject::PasskeyRefused("the page was part of another origin's")),
        _ => Err(Reject::PasskeyRefused("the client data has no end")),
    }
}
