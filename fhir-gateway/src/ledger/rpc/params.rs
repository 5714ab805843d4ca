//! Parameters of a call, however it was made: JSON spells bytes as base64 or hexadecimal by
//! parameter, URIs as `0x…` or as quoted text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::CallError;

/// Named parameters of one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Params {
    /// From a JSON-RPC body.
    Json(Map<String, Value>),
    /// From a URI's query.
    Uri(Vec<(String, String)>),
}

impl Params {
    /// From a JSON-RPC body.
    pub fn from_json(named: Map<String, Value>) -> Self {
        Self::Json(named)
    }

    /// From a URI's query.
    pub fn from_uri(named: Vec<(String, String)>) -> Self {
        Self::Uri(named)
    }

    /// Text; `None` where the parameter is missing.
    pub fn text(&self, name: &str) -> Result<Option<String>, CallError> {
        match self {
            Self::Json(named) => match named.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(Value::Number(number)) => Ok(Some(number.to_string())),
                Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
                Some(_) => Err(CallError::params(format!("{name} must be text"))),
            },
            Self::Uri(named) => {
                let found = named.iter().find(|(key, _)| key == name);
                Ok(found.map(|(_, text)| unquoted(text).to_owned()))
            }
        }
    }

    /// Bytes that JSON-RPC spells in hexadecimal: the data of a query.
    pub fn hexadecimal(&self, name: &str) -> Result<Vec<u8>, CallError> {
        let Some(text) = self.text(name)? else { return Ok(Vec::new()) };
        if let Self::Uri(named) = self
            && named.iter().any(|(key, raw)| key == name && raw.starts_with('"'))
        {
            return Ok(text.into_bytes());
        }
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        hex::decode(digits).map_err(|_| CallError::params(format!("{name} must be hexadecimal")))
    }

    /// Bytes that JSON-RPC spells in base64: a transaction, a hash.
    pub fn base64(&self, name: &str) -> Result<Option<Vec<u8>>, CallError> {
        match self {
            Self::Json(_) => {
                let Some(text) = self.text(name)? else { return Ok(None) };
                let bytes = STANDARD.decode(text).map_err(|_| CallError::params(format!("{name} must be base64")))?;
                Ok(Some(bytes))
            }
            Self::Uri(named) if named.iter().any(|(key, _)| key == name) => self.hexadecimal(name).map(Some),
            Self::Uri(_) => Ok(None),
        }
    }

    /// A whole number; `None` where the parameter is missing.
    pub fn number(&self, name: &str) -> Result<Option<u64>, CallError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| CallError::params(format!("{name} must be a whole number")))
    }

    /// Whether the parameter is there and true.
    pub fn flag(&self, name: &str) -> Result<bool, CallError> {
        match self.text(name)?.as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(CallError::params(format!("{name} must be true or false"))),
        }
    }
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Params {
        Params::from_json(serde_json::from_str(text).unwrap())
    }

    fn uri(pairs: &[(&str, &str)]) -> Params {
        Params::from_uri(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn json_and_uri_spell_the_same_parameters() {
        let cases = [
            json(r#"{"data": "0aff", "tx": "Cv8=", "height": "7", "prove": true, "path": "/a"}"#),
            uri(&[("data", "0x0aff"), ("tx", "0x0aff"), ("height", "7"), ("prove", "true"), ("path", "\"/a\"")]),
        ];
        for params in cases {
            assert_eq!(params.hexadecimal("data"), Ok(vec![10, 255]));
            assert_eq!(params.base64("tx"), Ok(Some(vec![10, 255])));
            assert_eq!(params.number("height"), Ok(Some(7)));
            assert_eq!(params.flag("prove"), Ok(true));
            assert_eq!(params.text("path"), Ok(Some("/a".to_owned())));
            assert_eq!(params.number("absent"), Ok(None));
        }
    }

    #[test]
    fn quoted_bytes_in_a_uri_are_text() {
        assert_eq!(uri(&[("data", "\"key\"")]).hexadecimal("data"), Ok(b"key".to_vec()));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let params = json(r#"{"data": "xyz", "tx": "*", "height": -1, "prove": 7, "path": []}"#);
        let errors = [
            params.hexadecimal("data").unwrap_err(),
            params.base64("tx").unwrap_err(),
            params.number("height").unwrap_err(),
            params.flag("prove").unwrap_err(),
            params.text("path").unwrap_err(),
        ];
        for (error, name) in errors.iter().zip(["data", "tx", "height", "prove", "path"]) {
            assert_eq!(error.code, -32602);
            assert!(error.problem.starts_with(name), "{}", error.problem);
        }
    }
}
