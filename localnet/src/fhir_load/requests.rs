//! The requests that are sent.

use ureq::http::Request;
use ureq::http::request::Builder;

use super::patients::{BEARERS, Patients, RECORD_NUMBERS};

const FHIR_JSON: &str = "application/fhir+json";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
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
    /// The server's FHIR endpoint, without a slash at its end.
    pub base_url: String,
    /// Sent as a bearer token, where there is one.
    pub token: Option<String>,
    pub patients: Patients,
    /// Synthea patients.
    pub bundles: Vec<String>,
}

/// A request, and what its answer must contain: an answer that is fast and wrong is not measured.
pub struct Asked {
    pub request: Request<String>,
    pub expected: Vec<String>,
}

impl Requests {
    /// The request that follows from a drawn number.
    pub fn request(&self, kind: Kind, drawn: u64) -> Asked {
        let patients = &self.patients;
        let number = u32::try_from(drawn % u64::from(patients.count)).expect("a remainder of 32 bits");
        match kind {
            Kind::Read => self.get(&format!("Patient/{}", Patients::id(number)), vec![patients.record_number(number)]),
            Kind::SearchByIdentifier => {
                let query = format!("Patient?identifier={RECORD_NUMBERS}%7C{}", patients.record_number(number));
                self.get(&query, vec![found("Patient", &Patients::id(number))])
            }
            Kind::SearchByName => {
                let family = patients.family(number);
                let query = format!("Patient?family={family}&_include=Patient:general-practitioner&_count=20");
                let first = number - number % BEARERS;
                let bearers = (first..first + BEARERS).filter(|number| *number < patients.count);
                let both = |number| {
                    [found("Patient", &Patients::id(number)), found("Practitioner", &patients.practitioner_id(number))]
                };
                self.get(&query, bearers.flat_map(both).collect())
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

    fn get(&self, path: &str, expected: Vec<String>) -> Asked {
        let request = self.with_headers(Request::get(format!("{}/{path}", self.base_url)));
        Asked { request: request.body(String::new()).expect("addresses of ids and names are valid"), expected }
    }

    fn post(&self, path: &str, body: String, expected: String) -> Asked {
        let request = self.with_headers(Request::post(format!("{}{path}", self.base_url)));
        let request = request.header("content-type", FHIR_JSON).header("prefer", "return=representation");
        Asked { request: request.body(body).expect("the address is valid"), expected: vec![expected] }
    }

    fn with_headers(&self, request: Builder) -> Builder {
        let request = request.header("accept", FHIR_JSON);
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

/// How the `fullUrl` of a resource that was found ends. Whatever else names it, a link or a reference, is written otherwise.
fn found(resource_type: &str, id: &str) -> String {
    format!("/{resource_type}/{id}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(token: Option<&str>) -> Requests {
        let patients = Patients { seed: 1, count: 25 };
        Requests { base_url: "http://x/fhir".into(), token: token.map(str::to_owned), patients, bundles: Vec::new() }
    }

    #[test]
    fn a_search_by_name_expects_all_who_bear_it_and_their_practitioners() {
        let Asked { request, expected } = requests(None).request(Kind::SearchByName, 13);
        let patients = Patients { seed: 1, count: 25 };
        assert!(request.uri().query().unwrap().starts_with(&format!("family={}", patients.family(10))));
        assert_eq!(expected.len(), 20);
        assert_eq!(expected[0], "/Patient/p10\"");
        assert_eq!(expected[19], format!("/Practitioner/{}\"", patients.practitioner_id(19)));
        // Of the last name, five are stored.
        assert_eq!(requests(None).request(Kind::SearchByName, 21).expected.len(), 10);
    }

    #[test]
    fn a_token_is_sent_where_there_is_one() {
        let sent = |token| requests(token).request(Kind::Read, 0).request.headers().get("authorization").cloned();
        assert_eq!(sent(Some("t")).unwrap(), "Bearer t");
        assert_eq!(sent(None), None);
    }
}
