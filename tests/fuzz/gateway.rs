//! What a gateway reads of strangers: clients' JSON, searches and assertions, peers' messages.
//!
//! As for the ledger's targets: each says whether the bytes were accepted, and asserts what must
//! hold of those that are.

use std::{
    pin::pin,
    str::FromStr as _,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use careledger_gateway::{
    audit::{AnchoredBatch, Inclusion, Leaf},
    auth::{
        assertion::{self, ClientKeys},
        scopes::{Interaction, Level, Scopes},
    },
    envelope::{self, Document as Sealing, Wrap},
    index::extract,
    json::Document,
    keys::{EncryptionPair, Secret},
    ledger::rpc::params::Params,
    mapping::{consent, coverage, eligibility, facts, patient, plan, practitioner, signed, task},
    release::{
        messages::{AccessRequest, Answer, Read, Sealed, Search},
        signed::{Acceptance, Headers, Request, SignatureError},
    },
    remote::{
        names::Name,
        rewrite::{self, Origin},
    },
    resources,
    search::{Cursor, Handling, Query},
    server::{headers, route},
    validate,
    value_sets::{self, Budget, Kind, Named, Pin, Shelf, Volume},
};
use careledger_wire::ids::{Address, Digest, RecordId, RequestId};

use super::driver::Target;

/// Every target by name, and its executions in an ordinary run of the tests.
pub const TARGETS: &[(&str, Target, usize)] = &[
    ("json", json, 30_000),
    ("resource", resource, 15_000),
    ("search", search, 30_000),
    ("envelope", sealed, 10_000),
    ("peer", peer, 20_000),
    ("client", client, 20_000),
    ("leaf", leaf, 20_000),
    ("call", call, 30_000),
];

const BASE_URL: &str = "https://clinic.example/fhir";
const NOW: i64 = 1_800_000_000;

/// A body: what the strict parser accepts is JSON, and every part of it is a document.
pub fn json(bytes: &[u8]) -> bool {
    let Ok(document) = Document::parse(bytes.to_vec()) else { return false };
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("what the strict parser accepts is JSON");
    assert_eq!(document.to_value(), value);
    assert_eq!(document.bytes().as_ref(), bytes, "bytes are kept as they were sent");
    let members = document.root().members().iter().map(|(_, node)| node);
    for node in members.chain(document.root().items()) {
        let part = document.extract(node).expect("a part of a document is one");
        assert_eq!(part.bytes().as_ref(), &bytes[node.range()]);
    }
    let _ = (document.resource_type(), document.id());
    true
}

/// A resource: validated, indexed and mapped to what the ledger is told.
pub fn resource(bytes: &[u8]) -> bool {
    let Ok(document) = Document::parse(bytes.to_vec()) else { return false };
    let Ok(links) = validate::resource(&document) else { return false };
    for link in links {
        assert!(link.path.is_ascii() && link.node.range().end <= bytes.len());
    }
    let known = document.resource_type().and_then(resources::resource);
    if let Some(known) = known {
        drop(extract::terms(&document, known, BASE_URL));
    }
    if known.is_some_and(|known| known.name == value_sets::TYPE) {
        value_set(&document);
    }
    let value = document.to_value();
    let own = Address::new([7; 20]);
    let _ = (consent::status(&value), consent::permit(&value), facts::of(&value));
    let _ = (task::is_access_request(&value), task::request(&value), patient::claimant(&value));
    let _ = (plan::plan(&value, &own), plan::policy(&value), coverage::enrolment(&value));
    let _ = (practitioner::account(&value), eligibility::claim(&value, &own), signed::targets(&value));
    if let Ok(Some(signed)) = signed::transaction(&value) {
        let read = careledger_wire::transaction::Transaction::decode(&signed.bytes).expect("it was read before");
        assert_eq!(read.messages(), [signed.message]);
    }
    let mut foreign = value.clone();
    let name = Name::new([1; 8]);
    rewrite::rewrite(
        &mut foreign,
        &Origin {
            name: &name,
            patient: "p",
            source: "urn:a",
            base_url: BASE_URL,
            version: 1,
            last_updated: "2027-01-15T08:00:00Z",
        },
    );
    true
}

/// A ValueSet that includes itself and another one: what it lists is bounded, or there is a place that is at fault.
fn value_set(document: &Document) {
    let own = Named::Canonical { url: document.root().text("url").unwrap_or("urn:x").to_owned(), version: None };
    let (mut shelf, mut budget) = (Shelf::default(), Budget::default());
    for (id, name) in [("own", own.clone()), ("other", Named::Id("other".to_owned()))] {
        let pin = Pin { id: id.to_owned(), version: 1 };
        shelf.put(name, pin.clone());
        shelf.open(pin, Volume::of(document.clone(), BASE_URL));
    }
    let names = [own];
    shelf.answer(&names, BASE_URL, &mut budget);
    // Nothing is looked at that does not stand there, each time that it is included.
    assert!(budget.spent(Kind::Looks) <= document.bytes().len() * (1 + budget.spent(Kind::Imports)));
    match shelf.sets(&names).members(&names[0]) {
        Ok(members) => assert!(members.codes() <= value_sets::CODES_MAX),
        Err(refusal) => assert!(refusal.to_string().starts_with("ValueSet"), "{refusal}"),
    }
}

/// A search: the type, then the query, as one address.
pub fn search(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    let _ = (route::decoded(name), route::allowed(&name.split('/').collect::<Vec<_>>()));
    let Some(resource) = resources::resource(name) else { return false };
    let pairs = headers::pairs(query);
    let strict = Query::parse(resource, &pairs, Handling::Strict, BASE_URL);
    let lenient = Query::parse(resource, &pairs, Handling::Lenient, BASE_URL);
    let Ok(read) = lenient else {
        assert!(strict.is_err(), "what is refused leniently is refused strictly");
        return false;
    };
    assert!(read.count <= 1_000, "a page is bounded");
    assert_eq!(strict.is_ok(), read.ignored.is_empty(), "strictly, nothing is ignored");
    let _ = (read.types(), read.patients());
    if let Some(cursor) = read.cursor {
        assert_eq!(Cursor::from_str(&cursor.to_string()), Ok(cursor));
    }
    true
}

/// Keys that nobody keeps secret.
pub fn pair() -> EncryptionPair {
    EncryptionPair::new(Secret::new([7; 32]))
}

/// What the seeds of [`sealed`] are bound to.
pub fn sealing() -> Sealing {
    Sealing::new(RecordId::new([3; 32]), 1)
}

/// The storage key of the seeds of [`sealed`].
pub fn storage() -> Secret {
    Secret::new([9; 32])
}

/// What the seeds of [`sealed`] hold.
pub const SEALED: &[u8] = b"what only its reader may know";

/// Ciphertexts, as peers and vaults give them: what opens is what was sealed.
pub fn sealed(bytes: &[u8]) -> bool {
    let mut opened = false;
    if let Ok(value) = envelope::ValueKey::of(&storage()).open(bytes, b"fuzz") {
        assert_eq!(value, SEALED, "an altered value opened");
        opened = true;
    }
    if let Ok(wrap) = serde_json::from_slice::<Wrap>(bytes) {
        let own = envelope::unwrap_own(&sealing(), &wrap, &envelope::StorageKey::of(&storage()));
        let theirs = envelope::unwrap_for(&sealing(), &wrap, &pair());
        assert!(own.is_err() || theirs.is_err(), "a wrap is of one suite");
        if let Ok(key) = own.or(theirs) {
            // The body is shorter than any: it never opens, whatever the key.
            assert!(envelope::open(&sealing(), &key, bytes).is_err());
            opened = true;
        }
    }
    if let Ok(message) = serde_json::from_slice::<Sealed>(bytes) {
        let exchange = Digest::new([5; 32]);
        let answer = message.open_answer(&pair(), &exchange);
        assert!(answer.as_ref().is_err() || answer == Ok(Answer { documents: Vec::new(), is_truncated: true }));
        let asked = message.open_access_request::<Answer>(&pair(), &RequestId::new([5; 32]));
        assert!(answer.is_err() || asked.is_err(), "a message is of one use");
        opened |= answer.is_ok() || asked.is_ok();
    }
    opened
}

/// A signed request of a peer: four lines of headers, then the body.
pub fn peer(bytes: &[u8]) -> bool {
    let mut lines = bytes.splitn(5, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let values = [line(), line(), line(), line()];
    let body = lines.next().unwrap_or_default();
    let is_message = serde_json::from_slice::<Search>(body).is_ok()
        || serde_json::from_slice::<Read>(body).is_ok()
        || serde_json::from_slice::<AccessRequest>(body).is_ok()
        || serde_json::from_slice::<task::Delivery>(body).is_ok();
    let names = NAMES.iter().zip(values);
    let get = |wanted: &str| names.clone().find(|(name, _)| **name == wanted).and_then(|(_, value)| value);
    let Ok(read) = Headers::read(get) else { return false };
    let written = read.write();
    assert_eq!(
        Headers::read(|name| written.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())),
        Ok(read.clone())
    );
    let recipient = Address::new([2; 20]);
    let request = Request { chain_id: "careledger-dev-1", recipient: &recipient, path: "/peer/v1/read", body };
    let acceptance = Acceptance::new(NOW - 10);
    match acceptance.verify(&request, &read, NOW) {
        Ok((_, digest)) => {
            let remember = || at_once(acceptance.remember(&digest, read.time, NOW));
            assert_eq!(remember(), Ok(Ok(())));
            assert_eq!(remember(), Ok(Err(SignatureError::Replayed)));
            is_message
        }
        Err(_) => false,
    }
}

/// What gives its answer without waiting for anything.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// Names of the headers of a signed request, in the order of [`peer`]'s lines.
static NAMES: LazyLock<[&str; 4]> = LazyLock::new(|| {
    let headers = Headers { key: [0; 33], time: 0, nonce: [0; 32], signature: [0; 64] };
    headers.write().map(|(name, _)| name)
});

/// Keys of the client that the seeds of [`client`] are of.
pub const CLIENT_KEYS: &str = include_str!("client.jwks.json");

/// What a client sends for a token: an assertion, scopes; and what its owner registered.
pub fn client(bytes: &[u8]) -> bool {
    static KEYS: LazyLock<ClientKeys> = LazyLock::new(|| ClientKeys::parse(CLIENT_KEYS.as_bytes()).expect("two keys"));
    let mut accepted = ClientKeys::parse(bytes).is_ok();
    let Ok(text) = std::str::from_utf8(bytes) else { return accepted };
    if let Ok(client) = assertion::claimed_client(text) {
        assert!(
            assertion::verify(text, &client, &KEYS, BASE_URL, NOW).is_err(),
            "nobody has the key that these are made with"
        );
        accepted = true;
    }
    if let Ok(scopes) = Scopes::parse(text) {
        assert_eq!(Scopes::parse(&scopes.to_string()).as_ref(), Ok(&scopes), "scopes are read as they are written");
        let Ok(granted) = Scopes::granted(&scopes, text) else { return true };
        let all =
            [Interaction::Create, Interaction::Read, Interaction::Update, Interaction::Delete, Interaction::Search];
        for interaction in all {
            for level in [Level::System, Level::Patient, Level::User] {
                let may = scopes.allow(level, interaction, "Patient");
                assert_eq!(
                    may,
                    granted.allow(level, interaction, "Patient"),
                    "one is granted what one is registered with"
                );
            }
        }
        accepted |= !scopes.is_empty();
    }
    accepted
}

/// A line of an access log, a batch of such, and the place of one in it.
pub fn leaf(bytes: &[u8]) -> bool {
    if let Ok(leaf) = serde_json::from_slice::<Leaf>(bytes) {
        let again: Leaf = serde_json::from_slice(&leaf.bytes()).expect("a leaf is what it is written as");
        assert_eq!((again.hash(), again), (leaf.hash(), leaf));
        return true;
    }
    serde_json::from_slice::<AnchoredBatch>(bytes).is_ok() || serde_json::from_slice::<Inclusion>(bytes).is_ok()
}

/// Parameters of a call to the ledger's RPC, as JSON or as a URI's query.
pub fn call(bytes: &[u8]) -> bool {
    let params = match serde_json::from_slice(bytes) {
        Ok(named) => Params::from_json(named),
        Err(_) => match std::str::from_utf8(bytes) {
            Ok(text) => Params::from_uri(headers::pairs(text)),
            Err(_) => return false,
        },
    };
    let read = [
        params.text("path").map(drop),
        params.hexadecimal("data").map(drop),
        params.base64("tx").map(drop),
        params.number("height").map(drop),
        params.flag("prove").map(drop),
    ];
    read.iter().all(Result::is_ok)
}
