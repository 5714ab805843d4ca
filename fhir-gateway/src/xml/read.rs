//! XML to JSON, in one pass over the bytes. What an element may hold is read from the tables; what
//! stands in it is checked afterwards, as with JSON that was sent.

use std::str;

use actix_web::web::Bytes;
use quick_xml::{
    Reader, XmlVersion,
    errors::Error,
    events::{BytesDecl, BytesStart, Event},
};

use super::NAMESPACE;
use crate::{
    format::Format,
    json::{DEPTH_MAX, Document, Position, is_number, quoted},
    outcome::Refusal,
    resources::elements::{Definition, Element, Kind, Primitive, definition},
    validate::path::Path,
};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Reads a resource.
///
/// # Errors
/// [`Refusal::Malformed`] where it is no XML, or XML that is refused as a whole; [`Refusal::Invalid`] where
/// an element or an attribute stands that may not stand there.
pub fn read(bytes: &Bytes) -> Result<Document, Refusal> {
    let malformed =
        |problem, offset| Refusal::Malformed { format: Format::Xml, problem, position: Position::of(bytes, offset) };
    let text = str::from_utf8(bytes).map_err(|error| malformed("it is not UTF-8", error.valid_up_to()))?;
    let from = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let mut reader = Reader::from_str(&text[from..]);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().check_comments = true;
    let mut reading = Reading { text: &text[from..], reader, path: Path::default(), depth: 0, is_first: true };
    let Output { text, places } = reading.document().map_err(|fault| match fault {
        Fault::Malformed { problem, offset } => malformed(problem, from + offset),
        Fault::Invalid { path, problem, offset } => {
            Refusal::Invalid { path, problem: problem.to_owned(), position: Some(Position::of(bytes, from + offset)) }
        }
    })?;
    Document::made_from_xml(text, bytes.clone(), places)
}

/// Why reading stops.
enum Fault {
    Malformed { problem: &'static str, offset: usize },
    Invalid { path: String, problem: &'static str, offset: usize },
}

/// JSON being written, and where in the XML stands what begins at an offset of it.
#[derive(Default)]
struct Output {
    text: String,
    places: Vec<(usize, usize)>,
}

impl Output {
    fn place(&mut self, at: usize) {
        self.places.push((self.text.len(), at));
    }

    fn append(&mut self, other: &Self) {
        let shift = self.text.len();
        self.places.extend(other.places.iter().map(|(json, xml)| (json + shift, *xml)));
        self.text.push_str(&other.text);
    }
}

/// One appearance of an element: of a primitive a value, an id with extensions, or both.
#[derive(Default)]
struct Item {
    value: Option<Output>,
    shadow: Option<Output>,
}

/// The appearances of one element, which stand next to each other.
struct Run {
    element: &'static Element,
    items: Vec<Item>,
}

struct Reading<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    path: Path<'a>,
    depth: usize,
    is_first: bool,
}

impl<'a> Reading<'a> {
    fn document(&mut self) -> Result<Output, Fault> {
        let Some((start, at)) = self.next()? else { return self.malformed("it holds no element") };
        let mut out = Output::default();
        self.resource(&start, at, &mut out, true)?;
        match self.next()? {
            None => Ok(out),
            Some((_, at)) => Err(Fault::Malformed { problem: "more follows after the resource", offset: at }),
        }
    }

    fn offset(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).expect("it lies within the bytes")
    }

    fn malformed<T>(&self, problem: &'static str) -> Result<T, Fault> {
        Err(Fault::Malformed { problem, offset: self.offset() })
    }

    fn invalid<T>(&self, problem: &'static str, offset: usize) -> Result<T, Fault> {
        let path = if self.path.is_empty() { "Resource".to_owned() } else { self.path.to_string() };
        Err(Fault::Invalid { path, problem, offset })
    }

    fn unreadable<T>(&self, error: &Error) -> Result<T, Fault> {
        let problem = match error {
            Error::Syntax(_) => "it ends within markup, or holds markup that is none",
            Error::IllFormed(_) => "an element does not end where it should, or an ampersand begins nothing",
            Error::InvalidAttr(_) => "an attribute is none, or stands twice",
            Error::Escape(_) => "an entity or a character reference is none of XML's own",
            _ => "it is not well formed",
        };
        let offset = usize::try_from(self.reader.error_position()).unwrap_or_default();
        Err(Fault::Malformed { problem, offset })
    }

    /// The next element that begins, and where; none where the one around it ends.
    fn next(&mut self) -> Result<Option<(BytesStart<'a>, usize)>, Fault> {
        loop {
            let at = self.offset();
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => return self.unreadable(&error),
            };
            let is_first = std::mem::replace(&mut self.is_first, false);
            match event {
                // Empty ones are expanded.
                Event::Start(start) | Event::Empty(start) => return Ok(Some((start, at))),
                Event::End(_) => return Ok(None),
                Event::Eof if self.depth == 0 => return Ok(None),
                Event::Eof => return self.malformed("it ends too early"),
                Event::Decl(declaration) if is_first => self.declaration(&declaration)?,
                Event::Decl(_) => return self.malformed("an XML declaration stands within it"),
                Event::DocType(_) => {
                    return Err(Fault::Malformed { problem: "a document type (DTD) is not read", offset: at });
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if text.bytes().all(|byte| byte.is_ascii_whitespace()) => {}
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                    return Err(Fault::Malformed { problem: "text stands outside of every element", offset: at });
                }
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                    return self.invalid("text stands where only elements may", at);
                }
            }
        }
    }

    fn declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), Fault> {
        let is_version = declaration.version().is_ok_and(|version| version == "1.0");
        let is_utf8 = |name: &str| ["utf-8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known));
        let is_encoded = match declaration.encoding() {
            None => true,
            Some(name) => name.is_ok_and(|name| is_utf8(&name)),
        };
        if is_version && is_encoded { Ok(()) } else { self.malformed("it is not XML 1.0 in UTF-8") }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { self.malformed("it is nested too deeply") } else { Ok(()) }
    }

    /// The attributes of an element: those in `allowed`, by name and value; namespaces are checked and left out.
    fn attributes(
        &self,
        start: &BytesStart<'a>,
        at: usize,
        allowed: &[&str],
        is_root: bool,
    ) -> Result<Vec<(String, String)>, Fault> {
        let (mut found, mut is_in_namespace) = (Vec::new(), !is_root);
        for attribute in start.attributes() {
            let attribute = attribute.or_else(|_| self.malformed("an attribute is none, or stands twice"))?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .or_else(|_| self.malformed("an entity or a character reference is none of XML's own"))?;
            if attribute.value.contains('<') {
                return self.malformed("an attribute holds the sign <");
            }
            match attribute.key.0 {
                "xmlns" if value == NAMESPACE => is_in_namespace = true,
                "xmlns" => return self.invalid("is not in the namespace http://hl7.org/fhir", at),
                "xmlns:xsi" | "xsi:schemaLocation" if is_root => {}
                name if allowed.contains(&name) => found.push((name.to_owned(), value.into_owned())),
                _ => return self.invalid("has an attribute that FHIR R4 does not know", at),
            }
        }
        if is_in_namespace { Ok(found) } else { self.invalid("is not in the namespace http://hl7.org/fhir", at) }
    }

    fn resource(&mut self, start: &BytesStart<'a>, at: usize, out: &mut Output, is_root: bool) -> Result<(), Fault> {
        let name = self.name(start, at);
        let Some((name, found)) = definition(name).filter(|found| found.is_resource).map(|found| (name, found)) else {
            return self.invalid("is not a resource of FHIR R4", at);
        };
        if is_root {
            self.path.enter(name);
        }
        self.attributes(start, at, &[], is_root)?;
        out.place(at);
        out.text.push_str(&format!("{{\"resourceType\":{}", quoted(name)));
        self.members(found, out, true)?;
        out.text.push('}');
        Ok(())
    }

    /// The name of an element that begins at `at`, as it stands in the text, which outlives the event.
    fn name(&self, start: &BytesStart<'a>, at: usize) -> &'a str {
        let text = self.text;
        &text[at + 1..at + 1 + start.name().0.len()]
    }

    /// What an element holds, up to its end, as members of a JSON object that was begun.
    fn members(&mut self, found: &'static Definition, out: &mut Output, mut has_members: bool) -> Result<(), Fault> {
        self.enter()?;
        let mut run: Option<(usize, Run)> = None;
        while let Some((start, at)) = self.next()? {
            let name = self.name(&start, at);
            self.path.enter(name);
            let place = found.place(name);
            let Some((place, element)) = place.map(|place| (place, &found.elements[place])) else {
                return self.invalid("is not an element of FHIR R4", at);
            };
            if element.is_attribute {
                return self.invalid("is an attribute in XML", at);
            }
            match &run {
                Some((last, _)) if place < *last => {
                    return self.invalid("stands after an element that it precedes", at);
                }
                Some((last, _)) if place == *last && !element.repeats => {
                    return self.invalid("may stand only once", at);
                }
                Some((last, _)) if place == *last => {}
                _ => {
                    if let Some((_, done)) = run.replace((place, Run { element, items: Vec::new() })) {
                        done.write(out, &mut has_members);
                    }
                }
            }
            let count = run.as_ref().map_or(0, |(_, run)| run.items.len());
            if element.repeats {
                self.path.enter_item(count);
            }
            let item = self.item(element, &start, at)?;
            if element.repeats {
                self.path.leave();
            }
            if let Some((_, run)) = &mut run {
                run.items.push(item);
            }
            self.path.leave();
        }
        if let Some((_, done)) = run {
            done.write(out, &mut has_members);
        }
        self.depth -= 1;
        Ok(())
    }

    fn item(&mut self, element: &'static Element, start: &BytesStart<'a>, at: usize) -> Result<Item, Fault> {
        let mut out = Output::default();
        match element.kind {
            Kind::Primitive(Primitive::Xhtml) => {
                let end = start.to_end().into_owned();
                if let Err(error) = self.reader.read_to_end(end.name()) {
                    return self.unreadable(&error);
                }
                out.place(at);
                out.text = quoted(&self.text[at..self.offset()]);
            }
            Kind::Primitive(kind) => return self.primitive(kind, start, at),
            Kind::Complex(name) => {
                let found = definition(name).expect("a test holds that every element has a known type");
                self.object(found, start, at, &mut out)?;
            }
            Kind::Resource => {
                self.attributes(start, at, &[], false)?;
                let Some((inner, begins)) = self.next()? else { return self.invalid("holds no resource", at) };
                self.enter()?;
                self.resource(&inner, begins, &mut out, false)?;
                self.depth -= 1;
                if let Some((_, more)) = self.next()? {
                    return self.invalid("holds more than one resource", more);
                }
            }
        }
        Ok(Item { value: Some(out), shadow: None })
    }

    fn object(
        &mut self,
        found: &'static Definition,
        start: &BytesStart<'a>,
        at: usize,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let allowed: Vec<&str> =
            found.elements.iter().filter(|element| element.is_attribute).map(|element| element.name).collect();
        let attributes = self.attributes(start, at, &allowed, false)?;
        out.place(at);
        out.text.push('{');
        for (place, (name, value)) in attributes.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            out.text.push_str(&format!("{comma}{}:{}", quoted(name), quoted(value)));
        }
        self.members(found, out, !attributes.is_empty())?;
        out.text.push('}');
        Ok(())
    }

    fn primitive(&mut self, kind: Primitive, start: &BytesStart<'a>, at: usize) -> Result<Item, Fault> {
        let attributes = self.attributes(start, at, &["id", "value"], false)?;
        let of = |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let value = of("value").map(|text| Output { text: token(kind, text), places: vec![(0, at)] });
        let mut shadow = Output::default();
        shadow.place(at);
        shadow.text.push('{');
        if let Some(id) = of("id") {
            shadow.text.push_str(&format!("\"id\":{}", quoted(id)));
        }
        let found = definition("Element").expect("every data type is one");
        self.members(found, &mut shadow, of("id").is_some())?;
        shadow.text.push('}');
        let shadow = (shadow.text != "{}").then_some(shadow);
        if value.is_none() && shadow.is_none() {
            return self.invalid("has neither a value nor an extension", at);
        }
        Ok(Item { value, shadow })
    }
}

/// A primitive as JSON. One that is not of its kind becomes a string, which the validation names.
fn token(kind: Primitive, text: &str) -> String {
    let is_bare = match kind {
        Primitive::Boolean => ["true", "false"].contains(&text),
        Primitive::Decimal | Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt => is_number(text),
        _ => false,
    };
    if is_bare { text.to_owned() } else { quoted(text) }
}

impl Run {
    /// As `"name":…` and `"_name":…`.
    fn write(&self, out: &mut Output, has_members: &mut bool) {
        let name = self.element.name;
        if self.items.iter().any(|item| item.value.is_some()) {
            self.member(name, out, has_members, |item| item.value.as_ref());
        }
        if self.items.iter().any(|item| item.shadow.is_some()) {
            self.member(&format!("_{name}"), out, has_members, |item| item.shadow.as_ref());
        }
    }

    fn member(&self, name: &str, out: &mut Output, has_members: &mut bool, part: impl Fn(&Item) -> Option<&Output>) {
        let comma = if std::mem::replace(has_members, true) { "," } else { "" };
        out.text.push_str(&format!("{comma}{}:", quoted(name)));
        if self.element.repeats {
            out.text.push('[');
        }
        for (at, item) in self.items.iter().enumerate() {
            if at > 0 {
                out.text.push(',');
            }
            match part(item) {
                Some(part) => out.append(part),
                None => out.text.push_str("null"),
            }
        }
        if self.element.repeats {
            out.text.push(']');
        }
    }
}
