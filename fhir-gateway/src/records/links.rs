//! Who somebody is: which subject on the ledger a local Patient is, and which Practitioner an account was given to.
//! Keys are keyed hashes and values are sealed: neither shows who that is.

use careledger_wire::ids::{Address, SubjectId};

use super::{Core, Records};
use crate::{
    outcome::Refusal,
    vault::{Batch, Durability, Space},
};

impl Records {
    /// Remembers which subject on the ledger a local Patient is. Versions about the patient that
    /// are written from then on are committed to that subject.
    pub async fn link_subject(&self, patient: &str, subject: &SubjectId) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        let (forward, back) = (self.core.patient_key(patient), self.core.subject_key(subject));
        // What either was linked to before, by a request that came to nothing, is unlinked.
        if let Some(before) = self.subject_of(patient).await? {
            batch.delete(Space::Subject, self.core.subject_key(&before));
        }
        if let Some(before) = self.patient_of(subject).await? {
            batch.delete(Space::Subject, self.core.patient_key(&before));
        }
        batch.put(Space::Subject, forward.clone(), self.core.seal_link(&forward, subject.as_bytes()));
        batch.put(Space::Subject, back.clone(), self.core.seal_link(&back, patient.as_bytes()));
        Ok(self.core.store.commit(batch, Durability::Synced).await?)
    }

    /// The subject of a local Patient.
    pub async fn subject_of(&self, patient: &str) -> Result<Option<SubjectId>, Refusal> {
        let patient = patient.to_owned();
        self.core.asking(move |core| core.subject_of(&patient)).await
    }

    /// The local Patient of a subject.
    pub async fn patient_of(&self, subject: &SubjectId) -> Result<Option<String>, Refusal> {
        let key = self.core.subject_key(subject);
        self.core.asking(move |core| core.named(&key)).await
    }

    /// Remembers that the Practitioner `id` is about to get an account, before it does.
    pub async fn link_practitioner(&self, id: &str, account: &Address) -> Result<(), Refusal> {
        if self.practitioner_of(account).await?.as_deref() == Some(id) {
            return Ok(());
        }
        let key = self.core.account_key(account);
        let mut batch = Batch::default();
        batch.put(Space::Subject, key.clone(), self.core.seal_link(&key, id.as_bytes()));
        Ok(self.core.store.commit(batch, Durability::Synced).await?)
    }

    /// The Practitioner that was to get an account last, whatever became of it.
    pub async fn practitioner_of(&self, account: &Address) -> Result<Option<String>, Refusal> {
        let key = self.core.account_key(account);
        self.core.asking(move |core| core.named(&key)).await
    }
}

impl Core {
    pub(super) fn subject_of(&self, patient: &str) -> Result<Option<SubjectId>, Refusal> {
        let Some(subject) = self.open_link(&self.patient_key(patient))? else { return Ok(None) };
        let subject = SubjectId::try_from(subject.as_slice());
        subject.map(Some).map_err(|_| Refusal::Internal("a patient's link is no subject"))
    }

    /// The id that a link leads to.
    fn named(&self, key: &[u8]) -> Result<Option<String>, Refusal> {
        let name = self.open_link(key)?.map(String::from_utf8).transpose();
        name.map_err(|_| Refusal::Internal("a link of the vault is not text"))
    }

    /// Where a patient's subject is kept; the key shows neither.
    fn patient_key(&self, patient: &str) -> Vec<u8> {
        self.keys.record_id("careledger/subject-of", patient).to_vec()
    }

    fn subject_key(&self, subject: &SubjectId) -> Vec<u8> {
        self.keys.record_id("careledger/patient-of", &subject.to_string()).to_vec()
    }

    fn account_key(&self, account: &Address) -> Vec<u8> {
        self.keys.record_id("careledger/practitioner-of", &account.to_string()).to_vec()
    }

    fn seal_link(&self, key: &[u8], value: &[u8]) -> Vec<u8> {
        self.entry_key.seal(value, key)
    }

    fn open_link(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(sealed) = self.store.get(Space::Subject, key)? else { return Ok(None) };
        let value = self.entry_key.open(&sealed, key);
        value.map(Some).map_err(|_| Refusal::Internal("a link of the vault does not open"))
    }
}
