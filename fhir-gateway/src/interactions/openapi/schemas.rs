//! Bodies. What the schema of a resource refuses, the server refuses; the server refuses more, which no
//! JSON Schema says: docs/api/validation.md.

use serde_json::{Map, Value, json};

use super::inputs;
use crate::{
    format::{FHIR_JSON, FHIR_XML},
    resources::{
        elements::{Definition, Element, Kind, Primitive, definition},
        resources,
    },
};

/// Resources that travel without being kept.
const NOT_KEPT: &[&str] = &["Bundle", "CapabilityStatement", "OperationOutcome", "Parameters"];

/// A reference to a schema.
pub fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A resource as it is sent, with everything that it must have.
pub fn complete(resource_type: &str) -> Value {
    let required = definition(resource_type).into_iter().flat_map(|found| &found.elements);
    let required = required.filter(|element| element.required && element.choice.is_none()).map(|element| element.name);
    let required: Vec<&str> = std::iter::once("resourceType").chain(required).collect();
    json!({"allOf": [named(resource_type), {"required": required}]})
}

/// What a write is answered with: the resource, or what `Prefer` asks for.
pub fn written(resource_type: &str) -> Value {
    json!({"anyOf": [named(resource_type), named("OperationOutcome")]})
}

/// What is sent to the endpoint itself.
pub fn bundle() -> Value {
    json!({"allOf": [named("Bundle"), {
        "required": ["resourceType", "type"],
        "properties": {"type": {"enum": ["transaction", "batch"]}},
    }]})
}

/// Any resource.
pub fn any_resource() -> Value {
    json!({"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"type": "string"}}})
}

/// RFC 6902.
pub fn json_patch() -> Value {
    let operations = ["add", "remove", "replace", "move", "copy", "test"];
    json!({"type": "array", "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {"op": {"type": "string", "enum": operations}, "path": {"type": "string"}, "from": {"type": "string"}},
    }})
}

/// Text of that pattern.
pub fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// XML, which no JSON Schema describes.
pub fn xml() -> Value {
    json!({"schema": {"type": "string"}})
}

/// A resource in both formats.
pub fn content(schema: Value) -> Value {
    json!({FHIR_JSON: {"schema": schema}, FHIR_XML: xml()})
}

/// Every schema.
pub fn components() -> Map<String, Value> {
    let kept = resources().map(|kind| kind.name);
    let mut all: Map<String, Value> = kept
        .chain(NOT_KEPT.iter().copied())
        .filter_map(|name| Some((name.to_owned(), of_type(name, definition(name)?))))
        .collect();
    all.extend(inputs::forms());
    all.insert(
        "SmartConfiguration".to_owned(),
        json!({"type": "object", "required": ["token_endpoint", "grant_types_supported", "capabilities"]}),
    );
    all.insert("OpenApi".to_owned(), json!({"type": "object", "required": ["openapi", "paths"]}));
    all
}

/// A resource as it may be answered: of a summary, much is missing.
fn of_type(name: &str, found: &Definition) -> Value {
    let mut properties = Map::new();
    properties.insert("resourceType".to_owned(), json!({"type": "string", "enum": [name]}));
    for element in &found.elements {
        properties.insert(element.name.to_owned(), of_element(element));
        if let Kind::Primitive(_) = element.kind {
            // What a primitive's id and extensions stand in.
            let beside = if element.repeats {
                with_items(json!({"type": "array"}), json!({"type": "object", "nullable": true}))
            } else {
                json!({"type": "object", "minProperties": 1})
            };
            properties.insert(format!("_{}", element.name), beside);
        }
    }
    json!({
        "type": "object",
        "required": ["resourceType"],
        "properties": properties,
        "additionalProperties": false,
        "externalDocs": {"url": format!("https://hl7.org/fhir/R4/{}.html", name.to_ascii_lowercase())},
    })
}

fn with_items(mut array: Value, items: Value) -> Value {
    array["items"] = items;
    array["minItems"] = json!(1);
    array
}

fn of_element(element: &Element) -> Value {
    let mut one = match element.kind {
        Kind::Primitive(primitive) => of_primitive(primitive, element.codes),
        Kind::Complex(_) | Kind::Resource => json!({"type": "object", "minProperties": 1}),
    };
    if !element.repeats {
        return one;
    }
    if matches!(element.kind, Kind::Primitive(_)) {
        // Where an item has extensions alone.
        one["nullable"] = json!(true);
        if let Some(codes) = one.get_mut("enum").and_then(Value::as_array_mut) {
            codes.push(Value::Null);
        }
    }
    with_items(json!({"type": "array"}), one)
}

fn of_primitive(primitive: Primitive, codes: Option<&[&str]>) -> Value {
    match primitive {
        Primitive::Boolean => json!({"type": "boolean"}),
        Primitive::Decimal => json!({"type": "number"}),
        Primitive::Integer => json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX}),
        Primitive::UnsignedInt => json!({"type": "integer", "minimum": 0, "maximum": i32::MAX}),
        Primitive::PositiveInt => json!({"type": "integer", "minimum": 1, "maximum": i32::MAX}),
        Primitive::Id => pattern("^[A-Za-z0-9.-]{1,64}$"),
        Primitive::Date => pattern("^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$"),
        Primitive::DateTime => pattern("^[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T.*)?)?)?$"),
        Primitive::Instant => pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*$"),
        Primitive::Time => pattern(r"^[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$"),
        Primitive::Oid => pattern("^urn:oid:"),
        Primitive::Uuid => pattern("^urn:uuid:"),
        Primitive::Code => match codes {
            Some(codes) => json!({"type": "string", "enum": codes}),
            None => json!({"type": "string", "minLength": 1}),
        },
        Primitive::Base64Binary
        | Primitive::Canonical
        | Primitive::Markdown
        | Primitive::String
        | Primitive::Uri
        | Primitive::Url
        | Primitive::Xhtml => json!({"type": "string", "minLength": 1}),
    }
}
