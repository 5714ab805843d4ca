//! Parameters of paths, queries and headers.

use serde_json::{Map, Value, json};

use super::schemas;
use crate::{
    interactions::{export, history, idempotency::KEY_LENGTH_MAX},
    resources::{
        Resource,
        parameters::{Parameter, SearchType},
        resource, resources,
    },
    server::route::Route,
};

/// One alternative of a value, and several with commas between; a comma in one is escaped.
const ALTERNATIVES: &str = r"^(\\.|[^,\\])+(,(\\.|[^,\\])+)*$";
const PREFIX: &str = "(eq|ne|gt|lt|ge|le|sa|eb|ap)?";
const NUMBER: &str = r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?";
/// Days that every month has: which others are dates, no pattern says.
const DATE: &str = "[1-8][0-9]{3}(-(0[1-9]|1[0-2])(-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?Z)?)?)?";
/// A number, alone or with its unit.
const UNIT: &str = r"(\|[A-Za-z0-9:/._-]*\|[A-Za-z0-9/._-]*)?";
/// Latitude, longitude and kilometres.
const NEAR: &str = r"-?[1-8]?[0-9](\.[0-9]{1,9})?\|-?1?[0-7]?[0-9](\.[0-9]{1,9})?(\|[0-9]{1,5}\|km)?";

/// Parameters that are the same wherever they stand: name, place, schema, description.
fn everywhere() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let text = schemas::pattern;
    let names = ["json", "xml", "application/fhir+json", "application/fhir+xml"];
    let time = || text(&format!("^{DATE}$"));
    let include = r"^(\*|[A-Z][A-Za-z]*:[a-z*][a-z-]*(:[A-Z][A-Za-z]*)?)$";
    let count = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    let version = || text("^W/\"[0-9]{1,9}\"$");
    vec![
        ("id", "path", text("^[A-Za-z0-9.-]{1,64}$"), "id of the resource"),
        ("version", "path", text("^[1-9][0-9]{0,8}$"), "number of the version"),
        ("_format", "query", json!({"type": "string", "enum": names}), "goes before Accept"),
        ("_id", "query", text(ALTERNATIVES), "ids"),
        ("_lastUpdated", "query", text(&format!("^{PREFIX}{DATE}(,{PREFIX}{DATE})*$")), "when it last changed"),
        ("_count", "query", count, "entries of a page; 0 for the total alone"),
        ("_total", "query", json!({"type": "string", "enum": ["none", "estimate", "accurate"]}), "whether to count"),
        (
            "_summary",
            "query",
            json!({"type": "string", "enum": ["true", "text", "data", "count", "false"]}),
            "what of each resource",
        ),
        (
            "_shape",
            "query",
            json!({"type": "string", "enum": ["true", "text", "data", "false"]}),
            "what of the resource",
        ),
        ("_elements", "query", text("^[A-Za-z0-9.]+(,[A-Za-z0-9.]+)*$"), "names of elements"),
        ("_include", "query", text(include), "what matches refer to: Type:parameter[:Target], Type:* or *"),
        ("_revinclude", "query", text(include), "what refers to matches"),
        ("_since", "query", time(), "only what changed after"),
        ("_at", "query", time(), "only what was current then"),
        ("start", "query", time(), "care from that date on"),
        ("end", "query", time(), "care up to that date"),
        ("job", "path", json!({"type": "string"}), "an export, as its kick-off named it"),
        ("file", "path", json!({"type": "string"}), "one of its files, as its manifest names it"),
        ("If-Match", "header", version(), "the version that is changed; 412 where it is another"),
        ("If-None-Match", "header", json!({"type": "string"}), "versions that the client has"),
        ("If-None-Exist", "header", json!({"type": "string"}), "a condition: created only where nothing meets it"),
        (
            "Idempotency-Key",
            "header",
            text(&format!("^[!-~]{{1,{KEY_LENGTH_MAX}}}$")),
            "sent again under its key, a create is the same create",
        ),
        ("Prefer", "header", json!({"type": "string"}), "return=…, handling=…"),
    ]
}

/// A reference to one of the parameters of [`everywhere`].
pub fn shared(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

/// The parameters of a route.
pub fn of(route: &Route<'_>) -> Vec<Value> {
    let (names, searched): (&[&str], Option<&str>) = match *route {
        Route::Bundle => (&["Prefer"], None),
        Route::Search { resource_type } => (&["Prefer"], Some(resource_type)),
        Route::SearchByPost { .. } => (&["Prefer"], None),
        Route::Create { .. } => (&["If-None-Exist", "Idempotency-Key", "Prefer", "_format"], None),
        Route::Read { .. } => (&["id", "If-None-Match", "_shape", "_elements", "_format"], None),
        Route::Vread { .. } => (&["id", "version", "If-None-Match", "_shape", "_elements", "_format"], None),
        Route::Update { .. } => (&["id", "If-Match", "Prefer", "_format"], None),
        Route::Patch { .. } => (&["id", "If-Match", "Prefer", "_format"], None),
        Route::Delete { .. } => (&["id", "If-Match"], None),
        Route::UpdateByCondition { resource_type } | Route::PatchByCondition { resource_type } => {
            return [vec![shared("If-Match"), shared("Prefer")], criteria(resource_type)].concat();
        }
        Route::DeleteByCondition { resource_type } => {
            return [vec![shared("If-Match")], criteria(resource_type)].concat();
        }
        Route::History { of: history::Of::Resource(..) } => (&["id", "_count", "_since", "_at", "_format"], None),
        Route::History { .. } => (&["_count", "_since", "_at", "_format"], None),
        Route::Compartment { .. } => (&["id", "_count", "_since", "start", "end", "_format"], None),
        Route::SearchCompartment { resource_type, .. } => (&["id", "Prefer"], Some(resource_type)),
        Route::SearchCompartmentByPost { .. } => (&["id", "Prefer"], None),
        Route::Export { of: export::Of::Group(_) } => (&["id", "Prefer", "_since"], None),
        Route::Export { .. } => (&["Prefer", "_since"], None),
        Route::ExportStatus { .. } => (&["job"], None),
        Route::ExportFile { .. } => (&["job", "file"], None),
        Route::Operation { id: Some(_), name: "$everything", .. } => {
            (&["id", "_count", "_since", "start", "end", "_format"], None)
        }
        Route::Operation { name: "$docref", .. } => (&["docref.patient", "docref.start", "docref.end", "_count"], None),
        Route::Operation { id: Some(_), .. } => (&["id"], None),
        Route::Operation { id: None, .. } => (&[], None),
    };
    let own = names.iter().map(|name| shared(name));
    own.chain(searched.map(search).unwrap_or_default()).collect()
}

/// What a search takes: criteria, and what is said about the result.
fn search(resource_type: &str) -> Vec<Value> {
    let about = ["_count", "_total", "_summary", "_elements", "_include", "_revinclude", "_format"];
    let sort = shared(&format!("{resource_type}._sort"));
    [criteria(resource_type), about.map(shared).to_vec(), vec![sort]].concat()
}

/// The criteria of a type.
fn criteria(resource_type: &str) -> Vec<Value> {
    let own = resource(resource_type).into_iter().flat_map(|kind| &kind.parameters);
    let own = own.map(|parameter| shared(&format!("{resource_type}.{}", parameter.code)));
    ["_id", "_lastUpdated"].map(shared).into_iter().chain(own).collect()
}

/// The name of the schema of a type's search by form.
pub fn form_name(resource_type: &str) -> String {
    format!("{resource_type}.search")
}

/// The searches by form, as schemas.
pub fn forms() -> Map<String, Value> {
    let known: Map<String, Value> = components();
    let form = |kind: &'static Resource| {
        let parameters = search(kind.name).into_iter().filter_map(|found| {
            let name = found["$ref"].as_str()?.rsplit('/').next()?.to_owned();
            let described = known.get(&name)?;
            Some((described["name"].as_str()?.to_owned(), described["schema"].clone()))
        });
        (form_name(kind.name), json!({"type": "object", "properties": parameters.collect::<Map<_, _>>()}))
    };
    resources().map(form).collect()
}

/// Every parameter, by the name that [`shared`] refers to.
pub fn components() -> Map<String, Value> {
    let parameter = |name: &str, place: &str, schema: Value, description: &str, is_required: bool| json!({"name": name, "in": place, "schema": schema, "description": description, "required": is_required});
    let mut all = Map::new();
    for (name, place, schema, description) in everywhere() {
        // A read has fewer summaries than a search.
        let shown = if name == "_shape" { "_summary" } else { name };
        all.insert(name.to_owned(), parameter(shown, place, schema, description, place == "path"));
    }
    let id = json!({"type": "string", "pattern": "^[A-Za-z0-9.-]{1,64}$"});
    all.insert("docref.patient".to_owned(), parameter("patient", "query", id, "the patient's id", true));
    for name in ["start", "end"] {
        let time = all[name]["schema"].clone();
        all.insert(format!("docref.{name}"), parameter(name, "query", time, "what the documents are about", false));
    }
    for kind in resources() {
        for found in &kind.parameters {
            let shown = found.search_type.code();
            all.insert(
                format!("{}.{}", kind.name, found.code),
                parameter(found.code, "query", schema_of(found), shown, false),
            );
        }
        all.insert(format!("{}._sort", kind.name), parameter("_sort", "query", sort(kind), "the order", false));
    }
    all
}

/// The values of a search parameter.
fn schema_of(parameter: &Parameter) -> Value {
    let pattern = match (parameter.search_type, &parameter.composite) {
        (SearchType::Composite, Some(composite)) => {
            let [first, second] = composite.types.map(one);
            format!("^{first}\\${second}(,{first}\\${second})*$")
        }
        // One word, which sounds like something.
        _ if parameter.is_phonetic() => "^[A-Za-z]+$".to_owned(),
        (SearchType::Token | SearchType::Reference | SearchType::String | SearchType::Uri, _) => {
            ALTERNATIVES.to_owned()
        }
        (other, _) => format!("^{0}(,{0})*$", one(other)),
    };
    schemas::pattern(&pattern)
}

/// One value of a type.
fn one(search_type: SearchType) -> String {
    match search_type {
        SearchType::Date => format!("{PREFIX}{DATE}"),
        SearchType::Number => format!("{PREFIX}{NUMBER}"),
        SearchType::Quantity => format!("{PREFIX}{NUMBER}{UNIT}"),
        SearchType::Special => NEAR.to_owned(),
        SearchType::Token | SearchType::Reference | SearchType::String | SearchType::Uri | SearchType::Composite => {
            r"(\\.|[^,$\\])+".to_owned()
        }
    }
}

/// The keys of an order: parameters of the type that have one.
fn sort(kind: &Resource) -> Value {
    let has_order = |found: &&Parameter| !matches!(found.search_type, SearchType::Composite | SearchType::Special);
    let codes: Vec<&str> = kind.parameters.iter().filter(has_order).map(|found| found.code).collect();
    let key = format!("-?(_id|_lastUpdated|{})", codes.join("|"));
    schemas::pattern(&format!("^{key}(,{key}){{0,7}}$"))
}
