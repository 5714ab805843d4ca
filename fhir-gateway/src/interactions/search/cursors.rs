//! Cursors as clients get them: sealed, so that they say nothing of how much others write, and so
//! that no other can be made up. docs/api/search.md

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    auth::scopes::Interaction,
    envelope::ValueKey,
    interactions::Context,
    outcome::Refusal,
    resources::resources,
    search::{CURSOR, Cursor},
    value_sets::Pins,
};

/// What stands between a cursor and what value sets mean where it goes on.
const BEFORE_PINS: char = ' ';

/// The text of a cursor for the caller's next request of `what`, in which value sets mean what `pins` say.
pub fn sealed(context: &Context<'_>, what: &str, cursor: Cursor, pins: &Pins) -> String {
    let mut plain = cursor.to_string();
    if !pins.is_empty() {
        plain.push(BEFORE_PINS);
        plain.push_str(&serde_json::to_string(pins).expect("texts and numbers have a JSON form"));
    }
    URL_SAFE_NO_PAD.encode(key(context).seal(plain.as_bytes(), &bound_to(context, what)))
}

/// The pairs of a request with its cursor opened, and what value sets mean where it goes on; none where it begins.
pub struct Opened {
    /// The pairs.
    pub pairs: Vec<(String, String)>,
    /// What value sets mean.
    pub pins: Option<Pins>,
}

/// The pairs of a request for `what` with its cursor opened.
///
/// # Errors
/// [`Refusal::BadRequest`] for a cursor that this server did not make for this caller, by such scopes, and request.
pub fn opened(context: &Context<'_>, what: &str, pairs: &[(String, String)]) -> Result<Opened, Refusal> {
    let mut pins = None;
    let open = |(name, text): &(String, String)| {
        if name != CURSOR {
            return Ok((name.clone(), text.clone()));
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok();
        let plain = sealed.and_then(|sealed| key(context).open(&sealed, &bound_to(context, what)).ok());
        let plain = plain.and_then(|plain| String::from_utf8(plain).ok());
        let wrong = || Refusal::BadRequest(format!("{CURSOR} must be taken from a link of this server"));
        let plain = plain.ok_or_else(wrong)?;
        let (cursor, sets) = plain.split_once(BEFORE_PINS).unwrap_or((&plain, "[]"));
        pins = Some(serde_json::from_str(sets).map_err(|_| wrong())?);
        Ok((name.clone(), cursor.to_owned()))
    };
    let pairs = pairs.iter().map(open).collect::<Result<_, Refusal>>()?;
    Ok(Opened { pairs, pins })
}

fn key(context: &Context<'_>) -> ValueKey {
    ValueKey::of(&context.organization.keys.index.derive("careledger/cursor/1"))
}

/// A cursor is good for the client that it was given to, at the address that gave it, and by scopes that reach as much:
/// it holds a total, and one that was counted for more would tell how much lies outside.
fn bound_to(context: &Context<'_>, what: &str) -> Vec<u8> {
    let client = &context.caller.client;
    let mut bound = format!("{} {client} {} {what}", client.len(), what.len());
    for kind in resources() {
        let reach = context.caller.reach(Interaction::Search, kind.name);
        if reach.is_limited() {
            let reach = reach.name();
            bound.push_str(&format!(" {} {} {reach}", kind.name, reach.len()));
        }
    }
    bound.into_bytes()
}
