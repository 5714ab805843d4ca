//! What the header of an HL7 CDA R2 document says of the document. docs/api/documents.md

use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};
use serde_json::{Value, json};

use super::document::{CONFIDENTIALITY, Described};

const NAMESPACE: &str = "urn:hl7-org:v3";
/// Elements within one another that are followed; headers have far fewer.
const DEPTH_MAX: usize = 64;
/// Identifiers of the patient that are looked at.
pub(super) const IDENTIFIERS_MAX: usize = 16;

/// Code systems that FHIR calls otherwise than by their OID.
const SYSTEMS: &[(&str, &str)] = &[
    ("2.16.840.1.113883.6.1", "http://loinc.org"),
    ("2.16.840.1.113883.6.96", "http://snomed.info/sct"),
    ("2.16.840.1.113883.5.25", CONFIDENTIALITY),
];

/// Reads the header; `None` where the bytes are no CDA document.
pub fn described(bytes: &[u8]) -> Option<Described> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().expand_empty_elements = true;
    let mut path: Vec<String> = Vec::new();
    let (mut found, mut title) = (None, String::new());
    let is_title = |path: &[String]| path.len() == 2 && path[1] == "title";
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                if path.is_empty() {
                    let is_cda = name == "ClinicalDocument" && attribute(&start, "xmlns").as_deref() == Some(NAMESPACE);
                    found = is_cda.then(Described::default);
                }
                path.push(name);
                let header: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
                take(found.as_mut()?, &header, &start);
                // The body is not looked at: it may be large, and says nothing of the document.
                if path.len() > DEPTH_MAX || header == ["component"] {
                    return found;
                }
            }
            Event::Text(text) if is_title(&path) => title.push_str(&text),
            Event::GeneralRef(entity) if is_title(&path) => match entity.resolve_char_ref().ok()? {
                Some(letter) => title.push(letter),
                None => title.push_str(resolve_predefined_entity(&entity)?),
            },
            Event::End(_) => {
                if is_title(&path) {
                    found.as_mut()?.title = Some(title.trim().to_owned()).filter(|title| !title.is_empty());
                }
                path.pop();
            }
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn take(described: &mut Described, header: &[&str], start: &BytesStart<'_>) {
    let concept = || {
        let (code, system) = (attribute(start, "code")?, attribute(start, "codeSystem")?);
        let known = SYSTEMS.iter().find(|(oid, _)| *oid == system).map(|(_, url)| (*url).to_owned());
        let mut coding = json!({"system": known.unwrap_or_else(|| format!("urn:oid:{system}")), "code": code});
        if let Some(display) = attribute(start, "displayName").filter(|display| !display.trim().is_empty()) {
            coding["display"] = Value::String(display);
        }
        Some(json!({"coding": [coding]}))
    };
    match header {
        ["id"] => {
            described.identifier = instance(start).map(|(system, value)| json!({"system": system, "value": value}));
        }
        ["code"] => described.kind = concept(),
        ["confidentialityCode"] => described.label = concept(),
        ["languageCode"] => described.language = attribute(start, "code"),
        ["effectiveTime"] => described.creation = attribute(start, "value").and_then(|value| date_time(&value)),
        ["recordTarget", "patientRole", "id"] if described.patients.len() < IDENTIFIERS_MAX => {
            described.patients.extend(instance(start));
        }
        _ => {}
    }
}

/// An instance identifier as FHIR has it: with an extension its root is the system.
fn instance(start: &BytesStart<'_>) -> Option<(String, String)> {
    let root = attribute(start, "root")?;
    let is_uuid = uuid::Uuid::try_parse(&root).is_ok();
    let root = if is_uuid { format!("urn:uuid:{}", root.to_lowercase()) } else { format!("urn:oid:{root}") };
    Some(match attribute(start, "extension") {
        Some(extension) => (root, extension),
        None => ("urn:ietf:rfc:3986".to_owned(), root),
    })
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = start.attributes().flatten().find(|attribute| attribute.key.0 == name)?;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
}

/// `YYYYMMDDhhmmss+zzzz` as FHIR writes it; a time without a zone is left at its day.
fn date_time(text: &str) -> Option<String> {
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (digits, zone) = text.split_at(at);
    let digits = digits.split_once('.').map_or(digits, |(whole, _)| whole);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(digits) || digits.len() < 4 {
        return None;
    }
    let part = |from: usize| digits.get(from..from + 2);
    let year = &digits[..4];
    let (Some(month), Some(day)) = (part(4), part(6)) else {
        return Some(part(4).map_or_else(|| year.to_owned(), |month| format!("{year}-{month}")));
    };
    match (part(8), part(10), zone.get(..3), zone.get(3..5)) {
        (Some(hour), Some(minute), Some(east), Some(minutes)) if is_number(&east[1..]) && is_number(minutes) => {
            let second = part(12).unwrap_or("00");
            Some(format!("{year}-{month}-{day}T{hour}:{minute}:{second}{east}:{minutes}"))
        }
        _ => Some(format!("{year}-{month}-{day}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_the_body_is_not() {
        let text = r#"<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2" extension="x"/>
            <code code="18842-5" codeSystem="2.16.840.1.113883.6.1" displayName="Discharge &amp; more"/>
            <title>A &lt;title&gt;</title><effectiveTime value="20240105120000+0100"/>
            <confidentialityCode code="R" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="en-US"/>
            <recordTarget><patientRole><id root="1.3" extension="p"/><id root="1.4"/></patientRole></recordTarget>
            <component><section><title>Another</title><code code="1" codeSystem="2"/></section></component></ClinicalDocument>"#;
        let found = described(text.as_bytes()).unwrap();
        let pair = |system: &str, value: &str| (system.to_owned(), value.to_owned());
        assert_eq!(found.identifier, Some(json!({"system": "urn:oid:1.2", "value": "x"})));
        assert_eq!(found.patients, [pair("urn:oid:1.3", "p"), pair("urn:ietf:rfc:3986", "urn:oid:1.4")]);
        let kind =
            json!({"coding": [{"system": "http://loinc.org", "code": "18842-5", "display": "Discharge & more"}]});
        assert_eq!(found.kind, Some(kind));
        assert_eq!(found.label, Some(json!({"coding": [{"system": CONFIDENTIALITY, "code": "R"}]})));
        assert_eq!(found.creation.as_deref(), Some("2024-01-05T12:00:00+01:00"));
        assert_eq!(found.language.as_deref(), Some("en-US"));
    }

    #[test]
    fn what_is_no_cda_document_describes_nothing() {
        for text in
            ["", "Hello", "<a/>", "<ClinicalDocument/>", "<ClinicalDocument xmlns='urn:hl7-org:v3'><id", "\u{0}"]
        {
            assert_eq!(described(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(described(&[0xff, 0xfe]), None);
    }

    #[test]
    fn times_are_as_precise_as_they_were() {
        for (text, expected) in [
            ("2024", Some("2024")),
            ("202401", Some("2024-01")),
            ("20240105", Some("2024-01-05")),
            ("202401051200", Some("2024-01-05")),
            ("202401051200-0500", Some("2024-01-05T12:00:00-05:00")),
            ("20240105120003.25+0000", Some("2024-01-05T12:00:03+00:00")),
            ("soon", None),
            ("20", None),
            ("2024\u{e9}105", None),
        ] {
            assert_eq!(date_time(text).as_deref(), expected, "{text}");
        }
    }
}
