//! The requests that are sent.

use ureq::http::Request;

use super::patients::{BEARERS, Patients, RECORD_NUMBERS};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `GET Patient/{id}`.
    Read,
    /// By medical record number: one match.
    SearchByIdentifier,
    /// By family name, with general practitioners: ten matches.
    SearchByName,
    /// `POST Patient`.
    Create,
    /// A Synthea patient with all records, as one transaction.
    Transaction,
}

impl Kind {
    /// What only reads comes first.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::SearchByIdentifier, Self::SearchByName, Self::Create, Self::Transaction];

    /// As the figures name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::SearchByIdentifier => "search by identifier",
            Self::SearchByName => "search by name with _include",
            Self::Create => "create",
            Self::Transaction => "transaction of a Synthea patient",
        }
    }
}

/// What requests are made of.
pub struct Requests {
    pub base_url: String,
    pub token: String,
    pub patients: Patients,
    /// Synthea patients.
    pub bundles: Vec<String>,
}

/// A request, and what its answer must contain: an answer that is fast and wrong is not measured.
pub struct Asked {
    pub request: Request<String>,
    pub expected: String,
}

impl Requests {
    /// The request that follows from a drawn number.
    pub fn request(&self, kind: Kind, drawn: u64) -> Asked {
        let patients = &self.patients;
        let number = u32::try_from(drawn % u64::from(patients.count)).expect("a remainder of 32 bits");
        match kind {
            Kind::Read => self.get(&format!("Patient/{}", Patients::id(number)), patients.record_number(number)),
            Kind::SearchByIdentifier => {
                let value = patients.record_number(number);
                let query = format!("Patient?identifier={RECORD_NUMBERS}%7C{value}");
                self.get(&query, "\"total\":1,".into())
            }
            Kind::SearchByName => {
                let family = patients.family(number);
                let query = format!("Patient?family={family}&_include=Patient:general-practitioner&_count=20");
                self.get(&query, format!("\"total\":{BEARERS},"))
            }
            Kind::Create => {
                // None of those that are stored already.
                let number = patients.count + u32::try_from(drawn >> 33).expect("31 bits");
                self.post("/Patient", patients.patient(number).to_string(), patients.record_number(number))
            }
            Kind::Transaction => {
                let bundle = &self.bundles[usize::try_from(drawn % self.bundles.len() as u64).expect("an index")];
                self.bundle(bundle.clone())
            }
        }
    }

    /// A transaction.
    pub fn bundle(&self, bundle: String) -> Asked {
        self.post("", bundle, "transaction-response".into())
    }

    fn get(&self, path: &str, expected: String) -> Asked {
        let request = Request::get(format!("{}/{path}", self.base_url)).header("authorization", self.authorization());
        Asked { request: request.body(String::new()).expect("addresses of ids and names are valid"), expected }
    }

    fn post(&self, path: &str, body: String, expected: String) -> Asked {
        let request = Request::post(format!("{}{path}", self.base_url)).header("authorization", self.authorization());
        let request = request.header("content-type", "application/fhir+json");
        Asked { request: request.body(body).expect("the address is valid"), expected }
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }
}
