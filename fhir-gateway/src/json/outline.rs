//! What stands outermost in JSON, without reading the rest.
//!
//! A version is served with changes to three of its members. Those are read, and everything between is passed over:
//! a tree of all of it costs a tenth of what storing it does.

use super::{
    Node, Value,
    parse::{Fault, Parser},
};

/// The object that fills `bytes`, with those of its members that are in `names`, as
/// [`parse`](super::parse::parse) reads them.
///
/// For bytes that were parsed before: of what it passes over only quotes and brackets are looked at.
///
/// # Errors
/// Where no object begins, or it does not end.
pub(super) fn outline(bytes: &[u8], names: &[&str]) -> Result<Node, Fault> {
    let mut parser = Parser::over(bytes)?;
    parser.skip_whitespace();
    let start = parser.at;
    parser.expect(b'{', "an object was expected")?;
    let mut members = Vec::with_capacity(names.len());
    loop {
        parser.skip_whitespace();
        match parser.peek() {
            Some(b'"') => {}
            Some(b',') => {
                parser.at += 1;
                continue;
            }
            Some(b'}') => break,
            _ => return parser.refuse("a key was expected"),
        }
        let key = parser.string()?;
        parser.skip_whitespace();
        parser.expect(b':', "a colon was expected")?;
        parser.skip_whitespace();
        if names.contains(&&*key) {
            members.push((key, parser.value(1)?));
        } else {
            pass(&mut parser)?;
        }
    }
    parser.at += 1;
    Ok(Node { start, end: parser.at, value: Value::Object(members) })
}

/// Passes over one value.
fn pass(parser: &mut Parser<'_>) -> Result<(), Fault> {
    let mut depth = 0_usize;
    loop {
        match parser.peek() {
            Some(b'"') => pass_string(parser)?,
            Some(b'{' | b'[') => {
                depth += 1;
                parser.at += 1;
            }
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                parser.at += 1;
            }
            // It ends before what follows it.
            Some(b'}' | b']' | b',') if depth == 0 => return Ok(()),
            Some(_) => parser.at += 1,
            None => return parser.refuse("it ends too early"),
        }
    }
}

/// Passes over a string, from its opening quote.
fn pass_string(parser: &mut Parser<'_>) -> Result<(), Fault> {
    parser.at += 1;
    loop {
        let rest = &parser.bytes[parser.at.min(parser.bytes.len())..];
        let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
            return parser.refuse("a string does not end");
        };
        let is_end = rest[length] == b'"';
        // What follows a backslash belongs to it: a quote does not end the string.
        parser.at += length + if is_end { 1 } else { 2 };
        if is_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse::parse;

    const NAMES: [&str; 2] = ["k0", "k2"];

    fn wanted(node: &Node) -> Vec<(Box<str>, Node)> {
        node.members().iter().filter(|(key, _)| NAMES.contains(&&**key)).cloned().collect()
    }

    #[test]
    fn what_is_no_whole_object_is_refused() {
        for text in
            ["", "[]", "1", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":[1}", "{1}"]
        {
            assert!(outline(text.as_bytes(), &NAMES).is_err(), "{text}");
        }
    }

    #[test]
    fn quotes_and_brackets_within_strings_end_nothing() {
        let text = r#"{"a":"}\"]\\","b":[{"c":"\\\"]"},"{"],"k0":{"k2":1},"k2":2}"#;
        let node = outline(text.as_bytes(), &NAMES).unwrap();
        assert_eq!(node, Node { value: Value::Object(wanted(&parse(text.as_bytes()).unwrap())), ..node.clone() });
        assert_eq!(node.range(), 0..text.len());
    }
}
