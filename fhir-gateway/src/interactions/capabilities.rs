//! `GET /metadata`: docs/api/capabilities.md. Resource types, who may write them, search parameters
//! and operations are read from the tables that decide; what the interactions do with them is
//! written here, and a test asks for each.

use std::{collections::HashMap, sync::LazyLock};

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, operation};
use crate::{
    format::{FHIR_JSON, FHIR_XML},
    json::instant,
    resources::{Access, Resource, parameters::SearchType, resources},
};

/// FHIR version of this server.
const FHIR_VERSION: &str = "4.0.1";
/// The definition of `$validate`.
const VALIDATE_DEFINITION: &str = "http://hl7.org/fhir/OperationDefinition/Resource-validate";
/// Guides that are implemented, as far as their pages in docs/api say.
const GUIDES: &[&str] = &[
    "https://profiles.ihe.net/ITI/BALP/ImplementationGuide/ihe.iti.balp",
    "https://profiles.ihe.net/ITI/MHD/ImplementationGuide/ihe.iti.mhd",
];
/// Statements of guides whose every demand is met. Each has a test with the guide's own examples.
const INSTANTIATES: &[&str] = &[
    "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient",
    "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Comprehensive",
    "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Generate",
    "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.Simplified",
    "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentRecipient.UnContained",
    "https://profiles.ihe.net/ITI/MHD/CapabilityStatement/IHE.MHD.DocumentResponder",
];
/// What the operations of Bulk Data Access are defined by.
const BULK_DATA: &str = "http://hl7.org/fhir/uv/bulkdata";
/// The operations of Bulk Data Access: at which type (none: at the server), and the last part of the definition.
const EXPORTS: [(Option<&str>, &str); 3] =
    [(None, "export"), (Some("Patient"), "patient-export"), (Some("Group"), "group-export")];
/// When the statement last changed in meaning, Unix seconds.
const CHANGED: i64 = 1_795_305_600;

/// The CapabilityStatement of the server at `base_url`, which pages of these origins may call.
pub fn capabilities(base_url: &str, origins: &[String]) -> Answer {
    let types: Vec<Value> = resources().map(of_type).collect();
    let endpoint = base_url.strip_suffix("/fhir").unwrap_or(base_url);
    let oauth = json!([{
        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
        "extension": [{"url": "token", "valueUri": format!("{endpoint}/auth/token")}],
    }]);
    let security = json!({
        "extension": oauth,
        "cors": !origins.is_empty(),
        "service": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
            "code": "SMART-on-FHIR",
        }]}],
        "description": "SMART Backend Services; see .well-known/smart-configuration",
    });
    let bulk_data = format!("{BULK_DATA}/CapabilityStatement/bulk-data");
    let instantiates: Vec<&str> = INSTANTIATES.iter().copied().chain([bulk_data.as_str()]).collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(CHANGED),
        "kind": "instance",
        "instantiates": instantiates,
        "software": {"name": "CareLedger FHIR gateway", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "CareLedger FHIR gateway", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": [FHIR_JSON, "json", FHIR_XML, "xml"],
        "patchFormat": ["application/json-patch+json", FHIR_JSON, FHIR_XML, "application/merge-patch+json"],
        "implementationGuide": GUIDES,
        "rest": [{
            "mode": "server",
            "security": security,
            "resource": types,
            "compartment": ["http://hl7.org/fhir/CompartmentDefinition/patient"],
            "interaction": [{"code": "transaction"}, {"code": "batch"}, {"code": "history-system"}],
            "operation": exports(None),
        }],
    });
    Answer::fhir(StatusCode::OK, statement.to_string().into_bytes())
}

/// `$export` of a type, or of the server, where there is one.
fn exports(resource_type: Option<&str>) -> Vec<Value> {
    let own = EXPORTS.iter().filter(|(at, _)| *at == resource_type);
    let operation =
        |name: &str| json!({"name": "export", "definition": format!("{BULK_DATA}/OperationDefinition/{name}")});
    own.map(|(_, name)| operation(name)).collect()
}

/// The references that point at each type, as `_revinclude` names them.
static REVERSE: LazyLock<HashMap<&'static str, Vec<String>>> = LazyLock::new(|| {
    let mut reverse: HashMap<&'static str, Vec<String>> = HashMap::new();
    for source in resources().filter(|kind| kind.access == Access::Full) {
        for parameter in source.parameters.iter().filter(|found| found.search_type == SearchType::Reference) {
            for target in source.targets(parameter) {
                reverse.entry(target.name).or_default().push(format!("{}:{}", source.name, parameter.code));
            }
        }
    }
    reverse
});

fn of_type(resource: &Resource) -> Value {
    let interactions: &[&str] = match resource.access {
        Access::Full => {
            &["read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type"]
        }
        Access::ReadOnly => &["read", "vread", "search-type"],
        Access::Own => &["read", "update", "patch", "delete", "create", "search-type"],
    };
    let interactions: Vec<Value> = interactions.iter().map(|code| json!({"code": code})).collect();
    let is_writable = resource.access == Access::Full;
    let mut parameters = vec![json!({"name": "_id", "type": "token"}), json!({"name": "_lastUpdated", "type": "date"})];
    parameters.extend(resource.parameters.iter().map(|parameter| {
        let mut described = json!({"name": parameter.code, "type": parameter.search_type.code()});
        if let Some(definition) = parameter.definition {
            described["definition"] = json!(definition);
        }
        described
    }));
    let references = resource.parameters.iter().filter(|parameter| parameter.search_type == SearchType::Reference);
    let includes = references.map(|parameter| format!("{}:{}", resource.name, parameter.code));
    let includes: Vec<String> = std::iter::once("*".to_owned()).chain(includes).collect();
    let operation = |name: &str| json!({"name": name, "definition": operation::definition_of(name)});
    let mut operations: Vec<Value> = operation::names(resource.name).map(operation).collect();
    operations.push(json!({"name": operation::VALIDATE, "definition": VALIDATE_DEFINITION}));
    operations.extend(exports(Some(resource.name)));
    let mut described = json!({
        "type": resource.name,
        "interaction": interactions,
        "versioning": versioning(resource.access),
        "readHistory": is_writable,
        "updateCreate": is_writable,
        "conditionalCreate": is_writable,
        "conditionalRead": "full-support",
        "conditionalUpdate": is_writable,
        "conditionalDelete": if is_writable { "single" } else { "not-supported" },
        "searchParam": parameters,
        "operation": operations,
    });
    if is_writable {
        described["searchInclude"] = json!(includes);
        described["searchRevInclude"] = json!(REVERSE.get(resource.name));
    }
    described
}

/// What is kept of versions: of a Subscription the current one, which `If-Match` may name.
fn versioning(access: Access) -> &'static str {
    match access {
        Access::Full => "versioned-update",
        Access::ReadOnly => "no-version",
        Access::Own => "versioned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::Document, validate};

    #[test]
    fn the_statement_is_valid_and_names_every_type() {
        let answer = capabilities("http://here/a/fhir", &[]);
        let body = answer.body.expect("a body").bytes;
        let document = Document::parse(body).expect("JSON");
        validate::resource(&document).expect("a valid CapabilityStatement");
        let value = document.to_value();
        let types = value["rest"][0]["resource"].as_array().expect("types");
        assert_eq!(types.len(), resources().count());
        let patient = types.iter().find(|entry| entry["type"] == "Patient").expect("Patient");
        assert!(
            patient["searchParam"].as_array().expect("parameters").iter().any(|found| found["name"] == "identifier")
        );
        assert_eq!(patient["operation"][0]["name"], "attest");
        let has = |name: &str, text: &str| patient[name].as_array().expect("a list").iter().any(|found| found == text);
        assert!(has("searchInclude", "Patient:organization") && has("searchRevInclude", "Provenance:target"));
        assert!(!has("searchRevInclude", "Observation:encounter"));
        let audit = types.iter().find(|entry| entry["type"] == "AuditEvent").expect("AuditEvent");
        assert!(!audit["interaction"].to_string().contains("create"));
    }

    #[test]
    fn the_statement_names_every_export() {
        let body = capabilities("http://here/a/fhir", &[]).body.expect("a body").bytes;
        let statement = Document::parse(body).expect("JSON").to_value();
        let rest = &statement["rest"][0];
        let of_types = rest["resource"].as_array().expect("types").iter().map(|kind| &kind["operation"]);
        let named = std::iter::once(&rest["operation"]).chain(of_types).flat_map(|found| found.as_array().cloned());
        let definitions = named.flatten().filter(|operation| operation["name"] == "export");
        let mut definitions: Vec<String> = definitions.map(|operation| operation["definition"].to_string()).collect();
        definitions.sort();
        let expected = ["export", "group-export", "patient-export"]
            .map(|name| format!("\"{BULK_DATA}/OperationDefinition/{name}\""));
        assert_eq!(definitions, expected);
        assert!(statement["instantiates"].to_string().contains(BULK_DATA));
    }
}
