//! OperationOutcome, built with the types of fhir-sdk: an issue code or a severity that FHIR does
//! not know does not compile.

use fhir_sdk::r4b::{
    codes::{IssueSeverity, IssueType},
    resources::{OperationOutcome, OperationOutcomeIssue},
    types::CodeableConcept,
};
use serde_json::{Value, json};

use crate::naming;

/// One issue of an OperationOutcome. It never holds the content of a resource.
#[derive(Debug, Clone)]
pub struct Issue {
    /// How bad it is.
    pub severity: IssueSeverity,
    /// What kind of issue.
    pub code: IssueType,
    /// A sentence that an engineer can act on.
    pub diagnostics: String,
    /// Path of the element, where one is at fault.
    pub expression: Option<String>,
    /// Code of the ledger's refusal, where the ledger refused.
    pub reject_code: Option<u32>,
}

impl Issue {
    /// An issue about the request as a whole.
    pub fn new(severity: IssueSeverity, code: IssueType, diagnostics: impl Into<String>) -> Self {
        Self { severity, code, diagnostics: diagnostics.into(), expression: None, reject_code: None }
    }

    fn typed(self) -> OperationOutcomeIssue {
        OperationOutcomeIssue {
            id: None,
            extension: Vec::new(),
            modifier_extension: Vec::new(),
            severity: self.severity,
            severity_ext: None,
            code: self.code,
            code_ext: None,
            details: self.reject_code.map(details),
            details_ext: None,
            diagnostics: Some(self.diagnostics),
            diagnostics_ext: None,
            location: Vec::new(),
            location_ext: Vec::new(),
            expression: self.expression.into_iter().map(Some).collect(),
            expression_ext: Vec::new(),
        }
    }
}

/// The resource with these issues.
pub fn operation_outcome(issues: impl IntoIterator<Item = Issue>) -> Value {
    let empty = json!({"resourceType": "OperationOutcome", "issue": []});
    let mut outcome: OperationOutcome = serde_json::from_value(empty).expect("an OperationOutcome without issues");
    outcome.issue = issues.into_iter().map(|issue| Some(issue.typed())).collect();
    serde_json::to_value(outcome).expect("an OperationOutcome has a JSON form")
}

fn details(code: u32) -> CodeableConcept {
    let coding = json!({"coding": [{"system": naming::REJECT_CODE, "code": code.to_string()}]});
    serde_json::from_value(coding).expect("a CodeableConcept with one coding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_the_shape_that_fhir_gives_it() {
        let mut issue = Issue::new(IssueSeverity::Error, IssueType::BusinessRule, "why");
        issue.expression = Some("Patient.name[0]".to_owned());
        issue.reject_code = Some(30);
        let expected = json!({
            "resourceType": "OperationOutcome",
            "issue": [{
                "severity": "error",
                "code": "business-rule",
                "details": {"coding": [{"system": "urn:careledger:reject-code", "code": "30"}]},
                "diagnostics": "why",
                "expression": ["Patient.name[0]"],
            }],
        });
        assert_eq!(operation_outcome([issue]), expected);
    }
}
