//! Cursors as clients get them: sealed, so that they say nothing of how much others write, and so
//! that no other can be made up. docs/api/search.md

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    envelope,
    interactions::Context,
    keys::Secret,
    outcome::Refusal,
    search::{CURSOR, Cursor},
};

/// The text of a cursor for the caller's next request of `what`.
pub fn sealed(context: &Context<'_>, what: &str, cursor: Cursor) -> String {
    let bound = bound_to(context, what);
    URL_SAFE_NO_PAD.encode(envelope::seal_value(&key(context), cursor.to_string().as_bytes(), &bound))
}

/// The pairs of a request for `what` with its cursor opened.
///
/// # Errors
/// [`Refusal::BadRequest`] for a cursor that this server did not make for this caller and request.
pub fn opened(context: &Context<'_>, what: &str, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, Refusal> {
    let open = |(name, text): &(String, String)| {
        if name != CURSOR {
            return Ok((name.clone(), text.clone()));
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok();
        let plain =
            sealed.and_then(|sealed| envelope::open_value(&key(context), &sealed, &bound_to(context, what)).ok());
        let plain = plain.and_then(|plain| String::from_utf8(plain).ok());
        let plain =
            plain.ok_or_else(|| Refusal::BadRequest(format!("{CURSOR} must be taken from a link of this server")));
        Ok((name.clone(), plain?))
    };
    pairs.iter().map(open).collect()
}

fn key(context: &Context<'_>) -> Secret {
    context.organization.keys.index.derive("careledger/cursor/1")
}

/// A cursor is good for the client that it was given to, and at the address that gave it.
fn bound_to(context: &Context<'_>, what: &str) -> Vec<u8> {
    let client = &context.caller.client;
    [client.len().to_string().as_bytes(), b" ", client.as_bytes(), b" ", what.as_bytes()].concat()
}
