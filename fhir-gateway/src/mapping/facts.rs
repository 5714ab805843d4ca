//! What an access decision needs to know of a record: its type, its labels, and the time it is
//! about.

use std::collections::BTreeSet;

use careledger_wire::decision::OPEN_LABELS;
use serde_json::Value;

use super::{attachment, document::CONFIDENTIALITY, element::Element, period};
use crate::decide::Facts;

/// A label that no Consent can name, as no code begins with a space: of text alone, or with a code that would be open
/// if it were one of HL7's confidentiality.
const UNKNOWN_LABEL: &str = " unknown";
/// Elements that say what time a record is about, the most telling first.
const TIMES: [&str; 11] = [
    "effectiveDateTime",
    "effectiveInstant",
    "onsetDateTime",
    "performedDateTime",
    "occurrenceDateTime",
    "authoredOn",
    "date",
    "recordedDate",
    "started",
    "issued",
    "created",
];
/// Periods that do.
const PERIODS: [&str; 6] =
    ["effectivePeriod", "performedPeriod", "period", "onsetPeriod", "occurrencePeriod", "billablePeriod"];

/// The facts of a resource.
pub fn of(resource: &Value) -> Facts {
    let root = Element::resource(resource);
    Facts {
        resource_type: root.get("resourceType").text().unwrap_or_default().to_owned(),
        about: about(&root),
        labels: labels(&root),
    }
}

/// Labels of the resource and of the document that it is about, as a Consent names them: by their codes.
fn labels(root: &Element<'_>) -> BTreeSet<String> {
    let of_resource = root.get("meta").get("security").items().map(|coding| label(&coding));
    let of_document = root.get("securityLabel").items().flat_map(|concept| {
        let codings: Vec<String> = concept.get("coding").items().map(|coding| label(&coding)).collect();
        if codings.is_empty() { vec![UNKNOWN_LABEL.to_owned()] } else { codings }
    });
    of_resource.chain(of_document).collect()
}

/// What cannot be told apart from a label that closes is one.
fn label(coding: &Element<'_>) -> String {
    let is_of_confidentiality = coding.get("system").text() == Some(CONFIDENTIALITY);
    let known = coding.get("code").text().filter(|code| is_of_confidentiality || !OPEN_LABELS.contains(code));
    known.unwrap_or(UNKNOWN_LABEL).to_owned()
}

fn about(root: &Element<'_>) -> Option<period::Seconds> {
    let context = root.get("context").get("period");
    let periods = PERIODS.iter().map(|name| root.get(name));
    let known = std::iter::once(context).chain(periods).find(|element| !element.is_missing());
    if let Some(known) = known {
        return period::period(&known).ok();
    }
    TIMES.iter().find_map(|name| period::seconds(root.get(name).text()?))
}

/// Ids of the Binaries of this server that a DocumentReference points at for certain.
pub fn binaries<'a>(document: &'a Value, base_url: &str) -> Vec<&'a str> {
    urls(document).filter_map(|url| attachment::named(url, base_url)).collect()
}

/// Whether a DocumentReference may point at the Binary `id` of this server.
pub fn may_point_at(document: &Value, id: &str) -> bool {
    urls(document).any(|url| attachment::possible(url).contains(id))
}

fn urls(document: &Value) -> impl Iterator<Item = &str> {
    let contents = Element::resource(document).get("content");
    contents.items().filter_map(|content| content.get("attachment").get("url").text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_of_the_resource_and_of_the_document() {
        let resource = json!({
            "resourceType": "DocumentReference",
            "meta": {"security": [{"system": CONFIDENTIALITY, "code": "N"}]},
            "securityLabel": [{"coding": [{"code": "R"}, {"code": "PSY"}]}],
        });
        let facts = of(&resource);
        assert_eq!(facts.labels, ["N", "PSY", "R"].map(str::to_owned).into());
        assert_eq!(facts.about, None);
    }

    /// Only four codes, of one system, leave a record open.
    #[test]
    fn a_label_that_is_not_known_to_be_open_closes() {
        let hospital = "http://hospital.example/labels";
        let masked =
            json!({"system": CONFIDENTIALITY, "_code": {"extension": [{"url": "urn:x", "valueCode": "masked"}]}});
        let cases = [
            (json!({"system": CONFIDENTIALITY, "code": "M"}), "M"),
            (json!({"system": CONFIDENTIALITY, "code": "R"}), "R"),
            (json!({"system": hospital, "code": "M"}), UNKNOWN_LABEL),
            (json!({"code": "N"}), UNKNOWN_LABEL),
            (json!({"system": hospital, "code": "PSY"}), "PSY"),
            (json!({"code": "PSY"}), "PSY"),
            (json!({"system": CONFIDENTIALITY, "display": "very restricted"}), UNKNOWN_LABEL),
            (json!({"display": "psychiatry"}), UNKNOWN_LABEL),
            (masked, UNKNOWN_LABEL),
            (json!({}), UNKNOWN_LABEL),
        ];
        for (coding, expected) in cases {
            let labels = [json!({"meta": {"security": [coding]}}), json!({"securityLabel": [{"coding": [coding]}]})];
            for resource in labels {
                assert_eq!(of(&resource).labels, [expected.to_owned()].into(), "{resource}");
            }
        }
        for concept in [json!({"text": "Psychiatry"}), json!({}), json!({"coding": []})] {
            assert_eq!(of(&json!({"securityLabel": [concept]})).labels, [UNKNOWN_LABEL.to_owned()].into());
        }
        assert!(!OPEN_LABELS.contains(&UNKNOWN_LABEL));
    }

    #[test]
    fn a_period_says_more_than_a_date() {
        let cases = [
            (json!({"date": "1970-01-01T00:00:05Z"}), Some((5, 6))),
            (
                json!({"date": "1970-01-01T00:00:05Z", "context": {"period": {"start": "1970", "end": "1970"}}}),
                Some((0, 365 * 86_400)),
            ),
            (json!({"effectiveDateTime": "1970-01-02", "issued": "1970-01-05T00:00:00Z"}), Some((86_400, 172_800))),
            (json!({"status": "final"}), None),
        ];
        for (resource, expected) in cases {
            assert_eq!(of(&resource).about.map(|about| (about.start, about.end)), expected);
        }
    }

    #[test]
    fn only_binaries_of_this_server_are_found() {
        let attachment = |url: &str| json!({"attachment": {"url": url}});
        let document = json!({"resourceType": "DocumentReference", "content": [
            attachment("Binary/a"),
            attachment("http://here/a/fhir/Binary/b"),
            attachment("Binary/c/_history/2"),
            attachment("http://elsewhere/a/fhir/Binary/d"),
            attachment("Observation/e"),
            attachment("Binary/f/g"),
        ]});
        assert_eq!(binaries(&document, "http://here/a/fhir"), ["a", "b", "c"]);
    }
}
