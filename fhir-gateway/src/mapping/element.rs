//! Reading elements of a resource. Every failure names the element's path and none its content.

use serde_json::Value;

use crate::outcome::Refusal;

/// An element of a resource and where it stands. A missing one is `null`.
#[derive(Debug, Clone)]
pub struct Element<'a> {
    path: String,
    value: &'a Value,
}

static MISSING: Value = Value::Null;

impl<'a> Element<'a> {
    /// A whole resource.
    pub fn resource(value: &'a Value) -> Self {
        let path = value.get("resourceType").and_then(Value::as_str).unwrap_or("Resource").to_owned();
        Self { path, value }
    }

    /// The member `name`.
    pub fn get(&self, name: &str) -> Self {
        Self { path: format!("{}.{name}", self.path), value: self.value.get(name).unwrap_or(&MISSING) }
    }

    /// The items of a repeating element; none where it is missing.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let path = self.path.clone();
        items.iter().enumerate().map(move |(index, value)| Self { path: format!("{path}[{index}]"), value })
    }

    /// Whether there is no such element.
    pub fn is_missing(&self) -> bool {
        self.value.is_null()
    }

    /// The JSON value.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Its text; `None` where it is missing or no text.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// Its text, which must be there.
    pub fn required(&self) -> Result<&'a str, Refusal> {
        self.text().ok_or_else(|| self.refuse("is required"))
    }

    /// A whole number that must be there.
    pub fn number(&self) -> Result<u64, Refusal> {
        self.value.as_u64().ok_or_else(|| self.refuse("must be a whole number"))
    }

    /// A refusal that names this element.
    pub fn refuse(&self, problem: &str) -> Refusal {
        Refusal::invalid(self.path.clone(), problem)
    }

    /// Value of the first identifier with `system` in this repeating element.
    pub fn identifier(&self, system: &str) -> Option<&'a str> {
        self.items().find_map(|item| item.identifier_value(system))
    }

    /// Value of this one identifier, where it has `system`.
    pub fn identifier_value(&self, system: &str) -> Option<&'a str> {
        let is_it = self.get("system").text() == Some(system);
        is_it.then(|| self.get("value").text()).flatten()
    }

    /// The extension with `url` on this element.
    pub fn extension(&self, url: &str) -> Option<Self> {
        self.get("extension").items().find(|extension| extension.get("url").text() == Some(url))
    }

    /// Code with `system` in this CodeableConcept.
    pub fn code(&self, system: &str) -> Option<&'a str> {
        let mut codings = self.get("coding").items();
        codings.find(|coding| coding.get("system").text() == Some(system))?.get("code").text()
    }

    /// Id that this Reference gives for a local resource of `resource_type`.
    pub fn local_id(&self, resource_type: &str) -> Option<&'a str> {
        let id = self.get("reference").text()?.strip_prefix(resource_type)?.strip_prefix('/')?;
        (!id.contains('/')).then_some(id)
    }

    /// Parses this text, which must be there.
    pub fn parse<T: std::str::FromStr>(&self, problem: &str) -> Result<T, Refusal> {
        self.required()?.parse().map_err(|_| self.refuse(problem))
    }

    /// 32 bytes in 64 hexadecimal digits, which must be there.
    pub fn bytes32(&self) -> Result<[u8; 32], Refusal> {
        let mut bytes = [0; 32];
        let problem = "must be 64 hexadecimal digits";
        hex::decode_to_slice(self.required()?, &mut bytes).map_err(|_| self.refuse(problem))?;
        Ok(bytes)
    }
}
