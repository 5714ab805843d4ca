//! The search parameters of a granular scope: `?category=…|laboratory&status=final` (SMART App Launch 2.2,
//! "Finer-grained resource constraints using search parameters").
//!
//! They are read by the same code as a search's, and must be about the resource itself.
//!
//! Absent on purpose: `_lastUpdated`, chains, `_has`, `_list`, value sets (`:in`, `:not-in`) and whatever is about a
//! result. What they say changes without the resource being changed, so that a write could not be judged by them.

use std::fmt::{self, Write as _};

use crate::{
    resources::{Resource, resource, resources},
    search::{Criterion, Query, Subject, printable},
};

/// Most search parameters of one scope. Both of what is registered and what is asked for count.
const PARAMETERS_MAX: usize = 16;
/// Most values of all parameters of one scope.
const VALUES_MAX: usize = 64;

/// The search parameters of a scope, of which all must hold. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint(Vec<(String, String)>);

impl Constraint {
    /// Reads what stands after the question mark of a scope for a type; for every type if none.
    ///
    /// # Errors
    /// What is wrong, in words. No value is in it.
    pub fn parse(resource_type: Option<&str>, text: &str) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let pair = (name.into_owned(), value.into_owned());
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        if pairs.is_empty() || pairs.len() > PARAMETERS_MAX {
            return Err(format!("must have 1 to {PARAMETERS_MAX} search parameters"));
        }
        let constraint = Self(pairs);
        match resource_type {
            Some(name) => {
                let kind = resource(name).ok_or("is for a type that is not kept here")?;
                constraint.check(kind)?;
            }
            None => resources().try_for_each(|kind| constraint.check(kind))?,
        }
        Ok(constraint)
    }

    fn check(&self, kind: &'static Resource) -> Result<(), String> {
        let mut values = 0;
        for (name, value) in &self.0 {
            let criterion = criterion(kind, name, value, "").map_err(|problem| format!("{}: {problem}", kind.name))?;
            values += criterion.wanted.len();
        }
        if values > VALUES_MAX { Err(format!("has more than {VALUES_MAX} values")) } else { Ok(()) }
    }

    /// What a resource of a type must meet. `base_url` is where the organization's own resources live.
    pub fn criteria(&self, kind: &'static Resource, base_url: &str) -> Vec<Criterion> {
        let read = |(name, value): &(String, String)| {
            criterion(kind, name, value, base_url).expect("it was read when the scope was")
        };
        self.0.iter().map(read).collect()
    }

    /// What both demand; none where that is too much for one scope.
    pub fn and(&self, other: &Self) -> Option<Self> {
        if self.implies(other) {
            return Some(self.clone());
        }
        let more = other.0.iter().filter(|pair| !self.0.contains(pair)).cloned();
        let pairs: Vec<_> = self.0.iter().cloned().chain(more).collect();
        let values: usize = pairs.iter().map(|(_, value)| value.split(',').count()).sum();
        (pairs.len() <= PARAMETERS_MAX && values <= VALUES_MAX).then_some(Self(pairs))
    }

    /// Whether it demands all that the other demands, as far as their texts tell.
    pub fn implies(&self, other: &Self) -> bool {
        other.0.iter().all(|pair| self.0.contains(pair))
    }

    /// The same text however the parameters are ordered.
    pub fn sorted(&self) -> String {
        let mut pairs = self.0.clone();
        pairs.sort();
        Self(pairs).to_string()
    }
}

fn criterion(kind: &'static Resource, name: &str, value: &str, base_url: &str) -> Result<Criterion, String> {
    let mut query = Query::all(kind);
    query.require(name, value, base_url).map_err(|refusal| refusal.to_string())?;
    let criterion = query.criteria.pop().ok_or("says nothing")?;
    let is_own = matches!(criterion.subject, Subject::Id | Subject::Parameter(_)) && criterion.links.is_empty();
    if is_own { Ok(criterion) } else { Err(format!("{} is not about the resource itself", printable(name))) }
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            formatter.write_str(if at == 0 { "" } else { "&" })?;
            escaped(formatter, name)?;
            formatter.write_char('=')?;
            escaped(formatter, value)?;
        }
        Ok(())
    }
}

/// Escapes what a scope may not hold (RFC 6749, 3.3), and what parts parameters.
fn escaped(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        match byte {
            b'%' | b'&' | b'=' | b'+' | b'#' | b'?' | b'"' | b'\\' => write!(formatter, "%{byte:02X}")?,
            0x21..=0x7e => formatter.write_char(char::from(byte))?,
            _ => write!(formatter, "%{byte:02X}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_constraint_is_about_the_resource_itself_and_said_in_search_parameters_of_its_type() {
        let read = |resource_type: &str, text: &str| {
            Constraint::parse(Some(resource_type).filter(|name| *name != "*"), text).is_ok()
        };
        let loinc = "http://loinc.org|8480-6,http://loinc.org|8462-4";
        for (resource_type, text) in [
            ("Observation", "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"),
            ("Observation", "category=laboratory&status=final,amended"),
            ("Observation", &format!("code={loinc}")),
            ("Observation", "date=ge2020&value-quantity=gt5|http://unitsofmeasure.org|kg"),
            ("Observation", "code:not=8480-6&performer:missing=false&_id=a,b"),
            ("Patient", "name:contains=a%20b&organization=Organization/x"),
            ("*", "_security:not=R&_tag=a"),
        ] {
            assert!(read(resource_type, text), "{resource_type}?{text}");
        }
        let many = vec!["a"; VALUES_MAX + 1].join(",");
        let parameters: Vec<String> = (0..=PARAMETERS_MAX).map(|n| format!("code=c{n}")).collect();
        for (resource_type, text) in [
            ("Observation", ""),
            ("Observation", "category"),
            ("Observation", "category="),
            ("Observation", "categories=laboratory"),
            ("Observation", "category:sideways=laboratory"),
            ("Observation", "date=yesterday"),
            // What it means is for others to say, and could change.
            ("Observation", "code:in=http://example.org/ValueSet/a"),
            ("Observation", "code:not-in=ValueSet/a"),
            // About others, about the result, about the server.
            ("Observation", "patient.name=a"),
            ("Observation", "subject:Patient.name=a"),
            ("Patient", "_has:Observation:patient:code=a"),
            ("Patient", "_list=a"),
            ("Observation", "_lastUpdated=gt2020"),
            ("Observation", "_count=1"),
            ("Observation", "_sort=date"),
            ("Observation", "_include=Observation:subject"),
            ("Observation", "_elements=id"),
            ("Observation", "_filter=a"),
            ("Observation", &format!("code={many}")),
            ("Observation", &parameters.join("&")),
            // Not a parameter of every type; not a type that is kept.
            ("*", "category=laboratory"),
            ("Basic", "code=a"),
        ] {
            assert!(!read(resource_type, text), "{resource_type}?{text}");
        }
    }

    #[test]
    fn what_two_demand_is_what_each_demands() {
        let read = |text: &str| Constraint::parse(Some("Observation"), text).expect("valid");
        let both = |one: &str, other: &str| read(one).and(&read(other)).map(|both| both.to_string());
        assert_eq!(both("category=a", "category=a&status=b").as_deref(), Some("category=a&status=b"));
        assert_eq!(both("category=a", "category=b").as_deref(), Some("category=a&category=b"), "not either");
        let eight = |from: usize| (from..from + 9).map(|n| format!("code=c{n}")).collect::<Vec<_>>().join("&");
        assert_eq!(both(&eight(0), &eight(20)), None, "too much is nothing, not less");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(values in proptest::collection::vec("[ -~\u{e9}\u{1f600}]{1,12}", 1..5)) {
            let text = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(values.iter().map(|value| ("code:text", value))).finish();
            if let Ok(constraint) = Constraint::parse(Some("Observation"), &text) {
                let written = constraint.to_string();
                prop_assert!(written.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{}", written);
                prop_assert_eq!(Constraint::parse(Some("Observation"), &written), Ok(constraint));
            }
        }
    }
}
