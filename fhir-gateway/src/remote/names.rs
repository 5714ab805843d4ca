//! What the access requests are called in the ids of what they open: `r.<name>.<id there>`.
//!
//! A name is a keyed hash of the local id of the request's Task. Grants are public and chosen by
//! patients; a name is neither, so nobody makes two requests have one. A row in the vault leads from
//! the name back to the Task: one look-up, however many requests there are.

use std::{fmt, sync::Arc};

use careledger_wire::commitment;

use crate::{
    envelope::ValueKey,
    keys::{OrganizationKeys, Secret},
    outcome::Refusal,
    records::asking,
    vault::{Batch, Durability, Space, Store},
};

/// Purpose of the key that names are made with.
const NAME: &str = "careledger/remote-name/1";
/// Purpose of the key that rows are sealed with.
const ROW: &str = "careledger/remote-name-row/1";
/// Prefix of the rows in [`Space::State`].
const PREFIX: &str = "remote-name/";

/// What an access request is called: 64 bits that say nothing without the organization's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; 8]);

impl Name {
    /// Reads 16 hexadecimal digits in lower case.
    pub fn parse(digits: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        let is_lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_lower && hex::decode_to_slice(digits, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    /// The name of these bytes.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// The names of one organization's access requests.
pub struct Names {
    store: Arc<dyn Store>,
    name_key: Secret,
    row_key: ValueKey,
}

impl Names {
    /// The names under these keys, whose rows are in `store`.
    pub fn new(keys: &OrganizationKeys, store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            name_key: keys.record_ids.derive(NAME),
            row_key: ValueKey::of(&keys.storage.derive(ROW)),
        })
    }

    /// The name of the request in the Task `task`.
    pub fn of(&self, task: &str) -> Name {
        let hash = commitment::hash(NAME, &[self.name_key.as_bytes(), task.as_bytes()]);
        Name(*hash.first_chunk().expect("a hash of 32 bytes has 8"))
    }

    /// Gives a name out: from now on, and after a crash, [`Self::task`] leads back from it.
    ///
    /// # Errors
    /// What the vault says, and [`Refusal::Internal`] where another Task has this name, as one of
    /// 2^64 may.
    pub async fn give(self: &Arc<Self>, task: &str) -> Result<Name, Refusal> {
        let name = self.of(task);
        match self.task(&name).await? {
            Some(kept) if kept == task => return Ok(name),
            Some(_) => return Err(Refusal::Internal("two access requests have one name")),
            None => {}
        }
        let (key, mut batch) = (key(&name), Batch::default());
        batch.put(Space::State, key.clone(), self.row_key.seal(task.as_bytes(), &key));
        self.store.commit(batch, Durability::Synced).await?;
        Ok(name)
    }

    /// The Task that `name` was given out for.
    ///
    /// # Errors
    /// What the vault says, and [`Refusal::Internal`] where its row does not open.
    pub async fn task(self: &Arc<Self>, name: &Name) -> Result<Option<String>, Refusal> {
        let name = *name;
        asking(self, &*self.store, move |names| names.kept(&name)).await
    }

    fn kept(&self, name: &Name) -> Result<Option<String>, Refusal> {
        let key = key(name);
        let Some(sealed) = self.store.get(Space::State, &key)? else { return Ok(None) };
        let fault = Refusal::Internal("the name of an access request does not open");
        let task = self.row_key.open(&sealed, &key).map_err(|_| fault.clone())?;
        String::from_utf8(task).map(Some).map_err(|_| fault)
    }
}

fn key(name: &Name) -> Vec<u8> {
    format!("{PREFIX}{name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{distant::Distant, local::LocalStore};

    #[tokio::test]
    async fn a_name_leads_back_to_its_task_once_it_was_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path()).unwrap());
        let keys = OrganizationKeys::random();
        let names = Names::new(&keys, Arc::clone(&store));
        assert_eq!(names.task(&names.of("t-1")).await, Ok(None));
        let name = names.give("t-1").await.unwrap();
        assert_eq!(names.give("t-1").await.unwrap(), name, "as often as one likes");
        assert_eq!(names.give("t-2").await.unwrap(), names.of("t-2"));
        assert_eq!(names.task(&name).await, Ok(Some("t-1".to_owned())));
        assert_eq!(Names::new(&keys, Arc::clone(&store)).task(&name).await, Ok(Some("t-1".to_owned())));
        let rows = store.scan(Space::State, PREFIX.as_bytes(), None, 10).unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|(_, row)| !row.windows(3).any(|bytes| bytes == b"t-1")), "rows are sealed");
    }

    #[tokio::test]
    async fn a_row_that_leads_to_another_task_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path()).unwrap());
        let names = Names::new(&OrganizationKeys::random(), Arc::clone(&store));
        let (key, mut batch) = (key(&names.of("mine")), Batch::default());
        batch.put(Space::State, key.clone(), names.row_key.seal(b"others", &key));
        store.commit(batch, Durability::Synced).await.unwrap();
        assert!(matches!(names.give("mine").await, Err(Refusal::Internal(_))));
        assert_eq!(names.task(&names.of("mine")).await, Ok(Some("others".to_owned())));
    }

    /// A thread that answers requests stood still while PostgreSQL was asked for a name.
    #[tokio::test]
    async fn a_name_in_a_vault_behind_a_server_holds_up_nobody_else_while_that_answers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Distant::new(folder.path());
        let names = Names::new(&OrganizationKeys::random(), Arc::clone(&store) as _);
        for _ in 0..2 {
            let name = store.during(names.give("t-1")).await.unwrap();
            assert_eq!(store.during(names.task(&name)).await, Ok(Some("t-1".to_owned())));
        }
    }

    #[test]
    fn names_depend_on_the_key_and_on_the_task() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.path()).unwrap());
        let [own, others] = [(); 2].map(|()| Names::new(&OrganizationKeys::random(), Arc::clone(&store)));
        assert_eq!(own.of("t"), own.of("t"));
        assert_ne!(own.of("t"), own.of("u"));
        assert_ne!(own.of("t"), others.of("t"));
    }

    #[test]
    fn a_name_is_read_as_written_and_in_no_other_form() {
        let name = Name::new([0, 0x1f, 2, 3, 4, 5, 6, 0xff]);
        assert_eq!(name.to_string(), "001f0203040506ff");
        assert_eq!(Name::parse("001f0203040506ff"), Some(name));
        for other in ["", "001f0203040506f", "001f0203040506ff0", "001F0203040506FF", "001g0203040506ff"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
