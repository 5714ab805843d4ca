//! Where passkeys may sign, as the genesis file spells it.

use super::GenesisError;
use crate::limits::{WEBAUTHN_ORIGIN_BYTES_MAX, WEBAUTHN_ORIGINS_MAX};

/// The texts, when there are few, each is what it should be, and none is there twice.
pub(super) fn distinct(texts: &[String], is_one: fn(&str) -> bool) -> Result<Vec<String>, GenesisError> {
    let wrong = texts
        .iter()
        .enumerate()
        .find(|(place, text)| *place >= WEBAUTHN_ORIGINS_MAX || !is_one(text) || texts[..*place].contains(text));
    wrong.map_or_else(|| Ok(texts.to_vec()), |(_, text)| Err(GenesisError::Webauthn(text.clone())))
}

/// Scheme, host and perhaps port, as browsers write an origin; nothing that JSON would escape. Plain
/// HTTP is for this machine only.
pub(super) fn is_origin(text: &str) -> bool {
    let (host, port) = match text.strip_prefix("https://") {
        Some(rest) => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        None => match text.strip_prefix("http://localhost") {
            Some("") => ("localhost", None),
            Some(port) => ("localhost", port.strip_prefix(':').or(Some(""))),
            None => return false,
        },
    };
    is_rp_id(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port))
}

/// A host name in lower case.
pub(super) fn is_rp_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (1..=WEBAUTHN_ORIGIN_BYTES_MAX - "https://:65535".len()).contains(&text.len()) && text.bytes().all(is_letter)
}
