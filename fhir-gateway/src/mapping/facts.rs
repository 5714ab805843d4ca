//! What an access decision needs to know of a record: its type, its labels, and the time it is
//! about.

use serde_json::Value;

use super::{element::Element, period};
use crate::decide::Facts;

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
    let own = root.get("meta").get("security");
    let document = root.get("securityLabel");
    let concepts = document.items().flat_map(|concept| concept.get("coding").items().collect::<Vec<_>>());
    let labels = own.items().chain(concepts).filter_map(|coding| coding.get("code").text().map(str::to_owned));
    Facts {
        resource_type: root.get("resourceType").text().unwrap_or_default().to_owned(),
        about: about(&root),
        labels: labels.collect(),
    }
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

/// Ids of the Binaries of this server that a DocumentReference points at.
pub fn binaries<'a>(document: &'a Value, base_url: &str) -> Vec<&'a str> {
    let contents = Element::resource(document).get("content");
    let urls = contents.items().filter_map(|content| content.get("attachment").get("url").text());
    urls.filter_map(|url| local_binary(url, base_url)).collect()
}

fn local_binary<'a>(url: &'a str, base_url: &str) -> Option<&'a str> {
    let path = url.strip_prefix(base_url).and_then(|rest| rest.strip_prefix('/')).unwrap_or(url);
    let id = path.strip_prefix("Binary/")?;
    let id = id.split_once("/_history/").map_or(id, |(id, _)| id);
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_of_the_resource_and_of_the_document() {
        let resource = json!({
            "resourceType": "DocumentReference",
            "meta": {"security": [{"code": "N"}]},
            "securityLabel": [{"coding": [{"code": "R"}, {"code": "PSY"}]}],
        });
        let facts = of(&resource);
        assert_eq!(facts.labels, ["N", "PSY", "R"].map(str::to_owned).into());
        assert_eq!(facts.about, None);
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
