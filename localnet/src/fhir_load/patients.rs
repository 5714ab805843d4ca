//! Patients that follow from a seed, as large as Synthea's without extensions. Ten of them bear each family name,
//! however many there are: so a search by name has as much to give among few as among many.

use serde_json::{Value, json};

/// Patients, or practitioners, in one request.
pub const BUNDLE_ENTRIES: u32 = 100;
/// The system of their medical record numbers.
pub const RECORD_NUMBERS: &str = "https://example.org/mrn";
/// How many bear each family name.
pub const BEARERS: u32 = 10;
/// Their general practitioners.
const PRACTITIONERS: u32 = 100;
/// Syllables of a family name. All names are of one length, so none begins with another.
const SYLLABLES: usize = 6;

/// So many patients of a seed.
#[derive(Clone, Copy, Debug)]
pub struct Patients {
    pub seed: u64,
    pub count: u32,
}

impl Patients {
    /// The Bundle that stores their general practitioners: before them, who refer to these.
    pub fn practitioners(&self) -> String {
        bundle((0..PRACTITIONERS).map(|number| self.practitioner(number)))
    }

    /// How many Bundles store them.
    pub fn bundles(&self) -> u32 {
        self.count.div_ceil(BUNDLE_ENTRIES)
    }

    /// One of these Bundles.
    pub fn bundle(&self, place: u32) -> String {
        let first = place * BUNDLE_ENTRIES;
        bundle((first..(first + BUNDLE_ENTRIES).min(self.count)).map(|number| self.stored(number)))
    }

    /// A patient's id.
    pub fn id(number: u32) -> String {
        format!("p{number}")
    }

    /// The id of a patient's general practitioner.
    pub fn practitioner_id(&self, number: u32) -> String {
        format!("d{}", self.drawn(3, number) % u64::from(PRACTITIONERS))
    }

    /// A patient's medical record number.
    pub fn record_number(&self, number: u32) -> String {
        format!("{:016x}", self.drawn(1, number))
    }

    /// A patient's family name.
    pub fn family(&self, number: u32) -> String {
        let mut rest = self.drawn(2, number / BEARERS);
        let mut name = String::new();
        for _ in 0..SYLLABLES {
            name.push(char::from(b"bdfghjklmnprstvz"[(rest % 16) as usize]));
            name.push(char::from(b"aeiou"[(rest / 16 % 5) as usize]));
            rest /= 80;
        }
        name[..1].to_uppercase() + &name[1..]
    }

    /// A patient that is not stored yet.
    pub fn patient(&self, number: u32) -> Value {
        let drawn = self.drawn(3, number);
        let given = ["Anna", "Ben", "Chloe", "David", "Emma", "Finn", "Grace", "Hugo"][(drawn % 8) as usize];
        let (year, month, day) = (1930 + drawn / 8 % 90, 1 + drawn / 720 % 12, 1 + drawn / 8_640 % 28);
        let gender = if drawn.is_multiple_of(2) { "female" } else { "male" };
        let family = self.family(number);
        json!({
            "resourceType": "Patient",
            "text": {"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{given} {family}</div>")},
            "identifier": [{
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "system": RECORD_NUMBERS,
                "value": self.record_number(number),
            }],
            "name": [{"use": "official", "family": family, "given": [given]}],
            "telecom": [{"system": "phone", "value": format!("555-{:07}", drawn % 10_000_000), "use": "home"}],
            "gender": gender,
            "birthDate": format!("{year}-{month:02}-{day:02}"),
            "address": [{"line": [format!("{} Main Street", drawn % 999)], "city": "Springfield", "country": "US"}],
            "maritalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]},
            "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-US"}]}}],
            "generalPractitioner": [{"reference": format!("Practitioner/{}", self.practitioner_id(number))}],
        })
    }

    fn stored(&self, number: u32) -> Value {
        let mut patient = self.patient(number);
        patient["id"] = json!(Self::id(number));
        patient
    }

    fn practitioner(&self, number: u32) -> Value {
        let family = self.family(number * BEARERS);
        json!({"resourceType": "Practitioner", "id": format!("d{number}"), "name": [{"family": family}]})
    }

    /// A number that follows from the seed, what it is for, and its place (SplitMix64).
    fn drawn(&self, purpose: u64, place: u32) -> u64 {
        mixed(self.seed ^ mixed(purpose << 32 | u64::from(place)))
    }
}

/// SplitMix64's next number after `state`.
pub fn mixed(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn bundle(resources: impl Iterator<Item = Value>) -> String {
    let entry = |resource: Value| {
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        let url = format!("{}/{}", text("resourceType"), text("id"));
        json!({"resource": resource, "request": {"method": "PUT", "url": url}})
    };
    let entries: Vec<Value> = resources.map(entry).collect();
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_patients_and_another_seed_others() {
        let of = |seed| Patients { seed, count: 1 }.patient(7).to_string();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn ten_bear_each_name_and_one_each_number_among_many() {
        let patients = Patients { seed: 1, count: 100_000 };
        let (mut bearers, mut numbers) = (HashMap::new(), HashMap::new());
        for number in 0..patients.count {
            *bearers.entry(patients.family(number)).or_insert(0) += 1;
            *numbers.entry(patients.record_number(number)).or_insert(0) += 1;
        }
        assert!(bearers.values().all(|count| *count == BEARERS), "a name is drawn twice");
        assert!(numbers.values().all(|count| *count == 1), "a number is drawn twice");
        assert!(bearers.keys().all(|name| name.len() == 2 * SYLLABLES));
    }

    #[test]
    fn the_bundles_have_every_patient_once() {
        let patients = Patients { seed: 1, count: 250 };
        let ids = (0..patients.bundles()).flat_map(|place| {
            let bundle: Value = serde_json::from_str(&patients.bundle(place)).unwrap();
            let entries = bundle["entry"].as_array().unwrap().clone();
            assert!(entries.len() <= BUNDLE_ENTRIES as usize);
            entries.into_iter().map(|entry| entry["request"]["url"].as_str().unwrap().to_owned())
        });
        let expected: Vec<String> = (0..250).map(|number| format!("Patient/p{number}")).collect();
        assert_eq!(ids.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_practitioner_that_a_patient_names_is_stored() {
        let patients = Patients { seed: 1, count: 1_000 };
        let stored: Value = serde_json::from_str(&patients.practitioners()).unwrap();
        let stored: Vec<_> =
            stored["entry"].as_array().unwrap().iter().map(|entry| entry["resource"]["id"].clone()).collect();
        assert!((0..1_000).all(|number| stored.contains(&json!(patients.practitioner_id(number)))));
    }
}
