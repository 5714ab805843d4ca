//! Scripts: one transaction a line, `sender verb arguments`, messages joined by ` + `.
//!
//! `at 60` sets the time, in seconds since the start. A subject is named by its claimant's key,
//! `alice.clinic`: Alice's key for the clinic. Grants, requests, records, plans and commitments
//! are named by any word. `note roots` keeps the current roots for `roots=noted`.

use std::sync::LazyLock;

use careledger_app::{keys, machine::Machine, store::memory::MemoryStore};
use careledger_wire::{
    commitment,
    ids::{Address, SubjectId},
    message::Message,
    proto::{
        accounts::{
            Binding, KeyAuthority, MsgAddKey, MsgApproveRecovery, MsgAttestRecovery, MsgFinishRecovery, MsgRemoveKey,
            MsgSetGuardians, MsgVetoRecovery,
        },
        audit::MsgAnchorAccessLog,
        consent::{ConsentMode, MsgGrantConsent, MsgRequestAccess, MsgRevokeConsent},
        identity::{
            MsgClaimSubject, MsgEnrolPractitioner, MsgOpenSubject, MsgRegisterOrganization, MsgSuspendOrganization,
            OrganizationKind, PractitionerRole, SuspensionReason,
        },
        records::{Anchor, MsgAnchorRecords, MsgMarkEnteredInError, MsgSupersedeRecords, Supersession},
    },
};
use careledger_zk::field::Element;

pub use crate::insurance_words::{plan_commitment, roots};
use crate::{
    insurance_words,
    world::{CHAIN, START, World, address, bytes, key, name_of, signature},
};

/// A registered clinic, lab and insurer; Alice's and Bob's subjects at the clinic, claimed; a doctor.
pub const FAMILIAR: &str = "
    r1 registers clinic as provider
    r2 registers clinic as provider
    r1 registers lab as laboratory
    r2 registers lab as laboratory
    r1 registers chemist as pharmacy
    r2 registers chemist as pharmacy
    r1 registers payer as insurer
    r2 registers payer as insurer
    clinic enrols doctor
    clinic opens alice.clinic
    alice.clinic claims alice.clinic
    clinic opens bob.clinic
    bob.clinic claims bob.clinic";

/// Runs `script` on a new chain and compares the answers, line by line.
#[track_caller]
pub fn check(script: &str, expected: &str) {
    let answers = run(&mut World::new(), script);
    assert_same(script, &answers, expected);
}

/// As [`check`], where everybody of [`FAMILIAR`] is there.
#[track_caller]
pub fn check_familiar(script: &str, expected: &str) {
    let mut world = familiar();
    let answers = run(&mut world, script);
    assert_same(script, &answers, expected);
}

/// The chain of [`FAMILIAR`].
pub fn familiar() -> World {
    static STORE: LazyLock<MemoryStore> = LazyLock::new(|| {
        let mut world = World::new();
        let answers = run(&mut world, FAMILIAR);
        assert!(answers.iter().all(|answer| *answer == "ok"), "{answers:?}");
        world.machine.into_store()
    });
    World { machine: Machine::new(STORE.clone()), replica: Machine::new(STORE.clone()), time: 0 }
}

/// The answers are these, line by line.
#[track_caller]
pub fn assert_same(script: &str, answers: &[&str], expected: &str) {
    let expected: Vec<&str> = expected.split_whitespace().collect();
    let sent: Vec<&str> = lines(script).filter(|line| !is_stage_direction(line)).collect();
    for (number, line) in sent.iter().enumerate() {
        assert_eq!(answers.get(number), expected.get(number), "line {}: {line}", number + 1);
    }
    assert_eq!(answers.len(), expected.len(), "there are as many answers as transactions");
}

fn lines(script: &str) -> impl Iterator<Item = &str> {
    script.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn is_stage_direction(line: &str) -> bool {
    line.starts_with("at ") || line == "note roots"
}

/// Runs a script; one answer for each transaction.
pub fn run(world: &mut World, script: &str) -> Vec<&'static str> {
    let mut answers = Vec::new();
    let mut noted = None;
    for line in lines(script) {
        if let Some(time) = line.strip_prefix("at ") {
            world.time = time.parse().expect("a time in seconds");
        } else if line == "note roots" {
            noted = Some(roots(world, &address("payer")));
        } else {
            let (sender, rest) = line.split_once(' ').expect("a sender and a verb");
            let parts: Vec<Message> = rest.split(" + ").map(|part| message(world, noted, sender, part)).collect();
            let transaction = world.signed(sender, &parts);
            answers.push(name_of(&world.send(transaction)));
        }
    }
    answers
}

/// The message that `part` (`verb arguments`) describes.
pub fn message(world: &World, noted: Option<(Element, Element)>, sender: &str, part: &str) -> Message {
    let words: Vec<&str> = part.split_whitespace().collect();
    let words = Words { sender, words: &words, world };
    let from = address(sender).to_string();
    match words.at(0) {
        "registers" => MsgRegisterOrganization {
            sender: from,
            organization: address(words.at(1)).to_vec(),
            kind: kind(words.after("as").expect("as which kind")).into(),
            encryption_key: bytes(words.at(1)).to_vec(),
            evidence: bytes("evidence").to_vec(),
            expires_at: words.time("until", 1_000_000),
            emergency: words.has("emergency"),
        }
        .into(),
        "suspends" => MsgSuspendOrganization {
            sender: from,
            organization: address(words.at(1)).to_vec(),
            reason: SuspensionReason::UnderInvestigation.into(),
        }
        .into(),
        "enrols" => MsgEnrolPractitioner {
            sender: from,
            practitioner: address(words.at(1)).to_vec(),
            role: PractitionerRole::Physician.into(),
            qualification: bytes("qualification").to_vec(),
            expires_at: words.time("until", 1_000_000),
            binding: words.binding(),
        }
        .into(),
        "opens" => {
            MsgOpenSubject { sender: from, claimant: address(words.at(1)).to_vec(), binding: words.binding() }.into()
        }
        "claims" => MsgClaimSubject {
            sender: from,
            subject: subject(words.at(1)).to_vec(),
            encryption_key: bytes(words.at(1)).to_vec(),
        }
        .into(),
        "requests" => MsgRequestAccess {
            sender: from,
            subject: subject(words.at(1)).to_vec(),
            request: bytes(words.after("as").expect("as which request")).to_vec(),
            terms: words.named("terms"),
            body: words.named("body"),
            expires_at: words.time("until", 1_000),
            standing: words.after("under").map(|standing| bytes(standing).to_vec()).unwrap_or_default(),
        }
        .into(),
        "grants" => MsgGrantConsent {
            sender: from,
            subject: words.subject().to_vec(),
            grant: bytes(words.after("as").expect("as which grant")).to_vec(),
            grantee: address(words.at(1)).to_vec(),
            mode: words.mode().into(),
            not_before: words.time("from", 0),
            expires_at: words.time("until", 1_000),
            terms: words.named("terms"),
            body: words.named("body"),
            request: words.after("for").map(|request| bytes(request).to_vec()).unwrap_or_default(),
            delegable: words.has("delegable"),
        }
        .into(),
        "revokes" => {
            MsgRevokeConsent { sender: from, subject: words.subject().to_vec(), grant: bytes(words.at(1)).to_vec() }
                .into()
        }
        "anchors" => {
            MsgAnchorRecords { sender: from, anchors: words.plain().map(|record| anchor(record, &words)).collect() }
                .into()
        }
        "supersedes" => MsgSupersedeRecords {
            sender: from,
            supersessions: words.plain().map(|record| supersession(record, &words)).collect(),
        }
        .into(),
        "marks" => {
            let (record, version) = versioned(words.at(1));
            MsgMarkEnteredInError { sender: from, record: bytes(record).to_vec(), version }.into()
        }
        "logs" => MsgAnchorAccessLog {
            sender: from,
            sequence: words.at(1).parse().expect("a sequence"),
            root: words.named("root"),
            count: words.after("count").map_or(1, |count| count.parse().expect("a count")),
            period_start: words.time("from", 0),
            period_end: words.time("to", 0),
        }
        .into(),
        "publishes" | "attests" | "unattests" | "covers" | "proves" => {
            insurance_words::message(words.at(0), from, noted, &words)
        }
        "adds" => add_key(from, &words).into(),
        "guards" => guard(from, &words).into(),
        "approves" => {
            let (kind, key) = new_key(words.at(1));
            MsgApproveRecovery { sender: from, account: words.lost(), kind, key }.into()
        }
        "sees" => {
            let (kind, key) = new_key(words.at(1));
            MsgAttestRecovery { sender: from, account: words.lost(), kind, key }.into()
        }
        "vetoes" => MsgVetoRecovery { sender: from }.into(),
        "restores" => {
            let name = words.after("with").expect("with which key");
            let (kind, key) = new_key(name);
            let account = address(words.at(1));
            let possession = words.possession(name, &account);
            MsgFinishRecovery { sender: from, account: account.to_vec(), kind, key, possession }.into()
        }
        "removes" => {
            let (kind, key) = new_key(words.at(1));
            MsgRemoveKey { sender: from, kind, key }.into()
        }
        verb => crate::governance::message(verb, from, &words),
    }
}

/// `adds <key> as full`, or `as device`, with options: `proven-by=` (key that signs the possession),
/// `proven-for=` (account in it), `proven-on=` (chain).
fn add_key(from: String, words: &Words<'_>) -> MsgAddKey {
    let (kind, key) = new_key(words.at(1));
    let authority = match words.after("as") {
        Some("full") => KeyAuthority::Full,
        Some("device") => KeyAuthority::Device,
        _ => KeyAuthority::Unspecified,
    };
    let possession = words.possession(words.at(1), &address(words.sender));
    MsgAddKey { sender: from, kind, key, authority: authority.into(), possession }
}

fn new_key(name: &str) -> (i32, Vec<u8>) {
    let key = key(name);
    (key.kind().into(), key.as_bytes().to_vec())
}

/// `guards 2 of a b c`, or `guards none`, with `delay=` in seconds.
fn guard(from: String, words: &Words<'_>) -> MsgSetGuardians {
    let names = if words.at(1) == "none" { &[] } else { &words.words[3..] };
    let guardians = names.iter().filter(|word| !word.contains('=')).map(|name| address(name).to_vec()).collect();
    let default = if names.is_empty() { "0" } else { "86400" };
    MsgSetGuardians {
        sender: from,
        guardians,
        threshold: words.at(1).parse().unwrap_or_default(),
        delay_seconds: words.option("delay").unwrap_or(default).parse().expect("seconds"),
    }
}

/// A line of a script.
pub struct Words<'a> {
    /// Who sends.
    pub sender: &'a str,
    /// The verb and its arguments.
    pub words: &'a [&'a str],
    /// The chain so far.
    pub world: &'a World,
}

impl<'a> Words<'a> {
    pub fn at(&self, index: usize) -> &'a str {
        self.words.get(index).expect("one more word")
    }

    pub fn after(&self, word: &str) -> Option<&'a str> {
        let place = self.words.iter().position(|other| *other == word)?;
        Some(self.at(place + 1))
    }

    pub fn option(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn time(&self, word: &str, default: i64) -> i64 {
        START + self.after(word).map_or(default, |time| time.parse().expect("a time in seconds"))
    }

    /// The bytes of an option `name=word`; without it those of its own name.
    pub fn named(&self, name: &str) -> Vec<u8> {
        bytes(self.option(name).unwrap_or(name)).to_vec()
    }

    /// The words after the verb that are no option.
    pub fn plain(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.words[1..].iter().copied().filter(|word| !word.contains('='))
    }

    /// Whether the word is there.
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// `append` opens appending; without it a grant opens viewing.
    pub fn mode(&self) -> ConsentMode {
        if self.has("append") { ConsentMode::Append } else { ConsentMode::View }
    }

    /// With `bound`, the word of the key that gets the account; `bound-by=` (key), `bound-to=`
    /// (organization), `bound-on=` (chain) and `bound-key=` (key that is named) change it.
    pub fn binding(&self) -> Option<Binding> {
        if !self.words.contains(&"bound") {
            return None;
        }
        let name = self.option("bound-key").unwrap_or(self.at(1));
        let organization = address(self.option("bound-to").unwrap_or(self.sender));
        let message = commitment::binding(self.option("bound-on").unwrap_or(CHAIN), &organization, &key(name));
        let (kind, key) = new_key(name);
        let signature = signature(self.option("bound-by").unwrap_or(name), &message).encode();
        Some(Binding { kind, key, signature })
    }

    fn lost(&self) -> Vec<u8> {
        address(self.after("for").expect("for which account")).to_vec()
    }

    /// The key's proof for the account, or that of `proven-by=`, `proven-for=`, `proven-on=`.
    fn possession(&self, name: &str, account: &Address) -> Vec<u8> {
        let account = self.option("proven-for").map_or(*account, address);
        let chain_id = self.option("proven-on").unwrap_or(CHAIN);
        let message = commitment::possession(chain_id, &account, &key(name));
        signature(self.option("proven-by").unwrap_or(name), &message).encode()
    }

    pub fn subject(&self) -> SubjectId {
        subject(self.after("on").unwrap_or(self.sender))
    }
}

/// `alice.clinic` is Alice's subject at the clinic.
pub fn subject(name: &str) -> SubjectId {
    let organization = name.split_once('.').map_or("nowhere", |(_, organization)| organization);
    commitment::subject_id(&address(organization), &address(name))
}

fn kind(name: &str) -> OrganizationKind {
    match name {
        "provider" => OrganizationKind::Provider,
        "insurer" => OrganizationKind::Insurer,
        "laboratory" => OrganizationKind::Laboratory,
        "pharmacy" => OrganizationKind::Pharmacy,
        _ => OrganizationKind::Unspecified,
    }
}

fn anchor(record: &str, words: &Words<'_>) -> Anchor {
    Anchor { record: bytes(record).to_vec(), commitment: words.named("commitment") }
}

/// `x:2` is version 2 of record x.
fn versioned(word: &str) -> (&str, u32) {
    let (record, version) = word.split_once(':').expect("record:version");
    (record, version.parse().expect("a version"))
}

fn supersession(word: &str, words: &Words<'_>) -> Supersession {
    let (record, version) = versioned(word);
    Supersession { record: bytes(record).to_vec(), version, commitment: words.named("next") }
}

/// The path of a named grant.
pub fn grant_path(subject_name: &str, grant: &str) -> Vec<u8> {
    keys::consent(&subject(subject_name), &careledger_wire::ids::GrantId::new(bytes(grant))).into_bytes()
}
