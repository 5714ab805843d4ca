//! What a file holds, piece by piece: no more of it is in memory than what is being sent.

use std::{
    fmt,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::super::Failure;

/// Where a piece stands in its file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a file of lines.
    Line(usize),
    /// In a Bundle.
    Entry(usize),
}

impl Place {
    /// Its number.
    pub fn number(self) -> u64 {
        let (Self::Line(number) | Self::Entry(number)) = self;
        u64::try_from(number).expect("a file's parts are counted")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(out, "line {number}"),
            Self::Entry(number) => write!(out, "entry {number}"),
        }
    }
}

/// One request of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands.
    pub place: Place,
    /// The id that it keeps.
    pub put: Option<String>,
    /// Path below the FHIR endpoint.
    pub path: String,
    /// What is sent.
    pub body: String,
}

/// How a file is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A piece on each line.
    Lines,
    /// One piece: a resource, or a transaction, of which nothing takes effect without the rest.
    Whole,
    /// A piece for each entry of a batch, in which each stands for itself.
    Batch,
}

/// What a file holds, seen by reading all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How it is cut.
    pub form: Form,
    /// Requests.
    pub total: usize,
    /// Of these, those that keep an id.
    pub kept: usize,
}

/// Reads a file through, before anything of it is sent.
///
/// # Errors
/// What is wrong with it, and where.
pub fn look(file: &Path) -> Result<Found, Failure> {
    let form = match is_lines(file) {
        true => Form::Lines,
        false => form_of(file)?,
    };
    let mut found = Found { form, total: 0, kept: 0 };
    each(file, form, |piece| {
        found.total += 1;
        found.kept += usize::from(piece.put.is_some());
        Ok(())
    })?;
    Ok(found)
}

/// Hands the pieces of a file to `take`, in their order, until it fails.
///
/// # Errors
/// What is wrong with the file, and what `take` says.
pub fn each(file: &Path, form: Form, mut take: impl FnMut(Piece) -> Result<(), Failure>) -> Result<(), Failure> {
    let shown = file.display();
    let mut content = open(file)?;
    match form {
        Form::Lines => {
            for (number, line) in (1..).zip(content.lines()) {
                let fault = |problem: String| format!("{shown} line {number}: {problem}");
                let body = line.map_err(|error| fault(error.to_string()))?;
                if !body.trim().is_empty() {
                    take(piece(Place::Line(number), body).map_err(fault)?)?;
                }
            }
        }
        Form::Whole => {
            let fault = |problem: String| format!("{shown}: {problem}");
            let mut body = String::new();
            content.read_to_string(&mut body).map_err(|error| fault(error.to_string()))?;
            take(piece(Place::Line(1), body).map_err(fault)?)?;
        }
        Form::Batch => {
            let mut refused = None;
            let mut number = 0;
            let mut entry = |raw: &RawValue| {
                number += 1;
                let body = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{raw}]}}"#);
                let taken = take(Piece { place: Place::Entry(number), put: None, path: String::new(), body });
                taken.map_err(|failure| refused = Some(failure)).is_ok()
            };
            let read = Batch(&mut entry).deserialize(&mut serde_json::Deserializer::from_reader(content));
            if let Some(failure) = refused {
                return Err(failure);
            }
            read.map_err(|error| format!("{shown}: {error}"))?;
        }
    }
    Ok(())
}

/// The name without the end that says that it is packed.
fn unpacked(file: &Path) -> (String, bool) {
    let name = file.to_string_lossy().into_owned();
    match name.strip_suffix(".gz") {
        Some(unpacked) => (unpacked.to_owned(), true),
        None => (name, false),
    }
}

fn is_lines(file: &Path) -> bool {
    unpacked(file).0.ends_with(".ndjson")
}

fn open(file: &Path) -> Result<BufReader<Box<dyn Read>>, Failure> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let is_packed = unpacked(file).1;
    let content: Box<dyn Read> = if is_packed { Box::new(MultiGzDecoder::new(opened)) } else { Box::new(opened) };
    Ok(BufReader::new(content))
}

/// What a resource says of itself; all else is passed over.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    #[serde(default, rename = "type")]
    kind: Value,
}

fn form_of(file: &Path) -> Result<Form, Failure> {
    let outline: Outline =
        serde_json::from_reader(open(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    let is_batch = outline.resource_type.as_deref() == Some("Bundle") && outline.kind == "batch";
    Ok(if is_batch { Form::Batch } else { Form::Whole })
}

fn piece(place: Place, body: String) -> Result<Piece, String> {
    let resource: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let text = |name: &str| resource[name].as_str().map(str::to_owned);
    let resource_type = text("resourceType").ok_or("there is no resourceType: not a FHIR resource")?;
    match (resource_type.as_str(), text("type").as_deref()) {
        ("Bundle", Some("transaction" | "batch")) => Ok(Piece { place, put: None, path: String::new(), body }),
        ("Bundle", kind) => {
            let kind = kind.unwrap_or("none");
            Err(format!("a Bundle of type {kind} says not what to do with its entries: make it a transaction"))
        }
        _ => Ok(Piece { place, put: text("id"), path: resource_type, body }),
    }
}

/// A Bundle, of which the entries are handed over as they are read, until one is not taken.
struct Batch<'a, F>(&'a mut F);

impl<'de, F: FnMut(&RawValue) -> bool> DeserializeSeed<'de> for Batch<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&RawValue) -> bool> Visitor<'de> for Batch<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a Bundle")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "entry" {
                map.next_value_seed(Entries(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Entries<'a, F>(&'a mut F);

impl<'de, F: FnMut(&RawValue) -> bool> DeserializeSeed<'de> for Entries<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&RawValue) -> bool> Visitor<'de> for Entries<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(raw) = entries.next_element::<Box<RawValue>>()? {
            if !(self.0)(&raw) {
                return Err(serde::de::Error::custom("an entry was not taken"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pieces(name: &str, text: &str) -> Result<(Found, Vec<Piece>), Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let found = look(&path)?;
        let mut pieces = Vec::new();
        each(&path, found.form, |piece| {
            pieces.push(piece);
            Ok(())
        })?;
        assert_eq!(pieces.len(), found.total);
        Ok((found, pieces))
    }

    #[test]
    fn a_file_is_read_line_by_line_and_a_fault_names_its_line() {
        let text = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n\n{\"resourceType\":\"Observation\"}\n";
        let (found, read) = pieces("a.ndjson", text).unwrap();
        assert_eq!(found, Found { form: Form::Lines, total: 2, kept: 1 });
        let read: Vec<_> = read.into_iter().map(|piece| (piece.place, piece.path, piece.put)).collect();
        let expected = [
            (Place::Line(1), "Patient".to_owned(), Some("p".to_owned())),
            (Place::Line(3), "Observation".to_owned(), None),
        ];
        assert_eq!(read, expected);
        for (text, expected) in [
            ("{\"resourceType\":\"Patient\"}\n{\"resource", "b.ndjson line 2"),
            ("{}\n", "no resourceType"),
            ("{\"resourceType\":\"Bundle\",\"type\":\"collection\"}\n", "Bundle of type collection"),
        ] {
            let message = pieces("b.ndjson", text).err().unwrap().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_batch_is_read_entry_by_entry_wherever_its_type_stands_and_a_transaction_as_a_whole() {
        let entry = |id: &str| format!(r#"{{"resource":{{"id":"{id}","multipleBirthInteger":1.00}}}}"#);
        let entries = [entry("a"), entry("b")].join(" , ");
        for text in [
            format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{entries}]}}"#),
            format!(r#"{{"entry":[{entries}],"meta":{{"tag":[]}},"type":"batch","resourceType":"Bundle"}}"#),
        ] {
            let (found, read) = pieces("batch.json", &text).unwrap();
            assert_eq!(found, Found { form: Form::Batch, total: 2, kept: 0 });
            assert_eq!(read[1].place, Place::Entry(2));
            let expected = format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{}]}}"#, entry("b"));
            assert_eq!(read[1].body, expected, "as it was written");
        }
        let transaction = format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{entries}]}}"#);
        let (found, read) = pieces("transaction.json", &transaction).unwrap();
        assert_eq!((found.form, found.total, read[0].body.as_str()), (Form::Whole, 1, transaction.as_str()));
        let (found, read) =
            pieces("one.json", r#"{"resourceType":"Encounter","id":"e","type":[{"text":"batch"}]}"#).unwrap();
        assert_eq!((found.form, read[0].put.as_deref()), (Form::Whole, Some("e")));
        let cut = pieces("cut.json", r#"{"resourceType":"Bundle","type":"batch","entry":[{"a":1},{"#).err().unwrap();
        assert!(cut.to_string().contains("cut.json"), "{cut}");
    }
}
