//! Which Binary the URL of an attachment names. What is certain opens, and is rewritten for other organizations; what is
//! only possible closes.

use std::{collections::BTreeSet, sync::LazyLock};

use url::{Url, form_urlencoded};

use crate::validate::is_id;

/// What a relative URL is relative to where nothing but its path is asked for.
static SOMEWHERE: LazyLock<Url> = LazyLock::new(|| Url::parse("http://somewhere/").expect("a literal URL"));

/// Id of the Binary that a URL names at the server with this base URL, with a version or without: `Binary/{id}`,
/// relative or right below the base URL.
pub fn named<'a>(url: &'a str, base_url: &str) -> Option<&'a str> {
    let path = url.strip_prefix(base_url).and_then(|rest| rest.strip_prefix('/')).unwrap_or(url);
    let path = path.strip_prefix("Binary/")?;
    let (id, version) = path.split_once("/_history/").unwrap_or((path, "1"));
    (is_id(id) && is_id(version)).then_some(id)
}

/// Ids of the Binaries that a URL may name at this server: a server has more than one name, and one address more than
/// one spelling. What [`named`] gives is among them.
pub fn possible(url: &str) -> BTreeSet<String> {
    let resolved = SOMEWHERE.join(url);
    let path = resolved.as_ref().map_or("", Url::path);
    [url, path].into_iter().flat_map(after_binary).collect()
}

/// The segments that stand behind one that is `Binary`.
fn after_binary(path: &str) -> Vec<String> {
    let path = decoded(path);
    let segments = path.split(['/', '\\', '?', '#', ';']).filter(|segment| !matches!(*segment, "" | "."));
    let segments: Vec<&str> = segments.collect();
    let pairs = segments.windows(2).filter(|pair| pair[0] == "Binary" && is_id(pair[1]));
    pairs.map(|pair| pair[1].to_owned()).collect()
}

fn decoded(path: &str) -> String {
    // Form decoding would turn a plus sign into a space, and end at the others.
    let escaped = path.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// URLs, the Binary that each names for certain, and those that it may name.
    #[test]
    fn an_address_of_a_binary_is_certain_or_possible_or_none() {
        let cases: &[(&str, Option<&str>, &[&str])] = &[
            ("Binary/x", Some("x"), &["x"]),
            ("Binary/x/_history/1", Some("x"), &["x"]),
            ("http://here/a/fhir/Binary/x", Some("x"), &["x"]),
            ("http://here/a/fhir/Binary/x/_history/1", Some("x"), &["x"]),
            ("/a/fhir/Binary/x", None, &["x"]),
            ("/Binary/x", None, &["x"]),
            ("./Binary/x", None, &["x"]),
            ("Binary/x/", None, &["x"]),
            ("Binary//x", None, &["x"]),
            ("Binary/./x", None, &["x"]),
            ("Binary/y/../x", None, &["x", "y"]),
            ("Binary/x?x=1", None, &["x"]),
            ("Binary/x#1", None, &["x"]),
            ("Binary/x;v=1", None, &["x"]),
            ("Binary\\x", None, &["x"]),
            ("Binary/x/_history/1/2", None, &["x"]),
            ("%42inary%2Fx", None, &["x"]),
            ("Binary/%78", None, &["x"]),
            ("http:Binary/x", None, &["x"]),
            ("HTTP://HERE/a/fhir/Binary/x", None, &["x"]),
            ("http://localhost:8150/a/fhir/Binary/x", None, &["x"]),
            ("http://here/a//fhir/Binary/x", None, &["x"]),
            ("http://here/a/fhirBinary/x", None, &[]),
            ("https://third.example.org/fhir/Binary/x", None, &["x"]),
            ("urn:oid:1.2.3", None, &[]),
            ("Observation/x", None, &[]),
            ("Binary", None, &[]),
            ("Binary/", None, &[]),
            ("Binary/x y", None, &[]),
            ("", None, &[]),
        ];
        for (url, certain, all) in cases {
            assert_eq!(named(url, "http://here/a/fhir"), *certain, "{url}");
            assert_eq!(possible(url), all.iter().map(|id| (*id).to_owned()).collect(), "{url}");
        }
    }
}
