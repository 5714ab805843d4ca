//! Disks that lie: what was acknowledged is there, or the gateway says that it is not and stops.

use std::{
    fs,
    path::{Path, PathBuf},
};

use careledger_app::keys;
use careledger_gateway::{
    audit::{Access, Action, Agent, Outcome},
    keys::{OrganizationKeys, OrganizationSigner, random},
    ledger::{Ledger, clock, embedded::Embedded},
    organization::{OpenError, Organization, acknowledged::Lacking},
    records::{Change, Content, Flaw, Flawed},
    vault::{Batch, Durability, Space, Store as _, local::LocalStore},
};
use careledger_wire::{
    commitment,
    ids::{GrantId, SubjectId},
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent, MsgRevokeConsent},
        identity::{MsgClaimSubject, MsgOpenSubject, OrganizationKind},
        state::Grant,
    },
};

use super::{
    chain,
    restarted::{Restarted, live},
};

/// Changes a byte in the middle of the log of the closed database in `folder`, as a bad disk does.
fn flip_a_byte_of_the_log(folder: &Path) {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_log);
    let log = files.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(log, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Puts an older copy of a folder in its place.
fn roll_back(folder: &Path, older: &Path) {
    fs::remove_dir_all(folder).unwrap();
    copy(older, folder);
}

fn says(error: &dyn std::error::Error, folder: &Path) {
    let text = error.to_string();
    for expected in [folder.to_str().unwrap(), "backup", "docs/RUNBOOK.md"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// A ledger on which a patient may grant and revoke.
struct Consented {
    folder: tempfile::TempDir,
    registrar: OrganizationSigner,
    patient: OrganizationSigner,
    hospital: OrganizationKeys,
    subject: SubjectId,
    grant: GrantId,
}

impl Consented {
    /// A granted consent; the ledger is closed again.
    async fn new() -> Self {
        let (registrar, patient) = (OrganizationSigner::random(), OrganizationSigner::random());
        let hospital = OrganizationKeys::random();
        let subject = commitment::subject_id(&hospital.signer.address(), &patient.address());
        let (folder, grant) = (tempfile::tempdir().unwrap(), GrantId::new(random()));
        let world = Self { folder, registrar, patient, hospital, subject, grant };
        let (ledger, _) = world.open();
        chain::register(&ledger, &world.registrar, &world.hospital, OrganizationKind::Provider).await.unwrap();
        let own = world.hospital.signer.address();
        let open =
            MsgOpenSubject { sender: own.to_string(), claimant: world.patient.address().to_vec(), binding: None };
        ledger.submit(&world.hospital.signer, vec![open.into()]).await.unwrap();
        let (sender, subject) = (world.patient.address().to_string(), subject.to_vec());
        let claim = MsgClaimSubject { sender: sender.clone(), subject: subject.clone(), encryption_key: vec![3; 32] };
        world.relay(&ledger, claim.into()).await;
        let grant = MsgGrantConsent {
            sender,
            subject,
            request: Vec::new(),
            grant: world.grant.to_vec(),
            grantee: own.to_vec(),
            mode: ConsentMode::View as i32,
            not_before: clock() - 10,
            expires_at: clock() + 3_600,
            terms: vec![5; 32],
            body: vec![6; 32],
            delegable: false,
        };
        world.relay(&ledger, grant.into()).await;
        world
    }

    fn open(&self) -> (Ledger, String) {
        chain::embedded(self.folder.path(), &self.registrar)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The message of a ledger that does not open.
    fn refused(&self) -> careledger_gateway::ledger::OpenError {
        Embedded::open(self.folder.path(), &chain::settings(&self.registrar)).unwrap_err()
    }

    async fn relay(&self, ledger: &Ledger, message: Message) {
        let transaction = chain::signed(ledger, &self.patient, message).await;
        ledger.relay(transaction).await.unwrap();
    }

    async fn revoke(&self) {
        let (sender, subject) = (self.patient.address().to_string(), self.subject.to_vec());
        let revoke = MsgRevokeConsent { sender, subject, grant: self.grant.to_vec() };
        let (ledger, _) = self.open();
        self.relay(&ledger, revoke.into()).await;
    }

    async fn state(&self, ledger: &Ledger) -> Grant {
        ledger.get_proven(&keys::consent(&self.subject, &self.grant)).await.unwrap().value.unwrap()
    }
}

#[tokio::test]
async fn a_revocation_is_not_undone_where_the_state_lost_its_newest_blocks() {
    let world = Consented::new().await;
    copy(&world.path("state"), &world.path("older"));
    world.revoke().await;
    roll_back(&world.path("state"), &world.path("older"));
    {
        let (ledger, _) = world.open();
        assert_ne!(world.state(&ledger).await.revoked_at, 0);
        // The ledger goes on from there.
        let own = world.hospital.signer.address();
        let open = MsgOpenSubject { sender: own.to_string(), claimant: vec![7; 20], binding: None };
        ledger.submit(&world.hospital.signer, vec![open.into()]).await.unwrap();
    }
    let (ledger, _) = world.open();
    assert_ne!(world.state(&ledger).await.revoked_at, 0);
}

#[tokio::test]
async fn a_state_that_does_not_fit_to_its_blocks_is_refused() {
    let world = Consented::new().await;
    let (state, blocks) = (world.path("state"), world.path("blocks"));
    copy(&blocks, &world.path("older-blocks"));
    copy(&state, &world.path("older-state"));
    world.revoke().await;
    copy(&blocks, &world.path("newer-blocks"));
    roll_back(&blocks, &world.path("older-blocks"));
    says(&world.refused(), world.folder.path());
    // Another history from the same height on.
    roll_back(&state, &world.path("older-state"));
    drop(world.open());
    let other = Consented::new().await;
    other.revoke().await;
    roll_back(&blocks, &other.path("blocks"));
    roll_back(&state, &world.path("older-state"));
    says(&world.refused(), world.folder.path());
    fs::remove_dir_all(&state).unwrap();
    says(&world.refused(), world.folder.path());
    // Both of one moment are accepted again.
    roll_back(&blocks, &world.path("newer-blocks"));
    roll_back(&state, &world.path("older-state"));
    let (ledger, _) = world.open();
    assert_ne!(world.state(&ledger).await.revoked_at, 0);
}

#[tokio::test]
async fn a_damaged_byte_in_the_log_of_the_blocks_is_refused_and_not_skipped() {
    let world = Consented::new().await;
    flip_a_byte_of_the_log(&world.path("blocks"));
    says(&world.refused(), &world.path("blocks"));
}

#[tokio::test]
async fn a_damaged_byte_in_the_log_of_the_vault_is_refused_and_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = LocalStore::open(folder.path()).unwrap();
        for number in 0..8u8 {
            let mut batch = Batch::default();
            batch.put(Space::State, [number], vec![number; 500]);
            store.commit(batch, Durability::Synced).await.unwrap();
        }
    }
    flip_a_byte_of_the_log(folder.path());
    says(&LocalStore::open(folder.path()).err().unwrap(), folder.path());
}

impl Restarted {
    /// Stores a Patient, and anchors a line of the access log that says so.
    async fn admit(&self, organization: &Organization, id: &str) {
        let body = format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
        let content = Content::Json(body.into_bytes().into());
        let (resource_type, id) = ("Patient".to_owned(), id.to_owned());
        let change = Change::Create { resource_type, id: id.clone(), content, patient: None };
        organization.records.commit(vec![change], Vec::new()).await.unwrap();
        let access = Access {
            action: Action::Create,
            outcome: Outcome::Permitted,
            agent: Agent::Client("ehr".to_owned()),
            purpose: None,
            patient: Some(id),
            entities: Vec::new(),
            grant: None,
            origin: Default::default(),
        };
        organization.audit.record(access, Durability::Ordered).await.unwrap();
        organization.audit.anchor().await.unwrap();
    }
}

#[test]
fn a_vault_that_lost_what_was_acknowledged_is_refused_until_the_loss_is_accepted() {
    let world = Restarted::new();
    live(async { world.admit(&world.open().await.unwrap(), "p1").await });
    copy(&world.vault(), &world.folder.path().join("older"));
    live(async { world.admit(&world.open().await.unwrap(), "p2").await });
    live(async { drop(world.open().await.unwrap()) });
    roll_back(&world.vault(), &world.folder.path().join("older"));
    let refused = live(async { world.open().await.err().unwrap() });
    assert!(refused.to_string().contains("docs/RUNBOOK.md"), "{refused}");
    let OpenError::Lacking { lacking, .. } = refused else { panic!("{refused}") };
    assert_eq!(lacking, Lacking { resources: 1, changes: 1, batches: 1 });

    live(async {
        let organization = world.open_as_it_is().await;
        assert!(organization.audit.anchor().await.is_err(), "no batch takes the place of one that is lost");
        assert_eq!(organization.records.reindex(|_| ()).await.unwrap().missing, 1);
        organization.audit.accept_loss().await.unwrap();
    });
    live(async {
        let organization = world.open().await.unwrap();
        world.admit(&organization, "p3").await;
        let log = organization.ledger.get(&keys::access_log(&organization.address())).await.unwrap().unwrap();
        assert_eq!(log.batches, 3);
    });
    live(async { drop(world.open().await.unwrap()) });
}

/// Changes one byte of the first pair of a space of a closed vault, so that the database itself sees
/// nothing wrong.
async fn flip_a_byte(vault: &Path, space: Space) {
    let store = LocalStore::open(vault).unwrap();
    let (key, mut value) = store.scan(space, &[], None, 1).unwrap().remove(0);
    let middle = value.len() / 2;
    value[middle] ^= 0x01;
    let mut batch = Batch::default();
    batch.put(space, key, value);
    store.commit(batch, Durability::Synced).await.unwrap();
}

#[test]
fn a_flipped_byte_names_its_document() {
    for (space, expected) in [(Space::Body, Flaw::Body), (Space::Wrap, Flaw::Key), (Space::Entry, Flaw::Description)] {
        let world = Restarted::new();
        live(async {
            let organization = world.open().await.unwrap();
            world.admit(&organization, "p1").await;
            let found = organization.records.verify(|_| ()).await.unwrap();
            assert_eq!((found.versions, found.flawed.len(), found.missing.len()), (1, 0, 0));
        });
        live(flip_a_byte(&world.vault(), space));
        live(async {
            let organization = world.open_as_it_is().await;
            let found = organization.records.verify(|_| ()).await.unwrap();
            let [flawed] = found.flawed.as_slice() else { panic!("{space:?}: {found:?}") };
            assert_eq!((flawed.version, flawed.flaw), (1, expected), "{space:?}");
            // The type and the id are in the description.
            let name = (expected != Flaw::Description).then(|| "Patient/p1".to_owned());
            assert_eq!((&flawed.name, flawed.record), (&name, organization.keys.record_id("Patient", "p1")));
        });
    }
}

/// Reads answer that there is no such resource, and neither its bodies nor the ledger are at fault.
#[test]
fn a_record_whose_current_version_is_lost_is_named_though_older_versions_are_whole() {
    for space in [Space::Current, Space::Committed] {
        let world = Restarted::new();
        live(async {
            let organization = world.open().await.unwrap();
            world.admit(&organization, "p1").await;
            let content = Content::Json(br#"{"resourceType":"Patient","id":"p1","active":true}"#.to_vec().into());
            let (resource_type, id) = ("Patient".to_owned(), "p1".to_owned());
            let change = Change::Update { resource_type, id, content, patient: None, expected: 1 };
            organization.records.commit(vec![change], Vec::new()).await.unwrap();
        });
        live(async {
            let store = LocalStore::open(&world.vault()).unwrap();
            let (key, _) = store.last(space).unwrap().unwrap();
            let mut batch = Batch::default();
            batch.delete(space, key);
            store.commit(batch, Durability::Synced).await.unwrap();
        });
        live(async {
            let organization = world.open_as_it_is().await;
            let found = organization.records.verify(|_| ()).await.unwrap();
            let record = organization.keys.record_id("Patient", "p1");
            let expected = Flawed { record, version: 2, name: None, flaw: Flaw::Current };
            assert_eq!((found.flawed, found.missing), (vec![expected], Vec::new()), "{space:?}");
        });
    }
}

#[test]
fn a_version_that_the_ledger_does_not_have_and_a_record_that_the_vault_does_not_have_are_named() {
    let world = Restarted::new();
    live(async { world.admit(&world.open().await.unwrap(), "p1").await });
    copy(&world.vault(), &world.folder.path().join("older"));
    live(async { world.admit(&world.open().await.unwrap(), "p2").await });
    roll_back(&world.vault(), &world.folder.path().join("older"));
    live(async {
        let organization = world.open_as_it_is().await;
        let found = organization.records.verify(|_| ()).await.unwrap();
        assert_eq!(found.missing, [organization.keys.record_id("Patient", "p2")]);
        assert!(found.flawed.is_empty(), "{found:?}");
    });
    // The ledger of another network has none of it.
    fs::remove_dir_all(world.folder.path().join("ledger")).unwrap();
    live(async {
        let organization = world.open_as_it_is().await;
        let found = organization.records.verify(|_| ()).await.unwrap();
        assert_eq!(found.flawed.iter().map(|flawed| flawed.flaw).collect::<Vec<_>>(), [Flaw::NotOnLedger]);
    });
}
