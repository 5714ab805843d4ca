//! `GET /openapi.json`: docs/api/openapi.md. Addresses and methods are those that the routes give,
//! types, elements, codes and search parameters those of the tables that decide: what this says cannot
//! be there and not be answered.

mod inputs;
mod schemas;

use std::sync::LazyLock;

use actix_web::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answer, Body, operation};
use crate::{
    format::{FHIR_JSON, FHIR_XML},
    resources::{Access, Resource, resource, resources},
    server::route::Route,
};

/// The version of OpenAPI that the document is written in: what most tools read.
const OPENAPI_VERSION: &str = "3.0.3";

/// Statuses that any request with a token may get, and those that a write may get besides.
const ANY: &[u16] = &[400, 401, 403, 404, 406, 408, 410, 413, 415, 429, 500, 503, 507];
const OF_WRITES: &[u16] = &[409, 412, 422];

/// What each status of an error means, as docs/api/http.md says at length.
const ERRORS: &[(u16, &str)] = &[
    (400, "a header, a parameter or the form of the body is wrong"),
    (401, "no access token, or one that is not valid"),
    (403, "the token lacks a scope"),
    (404, "absent, or not for this caller; or not supported"),
    (406, "only FHIR in JSON or XML can be produced"),
    (408, "the body did not arrive in time"),
    (409, "two requests wrote one resource at the same time"),
    (410, "deleted"),
    (412, "a precondition does not hold, or a condition names several"),
    (413, "the body, or what would be answered, is too large"),
    (415, "the body has another media type, or is packed otherwise than with gzip"),
    (422, "an element is not what FHIR R4 says, or a rule of CareLedger or its ledger is broken"),
    (429, "too many requests"),
    (500, "a fault of this server"),
    (503, "the ledger or a custodian did not answer in time"),
    (507, "the disk is full: a write was not acknowledged; a search would lack what was written last"),
];

/// What is the same for every organization.
static CONTENT: LazyLock<String> = LazyLock::new(|| {
    let content = json!({"paths": paths(), "components": components()}).to_string();
    // The members alone, to be put beside those that differ.
    content[1..].to_owned()
});

/// The OpenAPI document of the server at `base_url`.
pub fn openapi(base_url: &str) -> Answer {
    let own = json!({
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "CareLedger FHIR gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0"},
            "description": "FHIR R4 (4.0.1). Search parameters are listed without modifiers, chains and _has; elements \
                            without what stands within them: https://hl7.org/fhir/R4 has both. Where tokens are got: \
                            .well-known/smart-configuration.",
        },
        "servers": [{"url": base_url}],
        "security": [{"token": []}],
    });
    let own = own.to_string();
    let bytes = format!("{},{}", own.trim_end_matches('}'), *CONTENT);
    // Two objects, of which the first ends with a list: nothing but its last brace was taken.
    let content_type = Some("application/json".to_owned());
    let body = Body { content_type, ..Body::fhir(bytes.into_bytes()) };
    Answer { body: Some(body), ..Answer::status(StatusCode::OK) }
}

/// Every address, as its segments; those in braces stand for anything.
fn addresses() -> Vec<Vec<String>> {
    let mut addresses = vec![Vec::new(), vec!["_history".to_owned()]];
    let mut add = |segments: &[&str]| addresses.push(segments.iter().map(|&segment| segment.to_owned()).collect());
    for Resource { name, .. } in resources() {
        add(&[name]);
        add(&[name, "_search"]);
        add(&[name, "_history"]);
        add(&[name, "{id}"]);
        add(&[name, "{id}", "_history"]);
        add(&[name, "{id}", "_history", "{version}"]);
        for (on_resource, operation) in operation::on(name) {
            let operation = format!("${operation}");
            if on_resource { add(&[name, "{id}", &operation]) } else { add(&[name, &operation]) }
        }
    }
    add(&["$export"]);
    add(&["Patient", "$export"]);
    add(&["Group", "{id}", "$export"]);
    add(&["bulk", "{job}"]);
    add(&["bulk", "{job}", "{file}"]);
    add(&["Patient", "{id}", "*"]);
    for kind in resources().filter(|kind| !kind.compartment.is_empty() && kind.access == Access::Full) {
        add(&["Patient", "{id}", kind.name]);
        add(&["Patient", "{id}", kind.name, "_search"]);
    }
    addresses
}

fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for address in addresses() {
        let segments: Vec<&str> = address.iter().map(String::as_str).collect();
        let methods = Route::table(&segments).expect("only addresses that the routes have are listed");
        let item: Map<String, Value> = methods
            .iter()
            .map(|(method, route)| (method.as_str().to_ascii_lowercase(), described(method, route, &segments)))
            .collect();
        // A type that clients only read has no history.
        if !item.is_empty() {
            paths.insert(format!("/{}", address.join("/")), Value::Object(item));
        }
    }
    let open = |summary: &str, schema: &str, media_type: &str| {
        json!({"get": {
            "summary": summary,
            "security": [],
            "responses": {"200": {"description": "there", "content": {media_type: {"schema": schemas::named(schema)}}}},
        }})
    };
    paths.insert("/metadata".to_owned(), {
        let mut metadata = open("What the server can do", "CapabilityStatement", FHIR_JSON);
        metadata["get"]["responses"]["200"]["content"][FHIR_XML] = schemas::xml();
        metadata["get"]["responses"]["406"] = response(406);
        metadata["get"]["parameters"] = json!([inputs::shared("_format")]);
        metadata
    });
    paths.insert("/.well-known/smart-configuration".to_owned(), {
        let mut discovery = open("How tokens are got", "SmartConfiguration", "application/json");
        // The identity provider that is announced may not answer.
        discovery["get"]["responses"]["503"] = response(503);
        discovery
    });
    paths.insert("/openapi.json".to_owned(), open("This document", "OpenApi", "application/json"));
    paths
}

/// One method of one address.
fn described(method: &Method, route: &Route<'_>, segments: &[&str]) -> Value {
    let is_read = method == Method::GET || route.has_form() || matches!(route, Route::Operation { .. });
    let mut errors: Vec<u16> = ANY.to_vec();
    if !is_read || matches!(route, Route::Operation { .. }) {
        errors.extend(OF_WRITES);
    }
    let mut responses: Map<String, Value> =
        errors.iter().map(|status| (status.to_string(), response(*status))).collect();
    responses.extend(successes(route));
    let by = match route {
        Route::Operation { .. } if method == Method::GET => "operation-by-get",
        Route::Export { .. } if method == Method::POST => "export-by-post",
        Route::ExportStatus { .. } if method == Method::DELETE => "export-removal",
        _ => name_of(route),
    };
    let name = [by, &segments.join("-").replace(['{', '}', '$', '*'], "")].join("-");
    let mut described = json!({
        "operationId": name.trim_end_matches('-'),
        "summary": format!("{} ({})", name_of(route), docs_of(route)),
        "parameters": inputs::of(route),
        "responses": responses,
    });
    if let Some(resource_type) = segments.first().filter(|first| resource(first).is_some()) {
        described["tags"] = json!([resource_type]);
    }
    if let Some(body) = body(method, route) {
        described["requestBody"] = body;
    }
    described
}

/// The interaction as FHIR calls it.
fn name_of(route: &Route<'_>) -> &'static str {
    match route {
        Route::Bundle => "batch-or-transaction",
        Route::Search { .. } => "search",
        Route::SearchByPost { .. } => "search-by-post",
        Route::Create { .. } => "create",
        Route::Read { .. } => "read",
        Route::Vread { .. } => "vread",
        Route::Update { .. } => "update",
        Route::UpdateByCondition { .. } => "conditional-update",
        Route::Patch { .. } => "patch",
        Route::PatchByCondition { .. } => "conditional-patch",
        Route::Delete { .. } => "delete",
        Route::DeleteByCondition { .. } => "conditional-delete",
        Route::History { .. } => "history",
        Route::Compartment { .. } => "compartment",
        Route::SearchCompartment { .. } => "search-compartment",
        Route::SearchCompartmentByPost { .. } => "search-compartment-by-post",
        Route::Operation { .. } => "operation",
        Route::Export { .. } => "export",
        Route::ExportStatus { .. } => "export-status",
        Route::ExportFile { .. } => "export-file",
    }
}

/// The page of docs/api that says the rest.
fn docs_of(route: &Route<'_>) -> &'static str {
    match route {
        Route::Bundle => "transaction.md, batch.md",
        Route::Search { .. }
        | Route::SearchByPost { .. }
        | Route::SearchCompartment { .. }
        | Route::SearchCompartmentByPost { .. } => "search.md",
        Route::Create { .. } => "create.md",
        Route::Read { .. } => "read.md",
        Route::Vread { .. } => "vread.md",
        Route::Update { .. } | Route::UpdateByCondition { .. } => "update.md",
        Route::Patch { .. } | Route::PatchByCondition { .. } => "patch.md",
        Route::Delete { .. } | Route::DeleteByCondition { .. } => "delete.md",
        Route::History { .. } => "history.md",
        Route::Compartment { .. } => "everything.md",
        Route::Operation { .. } => "operations.md",
        Route::Export { .. } | Route::ExportStatus { .. } | Route::ExportFile { .. } => "export.md",
    }
}

/// What is answered where all went well.
fn successes(route: &Route<'_>) -> Vec<(String, Value)> {
    let resource = |schema: Value, headers: &[&str]| {
        let headers: Map<String, Value> = headers.iter().map(|&name| (name.to_owned(), header(name))).collect();
        json!({"description": "done", "headers": headers, "content": schemas::content(schema)})
    };
    let nothing = |description: &str| json!({"description": description});
    let bundle = || resource(schemas::named("Bundle"), &[]);
    let version = &["ETag", "Last-Modified"];
    let location = &["ETag", "Last-Modified", "Location"];
    let found: Vec<(u16, Value)> = match *route {
        Route::Bundle
        | Route::Search { .. }
        | Route::SearchByPost { .. }
        | Route::SearchCompartment { .. }
        | Route::SearchCompartmentByPost { .. }
        | Route::Compartment { .. }
        | Route::History { .. } => vec![(200, bundle())],
        Route::Create { resource_type } => {
            let schema = schemas::written(resource_type);
            vec![(200, resource(schema.clone(), location)), (201, resource(schema, location))]
        }
        Route::Update { resource_type, .. } | Route::UpdateByCondition { resource_type } => {
            let schema = schemas::written(resource_type);
            vec![(200, resource(schema.clone(), version)), (201, resource(schema, location))]
        }
        Route::Patch { resource_type, .. } | Route::PatchByCondition { resource_type } => {
            vec![(200, resource(schemas::written(resource_type), version))]
        }
        Route::Read { resource_type, .. } | Route::Vread { resource_type, .. } => {
            let mut read = resource(schemas::named(resource_type), version);
            if resource_type == "Binary" {
                // A file is sent as what it is.
                read["content"]["*/*"] = json!({"schema": {}});
            }
            vec![(200, read), (304, nothing("the client has this version already"))]
        }
        Route::Delete { .. } | Route::DeleteByCondition { .. } => vec![(204, nothing("gone, or never there"))],
        Route::Operation { .. } => vec![(200, resource(schemas::any_resource(), &[]))],
        Route::Export { .. } => vec![(202, nothing("begun; Content-Location is where its status is"))],
        Route::ExportStatus { .. } => vec![
            (
                200,
                json!({"description": "ended: its files", "content": {"application/json": {"schema": {"type": "object"}}}}),
            ),
            (202, nothing("it runs; or, where it was to be removed, it is")),
        ],
        Route::ExportFile { .. } => {
            let lines = json!({"schema": {"type": "string"}});
            vec![(
                200,
                json!({"description": "one resource in each line", "content": {"application/fhir+ndjson": lines}}),
            )]
        }
    };
    found.into_iter().map(|(status, response)| (status.to_string(), response)).collect()
}

/// What is sent.
fn body(method: &Method, route: &Route<'_>) -> Option<Value> {
    let required = |content: Value| Some(json!({"required": true, "content": content}));
    match *route {
        Route::Bundle => required(schemas::content(schemas::bundle())),
        Route::SearchByPost { resource_type } | Route::SearchCompartmentByPost { resource_type, .. } => Some(json!({
            "content": {"application/x-www-form-urlencoded": {"schema": schemas::named(&inputs::form_name(resource_type))}},
        })),
        Route::Create { resource_type }
        | Route::Update { resource_type, .. }
        | Route::UpdateByCondition { resource_type } => {
            let mut content = schemas::content(schemas::complete(resource_type));
            if resource_type == "Binary" {
                content["application/octet-stream"] = json!({"schema": {"type": "string", "format": "binary"}});
            }
            required(content)
        }
        Route::Patch { .. } | Route::PatchByCondition { .. } => {
            let mut content = schemas::content(schemas::named("Parameters"));
            content["application/json-patch+json"] = json!({"schema": schemas::json_patch()});
            content["application/merge-patch+json"] = json!({"schema": {"type": "object"}});
            required(content)
        }
        Route::Export { .. } if method == Method::POST => {
            Some(json!({"content": schemas::content(schemas::named("Parameters"))}))
        }
        Route::Operation { name, resource_type, .. } if method == Method::POST => {
            let sent = match name.trim_start_matches('$') {
                "submit" => schemas::named(resource_type),
                // Whatever is sent, what is wrong with it is said.
                operation::VALIDATE => json!({}),
                _ => schemas::named("Parameters"),
            };
            Some(json!({"content": schemas::content(sent)}))
        }
        _ => None,
    }
}

fn response(status: u16) -> Value {
    json!({"$ref": format!("#/components/responses/{status}")})
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn components() -> Value {
    let error = |(status, description): &(u16, &str)| {
        let mut response = json!({
            "description": description,
            "content": schemas::content(schemas::named("OperationOutcome")),
        });
        if *status == 429 {
            response["headers"] = json!({"Retry-After": header("Retry-After")});
        }
        (status.to_string(), response)
    };
    let text = |description: &str| json!({"description": description, "required": true, "schema": {"type": "string"}});
    json!({
        "securitySchemes": {"token": {
            "type": "http",
            "scheme": "bearer",
            "description": "an access token with SMART scopes: auth.md",
        }},
        "headers": {
            "ETag": text("W/\"version\""),
            "Last-Modified": text("when the version was written"),
            "Location": text("the version that was written"),
            "Retry-After": text("seconds to wait"),
        },
        "responses": ERRORS.iter().map(error).collect::<Map<_, _>>(),
        "parameters": inputs::components(),
        "schemas": schemas::components(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn document() -> Value {
        let body = openapi("http://here/a/fhir").body.expect("a body");
        serde_json::from_slice(&body.bytes).expect("JSON")
    }

    /// Every `$ref` below a value.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 500, "{}", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a reference within");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_document_names_every_type_and_parameter_and_no_operation_twice() {
        let document = document();
        assert_eq!(document["openapi"], OPENAPI_VERSION);
        assert_eq!(document["servers"][0]["url"], "http://here/a/fhir");
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                if let Some(name) = operation["operationId"].as_str() {
                    assert!(names.insert(name.to_owned()), "{method} {path}: {name} is there twice");
                }
                assert!(operation["responses"].as_object().is_some_and(|found| !found.is_empty()), "{method} {path}");
            }
        }
        for kind in resources() {
            let search = &document["paths"][format!("/{}", kind.name)]["get"]["parameters"];
            for parameter in &kind.parameters {
                let wanted = format!("#/components/parameters/{}.{}", kind.name, parameter.code);
                assert!(
                    search.as_array().expect("parameters").iter().any(|found| found["$ref"] == *wanted),
                    "{wanted}"
                );
            }
        }
        assert!(document["paths"]["/AuditEvent"]["post"].is_null(), "what clients only read");
        assert!(document["paths"]["/Patient/{id}/$everything"]["get"].is_object());
        assert_eq!(document["paths"]["/metadata"]["get"]["security"], json!([]));
    }

    #[test]
    fn the_document_names_every_address_of_exports() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let named = paths.keys().filter(|path| path.contains("$export") || path.starts_with("/bulk"));
        assert_eq!(named.count(), 5);
    }

    /// A status that can be answered and is not documented would surprise whoever generates a client.
    #[test]
    fn every_status_of_an_error_is_described() {
        for status in ANY.iter().chain(OF_WRITES) {
            assert!(ERRORS.iter().any(|(known, _)| known == status), "{status}");
        }
    }
}
