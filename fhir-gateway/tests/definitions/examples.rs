//! Every official example: accepted, or refused for a reason that the definitions give.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read as _, Write as _},
    path::Path,
};

use careledger_gateway::{
    json::{Document, Node, Value},
    resources, validate, xml,
};

use super::package::Package;

/// Where the refused ones are listed, with the reason.
const REFUSED: &str = include_str!("../../definitions/refused.txt");

/// Every example and definition is accepted, or refused as the list says; what is accepted becomes XML and
/// comes back the same.
pub fn examples(package: &Package) -> Result<(), String> {
    let mut refused = String::new();
    let (mut accepted, mut altered) = (0, Vec::new());
    for name in package.names().iter().filter(|name| *name != "package.json") {
        match verdict(package.read(name)) {
            Ok(()) => accepted += 1,
            Err(Verdict::Refused(why)) => refused += &format!("{name} {why}\n"),
            Err(Verdict::Altered(why)) => altered.push(format!("{name} {why}")),
        }
    }
    println!(
        "{accepted} accepted and the same after XML, {} refused, {} altered",
        refused.lines().count(),
        altered.len()
    );
    if !altered.is_empty() {
        return Err(altered.join("\n"));
    }
    if refused == REFUSED { Ok(()) } else { Err(format!("definitions/refused.txt should be:\n{refused}")) }
}

/// Largest example that is kept in the repository.
const KEPT_BYTES_MAX: usize = 60_000;

/// Whether an example is one of the thousand ValueSets that say the same in the same elements: all codes of one
/// system, or some of them.
fn is_one_of_many(found: &Document) -> bool {
    let root = found.root();
    let compose = root.get("compose");
    let parts = compose.and_then(|compose| compose.get("include")).map_or(&[][..], Node::items);
    let is_rare = root.get("expansion").is_some()
        || compose.is_some_and(|compose| compose.get("exclude").is_some())
        || parts.iter().any(|part| part.get("valueSet").is_some())
        || found.id().is_some_and(|id| id.starts_with("example-"));
    found.resource_type() == Some("ValueSet") && !is_rare
}

/// The committed examples are those of the package.
pub fn committed(package: &Package) -> Result<(), String> {
    let kept: Vec<&str> = resources::resources().map(|resource| resource.name).collect();
    let mut expected = Vec::new();
    for name in package.names() {
        let bytes = package.read(&name);
        let of = name.split('-').next().filter(|of| kept.contains(of) && bytes.len() <= KEPT_BYTES_MAX);
        let is_of = |found: &Document| found.resource_type() == of && of.is_some() && !is_one_of_many(found);
        if Document::parse(bytes.clone()).is_ok_and(|found| is_of(&found)) {
            expected.extend_from_slice(format!("{name} {}\n", bytes.len()).as_bytes());
            expected.extend_from_slice(&bytes);
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/examples/examples.gz");
    if env::var_os("UPDATE_GENERATED").is_some() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&expected).map_err(|error| error.to_string())?;
        let packed = packed.finish().map_err(|error| error.to_string())?;
        fs::write(&file, packed).map_err(|error| error.to_string())?;
    }
    let packed = fs::read(&file).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut found).map_err(|error| error.to_string())?;
    if found == expected { Ok(()) } else { Err("golden/examples/examples.gz differs: UPDATE_GENERATED=1".to_owned()) }
}

/// Validates the files in the folder that `FHIR_FILES` names, gzip or not, and turns them into XML and back.
pub fn folder(folder: &Path) -> Result<(), String> {
    let mut files: Vec<_> =
        fs::read_dir(folder).map_err(|error| error.to_string())?.flatten().map(|file| file.path()).collect();
    files.sort_unstable();
    let (mut accepted, mut refused) = (0, Vec::new());
    for file in files {
        let name = file.display().to_string();
        let mut bytes = fs::read(&file).map_err(|error| error.to_string())?;
        if name.ends_with(".gz") {
            let packed = std::mem::take(&mut bytes);
            flate2::read::GzDecoder::new(packed.as_slice())
                .read_to_end(&mut bytes)
                .map_err(|error| error.to_string())?;
        } else if !name.ends_with(".json") {
            continue;
        }
        match verdict(bytes) {
            Ok(()) => accepted += 1,
            Err(Verdict::Refused(why) | Verdict::Altered(why)) => refused.push(format!("{name} {why}")),
        }
    }
    println!("{accepted} accepted and the same after XML in {}", folder.display());
    if refused.is_empty() { Ok(()) } else { Err(refused.join("\n")) }
}

/// What is said against a resource.
pub enum Verdict {
    /// It is not accepted.
    Refused(String),
    /// It is accepted, and not what it was after it was XML.
    Altered(String),
}

/// Validates a resource, and turns it into XML and back.
pub fn verdict(bytes: Vec<u8>) -> Result<(), Verdict> {
    let document = Document::parse(bytes).map_err(|refusal| Verdict::Refused(refusal.to_string()))?;
    if let Some(first) = validate::findings(&document).first() {
        return Err(Verdict::Refused(first.to_string()));
    }
    let altered = |what: String| Verdict::Altered(what);
    let written = xml::write(&document).map_err(|refusal| altered(refusal.to_string()))?;
    let again = xml::read(&written.into()).map_err(|refusal| altered(refusal.to_string()))?;
    if let Some(refusal) = validate::findings(&again).first() {
        return Err(altered(refusal.to_string()));
    }
    if same(document.root(), again.root()) { Ok(()) } else { Err(altered("differs".to_owned())) }
}

/// Whether two trees say the same: digits and texts, and the order of everything but members.
fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Object(left), Value::Object(right)) => {
            let of = |members: &[(Box<str>, Node)]| -> BTreeMap<String, Node> {
                members.iter().map(|(key, node)| (key.to_string(), node.clone())).collect()
            };
            let (left, right) = (of(left), of(right));
            left.len() == right.len()
                && left.iter().zip(&right).all(|(left, right)| left.0 == right.0 && same(left.1, right.1))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (left, right) => left == right,
    }
}
