//! Narrative: a `div` of the XHTML that FHIR allows (FHIR R4, Narrative, txt-1 and txt-2). What is
//! neither listed here nor refused by name is refused: scripts, forms, frames, objects, event
//! handlers, and whatever a browser learns next.

use std::ops::Range;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

/// The namespace that a `div` must declare.
pub const XHTML: &str = "http://www.w3.org/1999/xhtml";
/// Deepest nesting of elements.
const DEPTH_MAX: usize = 128;

/// HTML 4.0, chapters 7 to 11 and 15 without what it deprecates, and images.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "kbd",
    "li",
    "map",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
];

/// Their attributes.
const ATTRIBUTES: &[&str] = &[
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "clear",
    "colspan",
    "compact",
    "coords",
    "dir",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "lang",
    "longdesc",
    "name",
    "noshade",
    "nowrap",
    "rel",
    "rev",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "size",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "title",
    "type",
    "usemap",
    "valign",
    "value",
    "vspace",
    "width",
    "xml:lang",
    "xml:space",
    "xmlns",
];

const NOT_XML: &str = "is no well-formed XML";
const NOT_A_DIV: &str = "must be one div with xmlns=\"http://www.w3.org/1999/xhtml\", and nothing around it";

/// Why `text` is no narrative.
pub fn problem(text: &str) -> Option<&'static str> {
    check(text).err()
}

/// Where in a narrative stand the addresses that it links to and shows, as XML writes them: `href` of each `a`, `src` of
/// each `img`. None in what is no narrative.
pub fn addresses(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !text.contains("href") && !text.contains("src") {
        return found;
    }
    let mut reader = Reader::from_str(text);
    while let Ok(event) = reader.read_event() {
        let tag = match event {
            Event::Start(tag) | Event::Empty(tag) => tag,
            Event::Eof => break,
            _ => continue,
        };
        let name = match tag.name().0 {
            "a" => "href",
            "img" => "src",
            _ => continue,
        };
        if let Ok(Some(attribute)) = tag.try_get_attribute(name) {
            // The reader copies nothing: the value is a part of the text, wherever that stands in memory.
            let start = attribute.value.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
            let range = start..start.wrapping_add(attribute.value.len());
            if text.get(range.clone()) == Some(&*attribute.value) {
                found.push(range);
            }
        }
    }
    found
}

fn check(text: &str) -> Result<(), &'static str> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().check_comments = true;
    let (mut depth, mut is_closed, mut says_something) = (0usize, false, false);
    loop {
        match reader.read_event().map_err(|_| NOT_XML)? {
            Event::Start(start) => {
                if is_closed || (depth == 0 && !is_div(&start)) {
                    return Err(NOT_A_DIV);
                }
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err("is nested too deeply");
                }
                element(&start)?;
                says_something |= start.name().0 == "img";
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or(NOT_XML)?;
                is_closed = depth == 0;
            }
            Event::Text(text) => {
                let is_blank = text.trim().is_empty();
                if depth == 0 {
                    return Err(NOT_A_DIV);
                }
                if text.contains("]]>") {
                    return Err(NOT_XML);
                }
                says_something |= !is_blank;
            }
            Event::GeneralRef(reference) if depth > 0 => {
                let is_known = ["lt", "gt", "amp", "quot", "apos"].contains(&&*reference);
                if !is_known && !reference.resolve_char_ref().is_ok_and(|found| found.is_some_and(is_character)) {
                    return Err("holds an entity that XML does not have: the character itself stands for it");
                }
                says_something = true;
            }
            Event::Comment(_) if depth > 0 => {}
            Event::Eof if is_closed && says_something => return Ok(()),
            Event::Eof if is_closed => return Err("says nothing (txt-2)"),
            Event::Eof => return Err(NOT_A_DIV),
            Event::DocType(_) | Event::PI(_) | Event::CData(_) => {
                return Err("holds a document type, a processing instruction or CDATA");
            }
            _ => return Err(NOT_A_DIV),
        }
    }
}

fn is_div(start: &BytesStart<'_>) -> bool {
    let xmlns = start.try_get_attribute("xmlns").ok().flatten();
    start.name().0 == "div" && xmlns.is_some_and(|found| found.value == XHTML)
}

fn element(start: &BytesStart<'_>) -> Result<(), &'static str> {
    if !ELEMENTS.contains(&start.name().0) {
        return Err("holds an element that FHIR does not allow in narrative (txt-1)");
    }
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| NOT_XML)?;
        let name = attribute.key.0;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| NOT_XML)?;
        if attribute.value.contains('<') {
            return Err(NOT_XML);
        }
        if !ATTRIBUTES.contains(&name) || (name == "xmlns" && value != XHTML) {
            return Err("holds an attribute that FHIR does not allow in narrative (txt-1)");
        }
        if ["href", "src", "cite", "longdesc"].contains(&name) && is_script(&value) {
            return Err("holds a link that runs a script (txt-1)");
        }
    }
    Ok(())
}

/// Browsers skip spaces and control characters before and in a scheme.
fn is_script(url: &str) -> bool {
    let plain = url.chars().filter(|character| !character.is_control() && !character.is_whitespace());
    let start: String = plain.take(16).flat_map(char::to_lowercase).collect();
    ["javascript:", "vbscript:", "data:text/html"].iter().any(|scheme| start.starts_with(scheme))
}

/// What a character reference may stand for (XML 1.0, production 2).
pub(crate) fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn div(inner: &str) -> String {
        format!("<div xmlns=\"{XHTML}\">{inner}</div>")
    }

    #[test]
    fn what_fhir_allows_is_accepted() {
        for inner in [
            "text",
            "<p style=\"color: red\" class='a'>1 &lt; 2 &amp;&#160;&#xe9;</p>",
            "<img src=\"#a\" alt=\"b\"/>",
            "<table border=\"1\"><tr><td colspan=\"2\">x</td></tr></table><br/>",
            "<a href=\"http://example.org?a=b&amp;c=d\">x</a><!-- a comment -->",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>",
        ] {
            assert_eq!(problem(&div(inner)), None, "{inner}");
        }
    }

    #[test]
    fn the_addresses_of_links_and_images_are_found_as_they_are_written() {
        let text =
            div("<a title='é' href=\"urn:a?b&amp;c\">href</a><img alt=\"src\" src='b' /><q cite=\"c\">x</q><a/>");
        let found: Vec<&str> = addresses(&text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["urn:a?b&amp;c", "b"]);
    }

    #[test]
    fn what_is_no_narrative_is_refused() {
        for inner in [
            "",
            " \n\t",
            "<p></p>",
            "<script>1</script>",
            "<p onclick=\"a()\">x</p>",
            "<a href=\"javascript:a()\">x</a>",
            "<a href=\" java\tscript:a()\">x</a>",
            "<a href=\"&#106;avascript:a()\">x</a>",
            "<iframe src=\"x\">x</iframe>",
            "<form>x</form>",
            "<x:p xmlns:x=\"urn:x\">x</x:p>",
            "<p>x",
            "x</p>",
            "a & b",
            "&nbsp;",
            "&#1;x",
            "&#xffff;x",
            "<p a=1>x</p>",
            "<p title=\"a<b\">x</p>",
            "<p title=\"a\" title=\"b\">x</p>",
            "<![CDATA[<script>]]>",
            "<?php ?>x",
            "x]]>",
            "<!-- a -- b -->x",
        ] {
            assert!(problem(&div(inner)).is_some(), "{inner}");
        }
        let nested = "<div>".repeat(DEPTH_MAX) + "x" + &"</div>".repeat(DEPTH_MAX);
        for text in [
            "text",
            "<div>text</div>",
            "<p xmlns=\"http://www.w3.org/1999/xhtml\">x</p>",
            "<div xmlns=\"urn:x\">x</div>",
            &format!("<!DOCTYPE div [<!ENTITY a \"b\">]>{}", div("&a;")),
            &format!(" {}", div("x")),
            &format!("{}\n", div("x")),
            &format!("{}{}", div("x"), div("x")),
            &div(&nested),
        ] {
            assert!(problem(text).is_some(), "{text}");
        }
    }
}
