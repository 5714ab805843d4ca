//! What a grant opens, in the one spelling that stands on the ledger as a commitment.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    commitment::{self, Salt},
    ids::{Address, Commitment},
    proto::identity::PractitionerRole,
};

/// Seconds from `start` (included) to `end` (excluded), Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds {
    /// First second.
    pub start: i64,
    /// One past the last second.
    pub end: i64,
}

/// What a grant opens, to whom, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The organization that may act on the grant.
    pub organization: Address,
    /// The only practitioner who may; anyone whom the organization enrolled where it is missing.
    pub practitioner: Option<Address>,
    /// The only qualifications that may; every one where there are none.
    pub roles: BTreeSet<PractitionerRole>,
    /// Codes of v3 ActReason; at least one.
    pub purposes: BTreeSet<String>,
    /// FHIR resource types; at least one.
    pub resource_types: BTreeSet<String>,
    /// Only records about this time.
    pub data_period: Option<Seconds>,
    /// Security labels that are opened besides unlabelled records.
    pub labels: BTreeSet<String>,
}

/// Terms, and the salt under which they were committed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was committed to.
    pub terms: Terms,
    /// What blinds the commitment.
    pub salt: Salt,
}

impl Terms {
    /// The one spelling of these terms: JSON with sorted keys and lists and without spaces. What
    /// restricts nothing is not spelled.
    pub fn canonical(&self) -> Vec<u8> {
        let mut json = format!("{{\"actor\":{{\"organization\":\"{}\"", self.organization);
        if let Some(practitioner) = &self.practitioner {
            push(&mut json, format_args!(",\"practitioner\":\"{practitioner}\""));
        }
        if !self.roles.is_empty() {
            json.push_str(",\"roles\":");
            list(&mut json, self.roles.iter().map(|role| role_name(*role)).collect());
        }
        json.push('}');
        if let Some(period) = self.data_period {
            push(&mut json, format_args!(",\"data_period\":{{\"end\":{},\"start\":{}}}", period.end, period.start));
        }
        if !self.labels.is_empty() {
            json.push_str(",\"labels\":");
            list(&mut json, self.labels.iter().cloned().collect());
        }
        json.push_str(",\"purposes\":");
        list(&mut json, self.purposes.iter().cloned().collect());
        json.push_str(",\"resource_types\":");
        list(&mut json, self.resource_types.iter().cloned().collect());
        json.push('}');
        json.into_bytes()
    }

    /// The commitment to these terms that stands on the ledger.
    pub fn commitment(&self, salt: &Salt) -> Commitment {
        commitment::terms(salt, &self.canonical())
    }
}

/// A qualification as terms spell it.
pub fn role_name(role: PractitionerRole) -> String {
    role.as_str_name().trim_start_matches("PRACTITIONER_ROLE_").to_lowercase()
}

/// The qualification that is spelled so.
pub fn role_of(name: &str) -> Option<PractitionerRole> {
    let known = PractitionerRole::from_str_name(&format!("PRACTITIONER_ROLE_{}", name.to_uppercase()));
    known.filter(|role| *role != PractitionerRole::Unspecified && role_name(*role) == name)
}

fn list(json: &mut String, items: BTreeSet<String>) {
    json.push('[');
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            json.push(',');
        }
        text(json, item);
    }
    json.push(']');
}

/// A JSON string with the escapes of RFC 8259 that have a short form, `\u00xx` for other control
/// characters, and nothing else escaped.
fn text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => push(json, format_args!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
}

fn push(json: &mut String, arguments: std::fmt::Arguments<'_>) {
    json.write_fmt(arguments).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn terms() -> Terms {
        Terms {
            organization: Address::new([1; 20]),
            practitioner: None,
            roles: BTreeSet::new(),
            purposes: set(&["TREAT", "ETREAT"]),
            resource_types: set(&["DocumentReference"]),
            data_period: None,
            labels: BTreeSet::new(),
        }
    }

    fn spelled(terms: &Terms) -> String {
        String::from_utf8(terms.canonical()).expect("JSON is UTF-8")
    }

    #[test]
    fn terms_have_one_spelling_and_say_only_what_restricts() {
        let organization = Address::new([1; 20]);
        assert_eq!(
            spelled(&terms()),
            format!(
                "{{\"actor\":{{\"organization\":\"{organization}\"}},\"purposes\":[\"ETREAT\",\"TREAT\"],\
                 \"resource_types\":[\"DocumentReference\"]}}"
            ),
        );
        let full = Terms {
            practitioner: Some(Address::new([2; 20])),
            roles: [PractitionerRole::Nurse, PractitionerRole::Administrator].into(),
            data_period: Some(Seconds { start: -1, end: 7 }),
            labels: set(&["PSY"]),
            ..terms()
        };
        assert_eq!(
            spelled(&full),
            format!(
                "{{\"actor\":{{\"organization\":\"{organization}\",\"practitioner\":\"{}\",\
                 \"roles\":[\"administrator\",\"nurse\"]}},\"data_period\":{{\"end\":7,\"start\":-1}},\
                 \"labels\":[\"PSY\"],\"purposes\":[\"ETREAT\",\"TREAT\"],\"resource_types\":[\"DocumentReference\"]}}",
                Address::new([2; 20]),
            ),
        );
    }

    #[test]
    fn a_code_cannot_break_out_of_its_string() {
        let odd = Terms { purposes: set(&["a\"],\\\n\u{1}é"]), ..terms() };
        assert!(spelled(&odd).contains("\"purposes\":[\"a\\\"],\\\\\\n\\u0001é\"]"), "{}", spelled(&odd));
    }

    #[test]
    fn a_role_has_one_name() {
        for role in [PractitionerRole::Physician, PractitionerRole::Administrator] {
            assert_eq!(role_of(&role_name(role)), Some(role));
        }
        for name in ["", "unspecified", "Physician", "doctor"] {
            assert_eq!(role_of(name), None, "{name}");
        }
    }
}
