//! Passkeys: what a browser signs, checked in consensus; an authenticator in software; and vectors
//! that a real browser made.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use careledger_app::genesis::{Genesis, GenesisError};
use careledger_app::{machine::Machine, store::memory::MemoryStore};
use careledger_wire::{
    commitment,
    proto::{
        accounts::{KeyAuthority, KeyKind, MsgAddKey},
        identity::MsgOpenSubject,
        tx::{SignDoc, TxRaw},
    },
    signing::{Assertion, PublicKey, Signature},
    transaction::{Replay, Transaction, Unsigned},
};
use p256::ecdsa::{SigningKey, signature::hazmat::PrehashSigner as _};
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    script::{message, run},
    world::{CHAIN, START, World, address, bytes, genesis, key, machine, name_of, sign},
};

const ORIGIN: &str = "https://portal.example";
const RP_ID: &str = "portal.example";

fn signing_key(name: &str) -> SigningKey {
    SigningKey::from_slice(&bytes(name)).expect("a hash is a key, but for 2^-32")
}

/// The public key of the passkey `name`.
pub fn public_key(name: &str) -> PublicKey {
    let point = signing_key(name).verifying_key().to_encoded_point(true);
    PublicKey::WebAuthnP256(point.as_bytes().try_into().expect("a compressed point has 33 bytes"))
}

/// What the passkey `name` makes of `digest` at the portal.
pub fn assertion(name: &str, digest: &[u8; 32]) -> Signature {
    Authenticator::new(digest).sign(name)
}

/// What a browser and an authenticator put together, before it is signed.
#[derive(Clone)]
struct Authenticator {
    rp_id_hash: Vec<u8>,
    flags: u8,
    extra: Vec<u8>,
    client_data: Vec<u8>,
}

impl Authenticator {
    fn new(digest: &[u8; 32]) -> Self {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest);
        let client_data =
            format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{ORIGIN}","crossOrigin":false}}"#);
        Self {
            rp_id_hash: Sha256::digest(RP_ID).to_vec(),
            flags: 0b101,
            extra: Vec::new(),
            client_data: client_data.into_bytes(),
        }
    }

    fn replacing(mut self, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.client_data).expect("client data is text");
        assert!(text.contains(from), "{text} has no {from}");
        self.client_data = text.replacen(from, to, 1).into_bytes();
        self
    }

    fn sign(self, name: &str) -> Signature {
        let counter = [0, 0, 0, 7];
        let authenticator_data = [&self.rp_id_hash[..], &[self.flags], &counter, &self.extra].concat();
        let signed =
            Sha256::new().chain_update(&authenticator_data).chain_update(Sha256::digest(&self.client_data)).finalize();
        let signature: p256::ecdsa::Signature = signing_key(name).sign_prehash(&signed).expect("signing does not fail");
        let signature = signature.normalize_s().unwrap_or(signature);
        Signature::WebAuthnP256(Assertion {
            authenticator_data,
            client_data: self.client_data,
            signature: signature.to_bytes().into(),
        })
    }
}

pub fn genesis_with_passkeys() -> Genesis {
    Genesis {
        webauthn_origins: vec!["https://other.example".to_owned(), ORIGIN.to_owned()],
        webauthn_rp_ids: vec!["other.example".to_owned(), RP_ID.to_owned()],
        ..genesis()
    }
}

/// A chain on which passkeys may sign, with a clinic and a patient whose first key is one.
fn portal() -> World {
    let genesis = genesis_with_passkeys();
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    let script = "r1 registers clinic as provider
        r2 registers clinic as provider
        r1 registers lab as laboratory
        r2 registers lab as laboratory
        clinic opens pass-alice.clinic";
    assert!(run(&mut world, script).iter().all(|answer| *answer == "ok"));
    world
}

#[test]
fn a_patient_lives_with_a_passkey_alone() {
    let mut world = portal();
    let answers = run(
        &mut world,
        "pass-alice.clinic claims pass-alice.clinic
         pass-alice.clinic grants lab as g
         pass-alice.clinic revokes g
         pass-alice.clinic adds pass-laptop as full
         pass-alice.clinic@pass-laptop adds phone as device
         pass-alice.clinic@phone grants lab as h on pass-alice.clinic
         pass-alice.clinic@pass-laptop removes pass-alice.clinic
         pass-alice.clinic grants lab as i
         clinic adds pass-director as device
         clinic@pass-director anchors a
         lab@pass-director anchors a
         clinic adds pass-other as full proven-by=pass-director
         clinic adds pass-other as full proven-for=lab",
    );
    let expected = [
        "ok",
        "ok",
        "ok",
        "ok",
        "ok",
        "ok",
        "ok",
        "UnknownKey",
        "ok",
        "ok",
        "UnknownKey",
        "KeyNotProven",
        "PasskeyRefused",
    ];
    assert_eq!(answers, expected);
}

#[test]
fn an_account_whose_first_key_is_a_passkey_knows_it_from_its_first_transaction() {
    use careledger_app::{keys, state::StateRead as _};
    let mut world = portal();
    let claims = message(&world, None, "pass-alice.clinic", "claims pass-alice.clinic");
    let transaction = world.signed_with("pass-alice.clinic", &[claims], Replay::UntilTime(START + 100));
    assert_eq!(name_of(&world.send(transaction)), "ok");
    let account = world.machine.store().get(&keys::account(&key("pass-alice.clinic").address())).unwrap();
    assert_eq!(account.keys.len(), 1);
    assert!(account.public_key.is_empty(), "that field is a secp256k1 key's");
    assert_eq!(run(&mut world, "pass-alice.clinic grants lab as g"), ["ok"]);
}

#[test]
fn without_parameters_no_passkey_signs() {
    let mut world = World::new();
    let script = "r1 registers clinic as provider
        r2 registers clinic as provider
        clinic opens pass-alice.clinic
        pass-alice.clinic claims pass-alice.clinic";
    assert_eq!(run(&mut world, script), ["ok", "ok", "ok", "PasskeyRefused"]);
}

/// Everything that a browser or a thief could change, one at a time. Each is signed as it stands, so
/// that the named rule refuses it and not the signature.
#[test]
fn every_part_of_an_assertion_is_checked() {
    let world = portal();
    let (number, sequence) = world.account("pass-alice.clinic");
    let claims = message(&world, None, "pass-alice.clinic", "claims pass-alice.clinic");
    let name = "pass-alice.clinic";
    let unsigned = Unsigned::with_key(&[claims], &key(name), CHAIN, number, Replay::Sequence(sequence));
    let digest: [u8; 32] = Sha256::digest(unsigned.sign_bytes()).into();
    let good = Authenticator::new(&digest);
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest);
    let other_challenge = BASE64_URL_SAFE_NO_PAD.encode(bytes("another transaction"));
    let flags = |flags| Authenticator { flags, ..good.clone() };
    let cases: Vec<(&str, Authenticator, &str)> = vec![
        ("as it should be", good.clone(), "ok"),
        ("another of the origins", good.clone().replacing(ORIGIN, "https://other.example"), "ok"),
        ("no crossOrigin", good.clone().replacing(r#","crossOrigin":false"#, ""), "ok"),
        ("more members", good.clone().replacing("false}", r#"false,"other":"keys may be added"}"#), "ok"),
        ("backed up", flags(0b11101), "ok"),
        ("extensions", Authenticator { flags: 0b1000_0101, extra: vec![0xa0], ..good.clone() }, "ok"),
        ("a registration", good.clone().replacing("webauthn.get", "webauthn.create"), "PasskeyRefused"),
        ("a payment", good.clone().replacing("webauthn.get", "payment.get"), "PasskeyRefused"),
        ("another challenge", good.clone().replacing(&challenge, &other_challenge), "PasskeyRefused"),
        ("no challenge", good.clone().replacing(&challenge, ""), "PasskeyRefused"),
        ("padding", good.clone().replacing(&challenge, &format!("{challenge}=")), "PasskeyRefused"),
        ("part of the challenge", good.clone().replacing(&challenge, &challenge[..42]), "PasskeyRefused"),
        ("another origin", good.clone().replacing(ORIGIN, "https://evil.example"), "PasskeyRefused"),
        (
            "an origin that begins alike",
            good.clone().replacing(ORIGIN, "https://portal.example.evil"),
            "PasskeyRefused",
        ),
        ("another port", good.clone().replacing(ORIGIN, "https://portal.example:444"), "PasskeyRefused"),
        ("without encryption", good.clone().replacing(ORIGIN, "http://portal.example"), "PasskeyRefused"),
        ("no origin", good.clone().replacing(ORIGIN, ""), "PasskeyRefused"),
        ("an origin in capitals", good.clone().replacing(ORIGIN, "https://PORTAL.example"), "PasskeyRefused"),
        ("in a frame", good.clone().replacing("false", "true"), "PasskeyRefused"),
        ("white space", good.clone().replacing(r#":"webauthn"#, r#": "webauthn"#), "PasskeyRefused"),
        ("another order", good.clone().replacing("type", "typo"), "PasskeyRefused"),
        ("escapes", good.clone().replacing("webauthn.get", r"webauthn\u002eget"), "PasskeyRefused"),
        ("trailing bytes", good.clone().replacing("}", "}x"), "PasskeyRefused"),
        ("a second object", good.clone().replacing(r#","crossOrigin":false}"#, "}{}"), "PasskeyRefused"),
        ("no end", good.clone().replacing("}", ""), "PasskeyRefused"),
        ("nothing", Authenticator { client_data: Vec::new(), ..good.clone() }, "PasskeyRefused"),
        ("user not present", flags(0b100), "PasskeyRefused"),
        ("user not verified", flags(0b001), "PasskeyRefused"),
        ("neither", flags(0), "PasskeyRefused"),
        ("a new credential", flags(0b0100_0101), "PasskeyRefused"),
        ("bytes without a flag", Authenticator { extra: vec![0], ..good.clone() }, "PasskeyRefused"),
        ("a flag without bytes", flags(0b1000_0101), "PasskeyRefused"),
        (
            "another relying party",
            Authenticator { rp_id_hash: Sha256::digest("evil.example").to_vec(), ..good.clone() },
            "PasskeyRefused",
        ),
        (
            "too short",
            Authenticator { rp_id_hash: Sha256::digest(RP_ID)[..31].to_vec(), ..good.clone() },
            "PasskeyRefused",
        ),
        ("too long", Authenticator { flags: 0b1000_0101, extra: vec![0; 220], ..good.clone() }, "Malformed"),
        (
            "a long tale",
            good.clone().replacing("false}", &format!("false,\"x\":\"{}\"}}", "y".repeat(900))),
            "Malformed",
        ),
    ];
    for (what, made, expected) in cases {
        let mut world = portal();
        let transaction = unsigned.clone().signed_by(&[made.sign(name)]);
        assert_eq!(name_of(&world.send(transaction)), expected, "{what}");
    }
}

#[test]
fn a_passkeys_signature_has_one_form_and_one_key() {
    let world = portal();
    let name = "pass-alice.clinic";
    let (number, sequence) = world.account(name);
    let claims = message(&world, None, name, "claims pass-alice.clinic");
    let unsigned = |chain, number| {
        Unsigned::with_key(std::slice::from_ref(&claims), &key(name), chain, number, Replay::Sequence(sequence))
    };
    let sound = unsigned(CHAIN, number);
    let digest: [u8; 32] = Sha256::digest(sound.sign_bytes()).into();
    let Signature::WebAuthnP256(good) = assertion(name, &digest) else { panic!("a passkey signs") };
    let with = |change: &dyn Fn(&mut Assertion)| {
        let mut changed = good.clone();
        change(&mut changed);
        sound.clone().signed_by(&[Signature::WebAuthnP256(changed)])
    };
    let cases = [
        ("high s", with(&|assertion| assertion.signature = high_s(&assertion.signature)), "BadSignature"),
        ("zero", with(&|assertion| assertion.signature = [0; 64]), "BadSignature"),
        ("another counter", with(&|assertion| assertion.authenticator_data[36] ^= 1), "BadSignature"),
        ("another member", with(&|assertion| *assertion = respelled(assertion)), "BadSignature"),
        ("another's", sound.clone().signed_by(&[assertion("pass-bob", &digest)]), "BadSignature"),
        ("another chain", sign(unsigned("careledger-dev-2", number), name), "PasskeyRefused"),
        ("another account", sign(unsigned(CHAIN, number + 1), name), "PasskeyRefused"),
        ("a compact signature", sound.clone().signed([1; 64]), "Malformed"),
        ("as it should be", with(&|_| {}), "ok"),
    ];
    for (what, transaction, expected) in cases {
        let mut world = portal();
        assert_eq!(name_of(&world.send(transaction)), expected, "{what}");
    }
}

/// SEC1's "compact" form has 33 bytes, too: a key came back under another address, to another account or after its removal.
#[test]
fn a_passkeys_key_has_one_encoding() {
    let compact = |name: &str| {
        let mut bytes = *public_key(name).as_bytes();
        bytes[0] = 5;
        bytes
    };
    // Of a key and its negation one is what the compact form stands for.
    let is_the_same = |name: &&str| {
        let read = p256::ecdsa::VerifyingKey::from_sec1_bytes(&compact(name));
        read.is_ok_and(|read| read == *signing_key(name).verifying_key())
    };
    let name =
        ["pass-a", "pass-b", "pass-c", "pass-d", "pass-e", "pass-f"].into_iter().find(is_the_same).expect("a half");
    for (format, expected) in [(4, "ok"), (5, "KeyNotProven")] {
        let genesis = Genesis { state_version: format, ..genesis_with_passkeys() };
        let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
        assert!(run(&mut world, crate::script::FAMILIAR).iter().all(|answer| *answer == "ok"));
        let account = address("alice.clinic");
        let key = PublicKey::WebAuthnP256(compact(name));
        let digest = Sha256::digest(commitment::possession(CHAIN, &account, &key)).into();
        let add = MsgAddKey {
            sender: account.to_string(),
            kind: key.kind().into(),
            key: key.as_bytes().to_vec(),
            authority: KeyAuthority::Device.into(),
            possession: assertion(name, &digest).encode(),
        };
        let transaction = world.signed("alice.clinic", &[add.into()]);
        assert_eq!(name_of(&world.send(transaction)), expected, "format {format}");
    }
}

fn respelled(assertion: &Assertion) -> Assertion {
    let text = String::from_utf8(assertion.client_data.clone())
        .expect("client data is text")
        .replace("false}", "false,\"a\":1}");
    Assertion { client_data: text.into_bytes(), ..assertion.clone() }
}

/// The other signature of the same message: s becomes n − s.
fn high_s(signature: &[u8; 64]) -> [u8; 64] {
    let signature = p256::ecdsa::Signature::from_slice(signature).expect("a signature of ours");
    let (r, s) = signature.split_scalars();
    let high = p256::ecdsa::Signature::from_scalars(r, -s).expect("neither is zero");
    assert!(high.normalize_s().is_some());
    high.to_bytes().into()
}

#[test]
fn origins_and_relying_parties_of_genesis_are_what_browsers_write() {
    let start = |origins: &[&str], rp_ids: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let genesis = Genesis { webauthn_origins: texts(origins), webauthn_rp_ids: texts(rp_ids), ..genesis() };
        let mut machine = Machine::new(MemoryStore::new());
        machine.init_chain(CHAIN, &serde_json::to_vec(&genesis).unwrap(), START).map(|_| ())
    };
    let sound = ["https://portal.example", "https://portal.example:8443", "http://localhost", "http://localhost:8080"];
    assert_eq!(start(&sound, &["portal.example", "localhost"]), Ok(()));
    let long = format!("https://{}", "a".repeat(300));
    for origin in [
        "",
        "portal.example",
        "https://",
        "https://portal.example/",
        "https://Portal.example",
        "http://portal.example",
        "http://localhostile.example",
        "http://localhost:",
        "https://portal.example:",
        "https://portal.example:080",
        "https://portal.example:65536",
        r#"https://portal"example"#,
        "https://portal.example\\",
        &long,
    ] {
        assert_eq!(start(&[origin], &[]), Err(GenesisError::Webauthn(origin.to_owned())), "{origin}");
    }
    for id in ["", "Portal.example", "https://portal.example", "portal example", &long] {
        assert_eq!(start(&[], &[id]), Err(GenesisError::Webauthn(id.to_owned())), "{id}");
    }
    let twice = Err(GenesisError::Webauthn("localhost".to_owned()));
    assert_eq!(start(&[], &["localhost", "localhost"]), twice);
    let many: Vec<String> = (0..17).map(|number| format!("p{number}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(start(&[], &many), Err(GenesisError::Webauthn("p16.example".to_owned())));
}

/// `tests/passkeys/record.py` made these with Chromium and its virtual authenticator; it encoded the
/// sign documents by itself.
#[test]
fn what_a_real_browser_signed_takes_effect() {
    let vectors: Value = serde_json::from_str(include_str!("../../golden/passkeys.json")).unwrap();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let hexed = |value: &Value| hex::decode(value.as_str().expect("text")).expect("hexadecimal");
    let key = PublicKey::new(KeyKind::WebauthnP256, &hexed(&vectors["public_key"])).unwrap();
    assert_eq!(key.address().to_string(), text(&vectors["address"]));
    assert_eq!(text(&vectors["chain_id"]), CHAIN);
    let genesis = Genesis {
        webauthn_origins: vec![text(&vectors["origin"])],
        webauthn_rp_ids: vec![text(&vectors["rp_id"])],
        ..genesis()
    };
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    let script = "r1 registers clinic as provider\nr2 registers clinic as provider
        r1 registers lab as laboratory\nr2 registers lab as laboratory";
    assert!(run(&mut world, script).iter().all(|answer| *answer == "ok"));
    let open =
        MsgOpenSubject { sender: address("clinic").to_string(), claimant: key.address().to_vec(), binding: None };
    let open = world.signed("clinic", &[open.into()]);
    assert_eq!(name_of(&world.send(open)), "ok");

    for recorded in vectors["transactions"].as_array().unwrap() {
        let document = SignDoc::decode(hexed(&recorded["sign_bytes"]).as_slice()).unwrap();
        let signature = p256::ecdsa::Signature::from_der(&hexed(&recorded["signature_der"])).unwrap();
        let signature = signature.normalize_s().unwrap_or(signature);
        let assertion = Assertion {
            authenticator_data: hexed(&recorded["authenticator_data"]),
            client_data: text(&recorded["client_data_json"]).into_bytes(),
            signature: signature.to_bytes().into(),
        };
        let transaction = |signature: Signature| {
            let raw = TxRaw {
                body_bytes: document.body_bytes.clone(),
                auth_info_bytes: document.auth_info_bytes.clone(),
                signatures: vec![signature.encode()],
            };
            raw.encode_to_vec()
        };
        let high = Assertion { signature: high_s(&assertion.signature), ..assertion.clone() };
        let high = transaction(Signature::WebAuthnP256(high));
        assert_eq!(name_of(&world.send(high)), "BadSignature");
        let sound = transaction(Signature::WebAuthnP256(assertion));
        let decoded = Transaction::decode(&sound).unwrap();
        assert_eq!(decoded.messages()[0].type_url(), text(&recorded["type_url"]));
        let number = document.account_number;
        assert_eq!(decoded.sign_digest(CHAIN, number)[..], Sha256::digest(hexed(&recorded["sign_bytes"]))[..]);
        assert_eq!(name_of(&world.send(sound)), "ok", "{}", recorded["type_url"]);
    }
    assert_eq!(world.state().keys().filter(|key| key.starts_with(b"consent/")).count(), 1);
}
