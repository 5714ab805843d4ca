//! JSON and XML: what media types mean, and which one an answer gets (FHIR R4, 3.1.0.1.11).

use std::fmt;

use mime::Mime;

use crate::{json::Document, outcome::Refusal, xml};

/// A representation of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `application/fhir+json`
    #[default]
    Json,
    /// `application/fhir+xml`
    Xml,
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Json => "JSON",
            Self::Xml => "XML",
        })
    }
}

/// The media types that are read and written: what each means, and as what an answer to it is sent.
/// A generic one is answered with itself, one of older versions of FHIR with that of this one.
const MEDIA_TYPES: &[(&str, Format, &str)] = &[
    ("application/fhir+json", Format::Json, FHIR_JSON),
    ("application/json", Format::Json, "application/json"),
    ("application/json+fhir", Format::Json, FHIR_JSON),
    ("text/json", Format::Json, "text/json"),
    ("application/fhir+xml", Format::Xml, FHIR_XML),
    ("application/xml", Format::Xml, "application/xml"),
    ("application/xml+fhir", Format::Xml, FHIR_XML),
    ("text/xml", Format::Xml, "text/xml"),
];

/// The parameter that asks for line breaks. Everybody may, and is sent what was accepted, byte for byte.
pub const PRETTY: &str = "_pretty";
/// FHIR JSON.
pub const FHIR_JSON: &str = "application/fhir+json";
/// FHIR XML.
pub const FHIR_XML: &str = "application/fhir+xml";

/// As what an answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    format: Format,
    media_type: &'static str,
}

impl Wanted {
    /// FHIR's own media type of a format.
    pub fn of(format: Format) -> Self {
        let media_type = match format {
            Format::Json => FHIR_JSON,
            Format::Xml => FHIR_XML,
        };
        Self { format, media_type }
    }

    /// What `Accept` wants most; `default` where it takes anything, or where there is none.
    ///
    /// # Errors
    /// [`Refusal::NotAcceptable`] where it names nothing that is produced.
    pub fn negotiated(accept: Option<&str>, default: Format) -> Result<Self, Refusal> {
        let Some(accept) = accept else { return Ok(Self::of(default)) };
        let ranges: Vec<Range<'_>> = accept.split(',').map(Range::read).collect();
        let refused: Vec<Format> = ranges
            .iter()
            .filter(|range| range.quality == 0)
            .filter_map(|range| range.named().map(|found| found.format))
            .collect();
        let named = best(&ranges, |range| range.named());
        let any = [default, Format::Json, Format::Xml].into_iter().find(|format| !refused.contains(format));
        let any = best(&ranges, |range| any.filter(|_| range.is_any()).map(Self::of));
        match (named, any) {
            (Some((quality, named)), other) if other.is_none_or(|(least, _)| quality >= least) => Ok(named),
            (_, Some((_, any))) => Ok(any),
            (Some((_, named)), None) => Ok(named),
            (None, None) => Err(Refusal::NotAcceptable),
        }
    }

    /// The header `Content-Type`.
    pub fn content_type(self) -> String {
        format!("{}; charset=utf-8", self.media_type)
    }

    /// FHIR JSON as it is sent.
    ///
    /// # Errors
    /// [`Refusal::NotInXml`] where it has no XML form.
    pub fn written(self, json: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        match self.format {
            Format::Json => Ok(json),
            Format::Xml => xml::write(&Document::of_answer(json)?),
        }
    }
}

/// The best of what ranges give, with its quality; of equal ones JSON, in which bytes are what was sent,
/// then the first.
fn best(ranges: &[Range<'_>], given: impl Fn(&Range<'_>) -> Option<Wanted>) -> Option<(u16, Wanted)> {
    let mut best: Option<(u16, Wanted)> = None;
    for range in ranges.iter().filter(|range| range.quality > 0) {
        let Some(found) = given(range) else { continue };
        let rank = |quality: u16, wanted: Wanted| (quality, wanted.format == Format::Json);
        if best.is_none_or(|(quality, known)| rank(range.quality, found) > rank(quality, known)) {
            best = Some((range.quality, found));
        }
    }
    best
}

/// One media range of `Accept`.
struct Range<'a> {
    name: &'a str,
    /// In thousandths.
    quality: u16,
    is_of_version: bool,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { name: parts.next().unwrap_or_default(), quality: 1000, is_of_version: true };
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => range.quality = quality(value),
                Some((name, value)) if name.eq_ignore_ascii_case(VERSION) => range.is_of_version = is_r4(value),
                _ => {}
            }
        }
        range
    }

    fn named(&self) -> Option<Wanted> {
        let row = MEDIA_TYPES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(self.name))?;
        self.is_of_version.then_some(Wanted { format: row.1, media_type: row.2 })
    }

    /// How closely it names a type: as that type, by what comes before the slash, or as any; none where it does not.
    fn closeness(&self, own: &Mime) -> Option<u8> {
        let range: Mime = self.name.parse().ok()?;
        match (range.type_(), range.subtype()) {
            _ if range.essence_str() == own.essence_str() => Some(2),
            (name, mime::STAR) if name == own.type_() => Some(1),
            (mime::STAR, mime::STAR) => Some(0),
            _ => None,
        }
    }

    fn is_any(&self) -> bool {
        ["*/*", "application/*", "*"].contains(&self.name)
    }
}

/// The parameter of a media type that names a version of FHIR.
const VERSION: &str = "fhirVersion";

fn is_r4(version: &str) -> bool {
    ["4.0", "4.0.0", "4.0.1"].contains(&version.trim_matches('"'))
}

/// Thousandths of a weight; what is none weighs nothing.
fn quality(text: &str) -> u16 {
    let value: f32 = text.parse().unwrap_or(0.0);
    // At most 1000, so that it fits.
    (value.clamp(0.0, 1.0) * 1000.0) as u16
}

/// What a body of that `Content-Type` is read as; none where it is not read as FHIR R4.
pub fn of_content(content_type: &str) -> Option<Format> {
    let mut parts = content_type.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let row = MEDIA_TYPES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
    let is_read = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            ["utf-8", "us-ascii"].iter().any(|known| value.trim_matches('"').eq_ignore_ascii_case(known))
        }
        Some((name, value)) if name.eq_ignore_ascii_case(VERSION) => is_r4(value),
        _ => true,
    };
    parts.all(is_read).then_some(row.1)
}

/// FHIR's own media type of what `_format` names. In an address a plus sign that is not escaped is a
/// space.
pub fn of_parameter(text: &str) -> Option<&'static str> {
    match text {
        "json" => Some(FHIR_JSON),
        "xml" => Some(FHIR_XML),
        _ => of_content(&text.replace("fhir ", "fhir+").replace(" fhir", "+fhir"))
            .map(|format| Wanted::of(format).media_type),
    }
}

/// Whether `Accept` wants a resource as FHIR, by FHIR's own name, at least as much as the file of type `own` that a Binary
/// holds.
pub fn prefers_fhir(accept: &str, own: &Mime) -> bool {
    let is_own = |found: Wanted| [FHIR_JSON, FHIR_XML].contains(&found.media_type);
    let ranges = accept.split(',').map(Range::read);
    let named = ranges.filter(|range| range.named().is_some_and(is_own)).map(|range| range.quality).max();
    named.is_some_and(|quality| quality > 0 && quality >= quality_of_file(accept, own))
}

/// How much `Accept` wants a file of type `own`, in thousandths: as the range says that names it most closely.
pub fn quality_of_file(accept: &str, own: &Mime) -> u16 {
    let ranges = accept.split(',').map(Range::read);
    let fitting = ranges.filter_map(|range| Some((range.closeness(own)?, range.quality)));
    fitting.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_accept_wants_most() {
        let cases: &[(Option<&str>, Option<&str>)] = &[
            (None, Some("application/fhir+json")),
            (Some("*/*"), Some("application/fhir+json")),
            (Some("application/fhir+xml"), Some("application/fhir+xml")),
            (Some("APPLICATION/FHIR+XML"), Some("application/fhir+xml")),
            (Some("application/xml+fhir"), Some("application/fhir+xml")),
            (Some("text/xml"), Some("text/xml")),
            (Some("application/json"), Some("application/json")),
            (Some("application/fhir+xml;q=0.5, application/fhir+json"), Some("application/fhir+json")),
            (Some("application/fhir+json; q=0.1, application/fhir+xml; q=0.2"), Some("application/fhir+xml")),
            (Some("application/fhir+xml, application/fhir+json"), Some("application/fhir+json")),
            (Some("text/xml, application/fhir+xml"), Some("text/xml")),
            (
                Some(
                    "application/fhir+xml;q=1.0, application/fhir+json;q=1.0, application/xml+fhir;q=0.9, application/json+fhir;q=0.9",
                ),
                Some("application/fhir+json"),
            ),
            (Some("*/*, application/fhir+xml"), Some("application/fhir+xml")),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some("application/xml")),
            (Some("application/xml;q=0.2,*/*;q=0.8"), Some("application/fhir+json")),
            (Some("application/fhir+json;q=0, */*"), Some("application/fhir+xml")),
            (Some("application/fhir+xml; fhirVersion=4.0"), Some("application/fhir+xml")),
            (Some("application/fhir+xml; fhirVersion=3.0"), None),
            (Some("application/fhir+json;q=0"), None),
            (Some("text/csv"), None),
            (Some(""), None),
            (Some("application/fhir+json;q=none"), None),
        ];
        for (accept, expected) in cases {
            let found = Wanted::negotiated(*accept, Format::Json).map(|wanted| wanted.media_type);
            assert_eq!(found.ok(), *expected, "{accept:?}");
        }
        assert_eq!(Wanted::negotiated(None, Format::Xml), Ok(Wanted::of(Format::Xml)));
    }

    #[test]
    fn a_body_is_what_its_content_type_says() {
        for (content_type, expected) in [
            ("application/fhir+json", Some(Format::Json)),
            ("application/fhir+xml; charset=UTF-8", Some(Format::Xml)),
            ("text/xml;charset=\"utf-8\"", Some(Format::Xml)),
            ("text/xml; charset=iso-8859-1", None),
            ("application/fhir+json; fhirVersion=4.0", Some(Format::Json)),
            ("application/fhir+json; fhirVersion=5.0", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(of_content(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn format_parameters_are_recognised() {
        for (text, expected) in [
            ("json", Some(FHIR_JSON)),
            ("application/json", Some(FHIR_JSON)),
            ("application/fhir xml", Some(FHIR_XML)),
            ("application/xml fhir", Some(FHIR_XML)),
            ("text/xml", Some(FHIR_XML)),
            ("ttl", None),
            ("html", None),
        ] {
            assert_eq!(of_parameter(text), expected, "{text}");
        }
    }

    #[test]
    fn a_file_or_the_resource_around_it_is_what_accept_wants_more() {
        for (accept, fhir, file) in [
            ("image/png, application/fhir+xml;q=0.5", false, 1000),
            ("application/fhir+xml;q=0.1,image/png;q=0.9", false, 900),
            ("application/fhir+xml;q=0.9,image/png;q=0.1", true, 100),
            ("application/fhir+json, */*", true, 1000),
            ("application/fhir+json;q=0.9, */*", false, 1000),
            ("application/fhir+json;q=0.5, */*, image/png;q=0.4", true, 400),
            ("application/fhir+json;q=0.5, image/*;q=0.6, */*;q=0.1", false, 600),
            ("image/png, application/fhir+json", true, 1000),
            ("application/fhir+json; fhirVersion=5.0, image/png;q=0.1", false, 100),
            ("application/fhir+json;q=0", false, 0),
            ("IMAGE/PNG; q=0.7", false, 700),
            ("image/png;q=0, */*", false, 0),
            ("application/xml, */*", false, 1000),
            ("text/html", false, 0),
        ] {
            assert_eq!(prefers_fhir(accept, &mime::IMAGE_PNG), fhir, "{accept}");
            assert_eq!(quality_of_file(accept, &mime::IMAGE_PNG), file, "{accept}");
        }
    }
}
