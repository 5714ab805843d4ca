//! Chapter 2: hospital A's EHR registers a patient and files documents.

use std::fs::File;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::Story;
use super::world::{World, text};
use crate::failure::{Doing, Failure};

/// Where the synthetic patient's Bundle is in the repository.
const PATIENT: &str = "fhir-gateway/golden/synthea/darcy-schmidt.json.gz";
/// The documents that are filed: file, media type, what it is.
const DOCUMENTS: [(&str, &str, &str); 3] = [
    ("fhir-gateway/golden/documents/laboratory.pdf", "application/pdf", "Laboratory report"),
    ("fhir-gateway/golden/documents/radiograph.jpg", "image/jpeg", "Chest X-ray"),
    ("fhir-gateway/golden/documents/discharge.cda.xml", "application/hl7-cda+xml", "Discharge summary"),
];

/// The patient, as hospital A knows her.
pub struct Patient {
    /// Id of the Patient at hospital A.
    pub id: String,
    /// Her subject at hospital A.
    pub subject: String,
    /// Ids of her DocumentReferences at hospital A.
    pub documents: Vec<String>,
    /// The bytes of the first document.
    pub first: Vec<u8>,
}

/// Registers the patient and files three documents.
pub fn file(story: &mut Story, world: &World) -> Result<Patient, Failure> {
    story.chapter("Records");
    world.make_key("darcy")?;
    let id = register(story, world)?;
    let subject = claim(story, world, &id)?;
    let mut documents = Vec::new();
    for (path, kind, title) in DOCUMENTS {
        documents.push(document(story, world, &id, path, kind, title)?);
    }
    let first = read(world, DOCUMENTS[0].0)?;
    Ok(Patient { id, subject, documents, first })
}

/// The EHR posts a whole synthetic history, with the account that the patient's wallet derived.
fn register(story: &mut Story, world: &World) -> Result<String, Failure> {
    let general = &world.general;
    let account = world.account("darcy", Some(general))?;
    let mut bundle = bundle(world)?;
    let entries = bundle["entry"].as_array_mut().expect("the Bundle in the repository has entries");
    let patient = entries.iter_mut().find(|entry| entry["resource"]["resourceType"] == "Patient");
    let patient = &mut patient.expect("the Bundle in the repository has a Patient")["resource"];
    let identifiers = patient["identifier"].as_array_mut().expect("the Patient has identifiers");
    identifiers.push(json!({"system": "urn:careledger:account", "value": account}));
    let count = entries.len();

    story.step("Hospital A's EHR", &format!("posts a patient and her history: one Bundle of {count} resources"));
    let answer = general.fhir.post(story, "", &bundle)?.expect(200)?.json()?;
    let created = answer["entry"].as_array().map_or(0, |entries| {
        entries
            .iter()
            .filter(|entry| entry["response"]["status"].as_str().is_some_and(|it| it.starts_with("201")))
            .count()
    });
    story.check_same("every resource was created, in one ledger transaction", created, count)?;
    let search = format!("Patient?identifier=urn:careledger:account|{account}");
    let found = general.fhir.get(story, &search)?.expect(200)?.json()?;
    let id = text(&found["entry"][0]["resource"], "id")?;
    let entries = found["entry"].as_array().map_or(0, Vec::len);
    story.check_same("the patient is found by the account of her wallet, once", entries, 1)?;
    Ok(id)
}

fn claim(story: &mut Story, world: &World, id: &str) -> Result<String, Failure> {
    let general = &world.general;
    story.step("Darcy", "takes over what hospital A opened for her: from here on only her key grants");
    let answer = general.fhir.get(story, &format!("Patient/{id}/$subject"))?.expect(200)?.json()?;
    let parameters = answer["parameter"].as_array().cloned().unwrap_or_default();
    let named = |parameter: &&Value| parameter["name"] == "subject";
    let parameter = parameters.iter().find(named).cloned().unwrap_or_default();
    let subject = parameter["valueString"].as_str().or(parameter["valueIdentifier"]["value"].as_str());
    let subject = subject.ok_or_else(|| Failure::Check(format!("$subject named no subject: {answer}")))?.to_owned();
    story.call("careledgerd tx claim-subject --from darcy --derive <hospital A>");
    let claimed = world.send(&["claim-subject", "--from", "darcy", "--derive", &general.account])?;
    story.answer(format!("committed at height {}", claimed["height"]));
    story.check("the ledger has her subject", world.query(&["subject", &subject])?.is_some())?;
    Ok(subject)
}

fn document(
    story: &mut Story,
    world: &World,
    patient: &str,
    path: &str,
    kind: &str,
    title: &str,
) -> Result<String, Failure> {
    let fhir = &world.general.fhir;
    let bytes = read(world, path)?;
    story.step("Hospital A's EHR", &format!("files “{title}” ({kind}, {} bytes)", bytes.len()));
    let binary = fhir.post_bytes(story, "Binary", kind, &bytes)?.created_id()?;
    let answer = fhir.post(
        story,
        "DocumentReference",
        &json!({
            "resourceType": "DocumentReference",
            "status": "current",
            "type": {"text": title},
            "subject": {"reference": format!("Patient/{patient}")},
            "date": super::world::instant(super::world::now()),
            "content": [{"attachment": {
                "contentType": kind,
                "url": format!("Binary/{binary}"),
                "size": bytes.len(),
                "title": title,
            }}],
        }),
    )?;
    let id = answer.created_id()?;
    let back = fhir.get(story, &format!("Binary/{binary}"))?.expect(200)?;
    story.check("the bytes served are the bytes sent", back.bytes() == bytes)?;
    Ok(id)
}

fn read(world: &World, path: &str) -> Result<Vec<u8>, Failure> {
    let file = world.places.repository.join(path);
    std::fs::read(&file).doing(|| format!("reading {}", file.display()))
}

fn bundle(world: &World) -> Result<Value, Failure> {
    let file = world.places.repository.join(PATIENT);
    let mut text = String::new();
    let open = File::open(&file).doing(|| format!("opening {}", file.display()))?;
    GzDecoder::new(open).read_to_string(&mut text).doing(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| Failure::Check(format!("{}: {error}", file.display())))
}
