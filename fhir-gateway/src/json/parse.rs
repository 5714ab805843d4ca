//! The parser. Recursion is bounded by [`DEPTH_MAX`].

use super::{Node, Value};

/// Deepest nesting of arrays and objects. FHIR's deepest resources use about twenty.
pub const DEPTH_MAX: usize = 64;

/// What a Bundle adds to the depth of a resource within it, and more than that.
pub const DEPTH_OF_BUNDLES: usize = 8;

/// Objects with more members than this look for duplicate keys by sorting.
const LINEAR_KEYS_MAX: usize = 32;

/// Why bytes are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, without content.
    pub problem: &'static str,
    /// The first byte that is refused.
    pub offset: usize,
}

/// Whether `text` is a number as JSON, and FHIR's decimal, write it.
pub fn is_number(text: &str) -> bool {
    parse(text.as_bytes())
        .is_ok_and(|node| node.start == 0 && node.end == text.len() && matches!(node.value, Value::Number(_)))
}

/// Reads one JSON value that fills `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Node, Fault> {
    parse_within(bytes, DEPTH_MAX)
}

/// As [`parse`], with another deepest nesting.
pub fn parse_within(bytes: &[u8], depth_max: usize) -> Result<Node, Fault> {
    let mut parser = Parser { depth_max, ..Parser::over(bytes)? };
    parser.skip_whitespace();
    let node = parser.value(0)?;
    parser.skip_whitespace();
    if parser.at < bytes.len() {
        return parser.refuse("more follows after the value");
    }
    Ok(node)
}

/// Reads from `at`.
pub(super) struct Parser<'a> {
    text: &'a str,
    pub bytes: &'a [u8],
    pub at: usize,
    depth_max: usize,
}

impl<'a> Parser<'a> {
    pub fn over(bytes: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Fault { problem: "it is not UTF-8", offset: error.valid_up_to() })?;
        Ok(Self { text, bytes, at: 0, depth_max: DEPTH_MAX })
    }

    pub fn refuse<T>(&self, problem: &'static str) -> Result<T, Fault> {
        Err(Fault { problem, offset: self.at })
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return self.refuse(problem);
        }
        self.at += 1;
        Ok(())
    }

    pub fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth + 1)?,
            Some(b'[') => self.array(depth + 1)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) => return self.refuse("a JSON value was expected"),
            None => return self.refuse("it ends too early"),
        };
        Ok(Node { start, end: self.at, value })
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.refuse("a JSON value was expected");
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > self.depth_max {
            return self.refuse("it is nested too deeply");
        }
        self.at += 1;
        let mut members: Vec<(Box<str>, Node)> = Vec::new();
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_whitespace();
            let key_at = self.at;
            if self.peek() != Some(b'"') {
                return self.refuse("a key was expected");
            }
            let key = self.string()?;
            if members.len() < LINEAR_KEYS_MAX && members.iter().any(|(name, _)| *name == key) {
                self.at = key_at;
                return self.refuse("a key stands twice in one object");
            }
            self.skip_whitespace();
            self.expect(b':', "a colon was expected")?;
            self.skip_whitespace();
            let node = self.value(depth)?;
            members.push((key, node));
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.refuse("a comma or a closing brace was expected"),
            }
        }
        if members.len() > LINEAR_KEYS_MAX && has_duplicates(&members) {
            return self.refuse("a key stands twice in one object");
        }
        self.at += 1;
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth > self.depth_max {
            return self.refuse("it is nested too deeply");
        }
        self.at += 1;
        let mut items = Vec::new();
        self.skip_whitespace();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_whitespace();
            items.push(self.value(depth)?);
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.refuse("a comma or a closing bracket was expected"),
            }
        }
        self.at += 1;
        Ok(Value::Array(items))
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.refuse("a digit was expected"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(self.text[start..self.at].into()))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.refuse("a digit was expected") } else { Ok(()) }
    }

    /// Reads from the opening quote to one past the closing quote.
    pub fn string(&mut self) -> Result<Box<str>, Fault> {
        self.at += 1;
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut copied = start;
        loop {
            let rest = &self.bytes[self.at..];
            let ends_plain_text = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            self.at += rest.iter().position(ends_plain_text).unwrap_or(rest.len());
            match self.peek() {
                None => return self.refuse("a string does not end"),
                Some(b'"') => break,
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[copied..self.at]);
                    let character = self.escape()?;
                    owned.get_or_insert_default().push(character);
                    copied = self.at;
                }
                Some(_) => return self.refuse("a control character stands in a string"),
            }
        }
        let rest = &self.text[copied..self.at];
        self.at += 1;
        Ok(match owned {
            None => rest.into(),
            Some(mut text) => {
                text.push_str(rest);
                text.into_boxed_str()
            }
        })
    }

    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.refuse("an unknown escape stands in a string"),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.four_hex()?;
        let code = match first {
            0xD800..0xDC00 => {
                if !self.bytes[self.at..].starts_with(b"\\u") {
                    return self.refuse("half of a surrogate pair stands in a string");
                }
                self.at += 1;
                let second = self.four_hex()?;
                if !(0xDC00..0xE000).contains(&second) {
                    return self.refuse("half of a surrogate pair stands in a string");
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        match char::from_u32(code) {
            Some('\0') | None => self.refuse("a string holds a character that is none"),
            Some(character) => Ok(character),
        }
    }

    /// Reads `uXXXX`, standing on the `u`.
    fn four_hex(&mut self) -> Result<u32, Fault> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else { return self.refuse("four hexadecimal digits were expected") };
        let value = digits.iter().fold(0, |value, digit| {
            value * 16 + char::from(*digit).to_digit(16).expect("checked to be a hexadecimal digit")
        });
        self.at += 5;
        Ok(value)
    }
}

fn has_duplicates(members: &[(Box<str>, Node)]) -> bool {
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::outline::outline, *};

    #[test]
    fn what_is_not_json_is_refused_with_its_offset() {
        for (text, offset) in [
            ("", 0),
            ("{", 1),
            ("{\"a\":1", 6),
            ("{\"a\":1,}", 7),
            ("[1,]", 3),
            ("{\"a\" 1}", 5),
            ("01", 1),
            ("1.", 2),
            ("-", 1),
            ("1e", 2),
            ("+1", 0),
            ("NaN", 0),
            ("nul", 0),
            ("\"a", 2),
            ("\"\n\"", 1),
            ("\"\\x\"", 2),
            ("\"\\u12\"", 2),
            ("\"\\ud800\"", 7),
            ("\"\\ud800\\u0041\"", 13),
            ("\"\\udc00\"", 7),
            ("\"\\u0000\"", 7),
            ("{\"a\":1,\"a\":2}", 7),
            ("{\"a\":1,\"\\u0061\":2}", 7),
            ("{} {}", 3),
            ("\u{feff}{}", 0),
        ] {
            match parse(text.as_bytes()) {
                Err(Fault { offset: found, .. }) => assert_eq!(found, offset, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(parse(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn a_duplicate_among_many_keys_is_refused() {
        let keys: Vec<String> = (0..100).map(|key| format!("\"k{key}\":1")).collect();
        assert!(parse(format!("{{{}}}", keys.join(",")).as_bytes()).is_ok());
        assert!(parse(format!("{{{},\"k77\":1}}", keys.join(",")).as_bytes()).is_err());
        assert!(parse(format!("{{{},\"new\":1,\"new\":2}}", keys.join(",")).as_bytes()).is_err());
    }

    /// JSON text with free whitespace, escapes and number forms.
    fn json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_string()),
            Just("true".to_string()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            any::<String>().prop_map(|text| serde_json::to_string(&text.replace('\0', "")).expect("a string")),
            Just("\"\\u00e9\\ud83d\\ude00\\/\"".to_string()),
        ];
        scalar.prop_recursive(4, 64, 6, |inner| {
            let items = prop::collection::vec(inner, 0..6);
            ("[ \t\r\n]{0,3}", items, any::<bool>()).prop_map(|(space, items, object)| {
                let separator = format!("{space},{space}");
                if object {
                    let members: Vec<String> =
                        items.iter().enumerate().map(|(at, item)| format!("\"k{at}\"{space}:{space}{item}")).collect();
                    format!("{{{space}{}{space}}}", members.join(&separator))
                } else {
                    format!("[{space}{}{space}]", items.join(&separator))
                }
            })
        })
    }

    fn same(node: &Node, value: &serde_json::Value) -> bool {
        match (&node.value, value) {
            (Value::Null, serde_json::Value::Null) => true,
            (Value::Bool(left), serde_json::Value::Bool(right)) => left == right,
            (Value::Number(left), serde_json::Value::Number(right)) => {
                left.replace(['E', '+'], "").replace('e', "")
                    == right.to_string().replace(['E', '+'], "").replace('e', "")
            }
            (Value::String(left), serde_json::Value::String(right)) => **left == **right,
            (Value::Array(left), serde_json::Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
            }
            (Value::Object(left), serde_json::Value::Object(right)) => {
                left.len() == right.len()
                    && left.iter().zip(right).all(|((name, node), (key, value))| **name == *key && same(node, value))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(text in json()) {
            let value: serde_json::Value = serde_json::from_str(&text).expect("the generator makes JSON");
            let node = parse(text.as_bytes()).expect("the generator makes JSON");
            prop_assert!(same(&node, &value));
        }

        #[test]
        fn any_bytes_give_an_answer_and_accepted_ones_are_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if parse(&bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            }
        }

        #[test]
        fn damaged_json_never_panics(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let accepted = parse(&bytes).is_ok();
            prop_assert!(!accepted || serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            let _ = parse(&bytes[..at]);
        }

        #[test]
        fn an_outline_has_the_members_that_are_asked_for(text in json()) {
            const NAMES: [&str; 2] = ["k0", "k2"];
            let whole = parse(text.as_bytes()).expect("the generator makes JSON");
            let found = outline(text.as_bytes(), &NAMES);
            if matches!(whole.value, Value::Object(_)) {
                let found = found.expect("it is an object");
                let wanted = whole.members().iter().filter(|(key, _)| NAMES.contains(&&**key)).cloned();
                prop_assert_eq!(found.range(), whole.range());
                prop_assert_eq!(found.members(), wanted.collect::<Vec<_>>());
            } else {
                prop_assert!(found.is_err());
            }
        }

        #[test]
        fn an_outline_of_damaged_json_never_panics(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = (outline(&bytes, &["k0"]), outline(&bytes[..at], &["k0"]));
        }

        #[test]
        fn spans_are_the_bytes_of_their_nodes(text in json()) {
            fn walk(text: &str, node: &Node) -> Result<(), TestCaseError> {
                let again = parse(&text.as_bytes()[node.range()]).expect("a node's bytes are JSON");
                prop_assert_eq!(again.end, node.end - node.start);
                for child in node.members().iter().map(|(_, child)| child) {
                    walk(text, child)?;
                }
                if let Value::Array(items) = &node.value {
                    for child in items {
                        walk(text, child)?;
                    }
                }
                Ok(())
            }
            walk(&text, &parse(text.as_bytes()).expect("the generator makes JSON"))?;
        }
    }
}
