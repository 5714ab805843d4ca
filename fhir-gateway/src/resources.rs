//! The table of resource types that this server keeps, each with what clients may do to it.
//!
//! All travel the same way: validated, sealed, anchored, indexed. Elements, codes and search
//! parameters come from the official definitions (`definitions/`).

pub mod elements;
pub mod parameters;

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use elements::Element;
use parameters::Parameter;

/// What clients may do to the resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Read and search; the server itself writes them, once.
    ReadOnly,
    /// Everything but versions and conditions, each client with its own; those of others are absent. They are kept
    /// apart from records: no index, history, export or Bundle of type transaction has them.
    Own,
}

/// A resource type that this server keeps.
#[derive(Debug)]
pub struct Resource {
    /// Name, as in `resourceType`.
    pub name: &'static str,
    /// What clients may do.
    pub access: Access,
    /// Search parameters beyond those of all resources.
    pub parameters: Vec<Parameter>,
    /// By which of them a resource is in the compartment of a Patient; none where it never is.
    pub compartment: BTreeSet<&'static str>,
}

/// Types that are kept. AuditEvents are written by the server, and never changed; Subscriptions are each client's own.
const KEPT: &[(&str, Access)] = &[
    ("AllergyIntolerance", Access::Full),
    ("Appointment", Access::Full),
    ("AuditEvent", Access::ReadOnly),
    ("Binary", Access::Full),
    ("CarePlan", Access::Full),
    ("CareTeam", Access::Full),
    ("Claim", Access::Full),
    ("ClaimResponse", Access::Full),
    ("Communication", Access::Full),
    ("Composition", Access::Full),
    ("Condition", Access::Full),
    ("Consent", Access::Full),
    ("Coverage", Access::Full),
    ("CoverageEligibilityRequest", Access::Full),
    ("CoverageEligibilityResponse", Access::Full),
    ("Device", Access::Full),
    ("DiagnosticReport", Access::Full),
    ("DocumentManifest", Access::Full),
    ("DocumentReference", Access::Full),
    ("Encounter", Access::Full),
    ("EpisodeOfCare", Access::Full),
    ("ExplanationOfBenefit", Access::Full),
    ("Goal", Access::Full),
    ("Group", Access::Full),
    ("ImagingStudy", Access::Full),
    ("Immunization", Access::Full),
    ("InsurancePlan", Access::Full),
    ("List", Access::Full),
    ("Location", Access::Full),
    ("Media", Access::Full),
    ("Medication", Access::Full),
    ("MedicationAdministration", Access::Full),
    ("MedicationDispense", Access::Full),
    ("MedicationRequest", Access::Full),
    ("MedicationStatement", Access::Full),
    ("Observation", Access::Full),
    ("Organization", Access::Full),
    ("Patient", Access::Full),
    ("Practitioner", Access::Full),
    ("PractitionerRole", Access::Full),
    ("Procedure", Access::Full),
    ("Provenance", Access::Full),
    ("RelatedPerson", Access::Full),
    ("Schedule", Access::Full),
    ("ServiceRequest", Access::Full),
    ("Slot", Access::Full),
    ("Specimen", Access::Full),
    ("Subscription", Access::Own),
    ("SupplyDelivery", Access::Full),
    ("Task", Access::Full),
    ("ValueSet", Access::Full),
];

static RESOURCES: LazyLock<HashMap<&'static str, Resource>> = LazyLock::new(|| {
    let mut parameters = parameters::all();
    let mut compartments = parameters::compartments();
    let resource = |&(name, access): &(&'static str, Access)| {
        let parameters = parameters.remove(name).unwrap_or_default();
        let compartment = compartments.remove(name).unwrap_or_default();
        (name, Resource { name, access, parameters, compartment })
    };
    KEPT.iter().map(resource).collect()
});

/// The kept type of that name.
pub fn resource(name: &str) -> Option<&'static Resource> {
    RESOURCES.get(name)
}

/// Every kept type, by name.
pub fn resources() -> impl Iterator<Item = &'static Resource> {
    KEPT.iter().filter_map(|(name, _)| resource(name))
}

impl Resource {
    /// The search parameter `code`.
    pub fn parameter(&self, code: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.code == code)
    }

    /// The kept types that a reference may point at, as its parameter finds it.
    pub fn targets(&self, parameter: &Parameter) -> Vec<&'static Resource> {
        let mut names = BTreeSet::new();
        for path in parameter.paths.iter().filter(|path| path.leaf == "Reference") {
            match (path.target, elements::at(self.name, path.steps.iter().map(|step| step.name))) {
                (Some(target), _) => names.extend([target]),
                (None, Some(Element { targets: Some(targets), .. })) => names.extend(targets.iter().copied()),
                (None, _) => names.extend(KEPT.iter().map(|(name, _)| *name)),
            }
        }
        names.into_iter().filter_map(resource).collect()
    }

    /// The date by which `_sort=date` and its like order this type: the clinically relevant one.
    pub fn principal_date(&self) -> Option<&Parameter> {
        const IN_ORDER: &[&str] =
            &["date", "authoredon", "authored-on", "recorded-date", "created", "recorded", "started", "birthdate"];
        IN_ORDER.iter().find_map(|code| self.parameter(code))
    }
}

#[cfg(test)]
mod tests {
    use super::{elements::Kind, parameters::SearchType, *};

    #[test]
    fn every_kept_type_is_defined_and_searchable() {
        for resource in resources() {
            assert!(elements::definition(resource.name).is_some_and(|found| found.is_resource), "{}", resource.name);
            assert!(resource.parameter("_tag").is_some(), "{}", resource.name);
        }
    }

    #[test]
    fn clinical_types_are_found_by_patient_and_date() {
        for name in ["Observation", "Condition", "Procedure", "Encounter", "DocumentReference", "Claim"] {
            let resource = resource(name).expect("kept");
            assert_eq!(resource.parameter("patient").map(|found| found.search_type), Some(SearchType::Reference));
            assert!(resource.principal_date().is_some(), "{name}");
        }
    }

    #[test]
    fn every_element_has_a_known_type() {
        for (name, definition) in elements::definitions() {
            for element in &definition.elements {
                if let Kind::Complex(complex) = element.kind {
                    assert!(elements::definition(complex).is_some(), "{name}.{}: {complex}", element.name);
                }
            }
        }
    }
}
