//! OperationOutcome, built with the types of fhir-sdk: an issue code or a severity that FHIR does
//! not know does not compile.
//!
//! The issues are typed and the resource around them is not: the type of a whole resource holds
//! `contained`, so that reading or writing one compiles all 140 resource types into the program.

use fhir_sdk::r4b::{
    codes::{IssueSeverity, IssueType},
    resources::OperationOutcomeIssue,
};
use serde_json::{Value, json};

use crate::{json::Position, naming};

/// The extensions by which HL7's own validator says where an issue is.
const ISSUE_LINE: &str = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-line";
const ISSUE_COLUMN: &str = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-col";

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
    /// Where in what was sent.
    pub position: Option<Position>,
    /// Code of the ledger's refusal, where the ledger refused.
    pub reject_code: Option<u32>,
}

impl Issue {
    /// An issue about the request as a whole.
    pub fn new(severity: IssueSeverity, code: IssueType, diagnostics: impl Into<String>) -> Self {
        Self { severity, code, diagnostics: diagnostics.into(), expression: None, position: None, reject_code: None }
    }

    fn to_value(&self) -> Value {
        let issue = OperationOutcomeIssue {
            id: None,
            extension: Vec::new(),
            modifier_extension: Vec::new(),
            severity: self.severity,
            severity_ext: None,
            code: self.code,
            code_ext: None,
            details: None,
            details_ext: None,
            diagnostics: Some(self.diagnostics.clone()),
            diagnostics_ext: None,
            location: Vec::new(),
            location_ext: Vec::new(),
            expression: self.expression.iter().cloned().map(Some).collect(),
            expression_ext: Vec::new(),
        };
        let mut value = serde_json::to_value(issue).expect("an issue has a JSON form");
        if let Some(Position { line, column }) = self.position {
            value["extension"] =
                json!([{"url": ISSUE_LINE, "valueInteger": line}, {"url": ISSUE_COLUMN, "valueInteger": column}]);
        }
        if let Some(code) = self.reject_code {
            value["details"] = json!({"coding": [{"system": naming::REJECT_CODE, "code": code.to_string()}]});
        }
        value
    }
}

/// The resource with these issues.
pub fn operation_outcome(issues: impl IntoIterator<Item = Issue>) -> Value {
    let issues: Vec<Value> = issues.into_iter().map(|issue| issue.to_value()).collect();
    json!({"resourceType": "OperationOutcome", "issue": issues})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_the_shape_that_fhir_gives_it() {
        let mut issue = Issue::new(IssueSeverity::Error, IssueType::BusinessRule, "why");
        issue.expression = Some("Patient.name[0]".to_owned());
        issue.reject_code = Some(30);
        issue.position = Some(Position { line: 3, column: 14 });
        let expected = json!({
            "resourceType": "OperationOutcome",
            "issue": [{
                "severity": "error",
                "code": "business-rule",
                "details": {"coding": [{"system": "urn:careledger:reject-code", "code": "30"}]},
                "diagnostics": "why",
                "expression": ["Patient.name[0]"],
                "extension": [
                    {"url": ISSUE_LINE, "valueInteger": 3},
                    {"url": ISSUE_COLUMN, "valueInteger": 14},
                ],
            }],
        });
        assert_eq!(operation_outcome([issue]), expected);
    }
}
