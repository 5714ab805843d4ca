//! Names that CareLedger gives to identifier systems, codes and extensions in FHIR resources.
//! They are part of the API: never renamed, never reused.

/// Identifier of an account: its bech32 address.
pub const ACCOUNT: &str = "urn:careledger:account";
/// Identifier system of a practitioner's qualification, as the ledger's enrolment names it.
pub const PRACTITIONER_ROLE: &str = "urn:careledger:practitioner-role";
/// Identifier of a subject, one organization's view of one patient: 64 hexadecimal digits.
pub const SUBJECT: &str = "urn:careledger:subject";
/// Identifier of an access request: 64 hexadecimal digits.
pub const REQUEST: &str = "urn:careledger:request";
/// Identifier of a consent grant: 64 hexadecimal digits.
pub const GRANT: &str = "urn:careledger:grant";
/// Identifier of an insurer's claim: 64 hexadecimal digits.
pub const CLAIM: &str = "urn:careledger:claim";
/// Identifier of a plan: its commitment, 64 hexadecimal digits.
pub const PLAN: &str = "urn:careledger:plan";
/// Code system of `Task.code`.
pub const TASK_CODE: &str = "urn:careledger:task-code";
/// Code of a Task that asks for access.
pub const ACCESS_REQUEST: &str = "access-request";
/// Code system of the types of `Task.input`.
pub const TASK_INPUT: &str = "urn:careledger:task-input";
/// Code system of reject codes in an OperationOutcome.
pub const REJECT_CODE: &str = "urn:careledger:reject-code";

/// What the definitions of operations start with.
pub const OPERATION: &str = "urn:careledger:operation";

/// Salt of a commitment, 64 hexadecimal digits, on a Consent or a Task.
pub const SALT: &str = "urn:careledger:extension:salt";
/// Extension of a Consent: whether the grantee may delegate to one more organization.
pub const DELEGABLE: &str = "urn:careledger:extension:delegable";
/// One interval of a plan, on an InsurancePlan's plan.
pub const PLAN_INTERVAL: &str = "urn:careledger:extension:plan-interval";
/// The terms of a plan that hold for every claim, on an InsurancePlan's plan.
pub const PLAN_TERMS: &str = "urn:careledger:extension:plan-terms";
/// The member as the insurer knows them in zero knowledge, on a Coverage.
pub const MEMBER: &str = "urn:careledger:extension:member";
/// A proof as base64 of its JSON, on a CoverageEligibilityRequest.
pub const ELIGIBILITY_PROOF: &str = "urn:careledger:extension:eligibility-proof";
/// The commitment to the most that is payable, on a CoverageEligibilityResponse.
pub const AMOUNT_COMMITMENT: &str = "urn:careledger:extension:amount-commitment";

/// Reasons for access (HL7 v3 ActReason).
pub const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
/// Code system of FHIR resource types.
pub const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
/// Media type of a signed transaction in a `Signature.data`.
pub const TRANSACTION_MEDIA_TYPE: &str = "application/vnd.careledger.tx";
/// ASTM E1762-95 code of a consent signature, for `Signature.type`.
pub const CONSENT_SIGNATURE: &str = "1.2.840.10065.1.12.1.7";
