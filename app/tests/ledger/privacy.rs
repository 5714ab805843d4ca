//! What the chain tells of a patient: nothing that joins two organizations' views of one person.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use careledger_app::{keys, state::StateRead as _, store::memory::MemoryStore};
use careledger_wire::{
    ids::{Address, RequestId, SubjectId},
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent},
        identity::{MsgClaimSubject, MsgOpenSubject},
        records::{Anchor, MsgAnchorRecords},
    },
    transaction::Replay,
};

use crate::{
    script::{familiar, grant_path, message, run, subject},
    sponsors::sponsored,
    world::{START, State, World, address, bytes, name_of},
};

/// One person's whole life at one organization, with the keys and salts that a wallet and a
/// gateway draw for it.
fn live(world: &mut World, organization: &str, grantee: &str) -> State {
    let before = world.state();
    let claimant = format!("alice.{organization}");
    let own = |what: &str| bytes(&format!("{what} of {claimant}")).to_vec();
    let steps: Vec<(&str, Message)> = vec![
        (
            organization,
            MsgOpenSubject {
                sender: address(organization).to_string(),
                claimant: address(&claimant).to_vec(),
                binding: None,
            }
            .into(),
        ),
        (
            &claimant,
            MsgClaimSubject {
                sender: address(&claimant).to_string(),
                subject: subject(&claimant).to_vec(),
                encryption_key: own("encryption key"),
            }
            .into(),
        ),
        (
            organization,
            MsgAnchorRecords {
                sender: address(organization).to_string(),
                anchors: vec![Anchor { record: own("record"), commitment: own("commitment") }],
            }
            .into(),
        ),
        (
            &claimant,
            MsgGrantConsent {
                sender: address(&claimant).to_string(),
                subject: subject(&claimant).to_vec(),
                grant: own("grant"),
                grantee: address(grantee).to_vec(),
                mode: ConsentMode::View.into(),
                not_before: START,
                expires_at: START + 1_000,
                terms: own("terms"),
                body: own("body"),
                request: Vec::new(),
                delegable: false,
            }
            .into(),
        ),
    ];
    for (sender, message) in steps {
        let transaction = world.signed(sender, &[message]);
        assert_eq!(name_of(&world.send(transaction)), "ok");
    }
    let after = world.state();
    after.into_iter().filter(|(key, value)| before.get(key) != Some(value)).collect()
}

/// Every 20 consecutive bytes: no address, id, key or commitment is shorter.
fn windows(state: &State) -> BTreeSet<Vec<u8>> {
    let all = state.iter().flat_map(|(key, value)| [key.clone(), value.clone()]);
    all.flat_map(|bytes| bytes.windows(Address::LENGTH).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

#[test]
fn two_organizations_share_no_value_about_one_person() {
    let mut world = familiar();
    // A grantee that both views name is known to both organizations anyway.
    let at_lab = live(&mut world, "lab", "payer");
    let at_chemist = live(&mut world, "chemist", "clinic");
    // The parameters count accounts and are of no person.
    let registrars = windows(&[(b"parameters".to_vec(), world.state()[b"parameters".as_slice()].clone())].into());
    let shared: Vec<_> = windows(&at_lab)
        .intersection(&windows(&at_chemist))
        .filter(|value| !registrars.contains(*value))
        .map(|value| value.escape_ascii().to_string())
        .collect();
    assert!(shared.is_empty(), "shared: {shared:?}");
}

/// Places at which a value of these bytes could stand: each length-delimited field, and those within.
fn places(bytes: &[u8], at: usize, depth: usize, found: &mut Vec<(usize, usize)>) {
    use prost::encoding::{WireType, decode_key, decode_varint};
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok((_, wire)) = decode_key(&mut rest) else { return };
        let before = bytes.len() - rest.len();
        let Ok(number) = decode_varint(&mut rest) else { return };
        if wire != WireType::LengthDelimited {
            continue;
        }
        let start = bytes.len() - rest.len();
        let Some((field, after)) = rest.split_at_checked(number as usize) else { return };
        found.push((at + before, at + start + field.len()));
        if depth > 0 {
            places(field, at + start, depth - 1, found);
        }
        rest = after;
    }
}

/// No transaction has a field that would carry a sentence: whichever is given one, it is refused for
/// its form, before anything is asked of the state.
#[test]
fn no_field_of_any_transaction_takes_a_text() {
    let text = b"Alice Example, born 1980-02-30, diagnosed with something nobody else should know.";
    let field = [&[u8::try_from(text.len()).expect("a short text")], text.as_slice()].concat();
    let (mut tried, mut parsed) = (0, 0);
    for (line, sender) in crate::matrix::every_transaction() {
        let mut world = familiar();
        assert!(run(&mut world, crate::matrix::BEFORE).iter().all(|answer| *answer == "ok"));
        let any = message(&world, None, sender, &line).to_any();
        let mut found = Vec::new();
        places(&any.value, 0, 1, &mut found);
        for (start, end) in found {
            let mut value = any.value.clone();
            value.splice(start..end, field.iter().copied());
            let altered = prost_types::Any { type_url: any.type_url.clone(), value };
            tried += 1;
            // Most nested messages are none any more; what is one must be refused as itself.
            let Ok(altered) = Message::decode(&altered) else { continue };
            parsed += 1;
            let transaction = world.signed(sender, &[altered]);
            let answer = name_of(&world.send(transaction));
            assert!(["InvalidField", "Malformed"].contains(&answer), "{line}, bytes {start} to {end}: {answer}");
        }
    }
    assert!(tried > 150 && parsed > 130, "{tried} fields, {parsed} of them in messages");
}

const PERSONS: [&str; 3] = ["alice", "robert", "carol"];
/// Custodians, and for each the grantee of its patients and that one's delegate.
const CUSTODIANS: [(&str, &str, &str); 3] =
    [("lab", "payer", "chemist"), ("chemist", "clinic", "payer"), ("payer", "lab", "clinic")];
const MONTHS: i64 = 12;
const MONTH_SECONDS: i64 = 30 * 86_400;

/// One organization's view of one person.
#[derive(Clone, Copy)]
struct View {
    person: &'static str,
    custodian: &'static str,
    grantee: &'static str,
    delegate: &'static str,
}

impl View {
    fn all() -> Vec<Self> {
        let of = |person: &'static str| {
            CUSTODIANS.map(|(custodian, grantee, delegate)| Self { person, custodian, grantee, delegate })
        };
        PERSONS.into_iter().flat_map(of).collect()
    }

    fn claimant(&self) -> String {
        format!("{}.{}", self.person, self.custodian)
    }

    fn guardian(&self) -> String {
        format!("guardian.{}", self.claimant())
    }

    /// A word that a wallet or a gateway draws for this view alone.
    fn own(&self, what: &str, month: i64) -> String {
        format!("{what}-{}-{month}", self.claimant())
    }

    /// Every word of this view, in any month.
    fn words(&self) -> Vec<String> {
        let drawn = [
            "grant",
            "terms",
            "body",
            "record",
            "commitment",
            "next",
            "request",
            "asked",
            "amended",
            "delegated",
            "evidence",
            "emergency",
            "approval",
            "automatic",
            "narrow",
            "given",
            "batch",
        ];
        (0..=MONTHS).flat_map(|month| drawn.map(|what| self.own(what, month))).collect()
    }

    /// The key that a wallet makes for this view when the first one is lost.
    fn fresh(&self) -> String {
        format!("fresh.{}", self.claimant())
    }

    /// The blocks of the first day: the subject is opened and claimed, has a guardian, a second device
    /// and who may restore it.
    fn opening(&self, until: i64) -> Vec<Vec<String>> {
        let (custodian, claimant, guardian) = (self.custodian, self.claimant(), self.guardian());
        let appoints = format!("appoints {guardian} until {until} evidence={} on {claimant}", self.own("evidence", 0));
        vec![
            vec![format!("{custodian} opens {claimant}")],
            vec![format!("{claimant} claims {claimant}")],
            vec![format!("{custodian} {appoints}"), format!("{claimant} {appoints}")],
            vec![format!("{claimant} adds device.{claimant} as device")],
            // Organizations are known; a person who restores others has an account for each.
            vec![format!("{claimant} guards 2 of {custodian} {guardian}")],
        ]
    }

    /// The blocks of the last days: a device is lost, somebody else tries to restore the account, and
    /// then its holder.
    fn closing(&self) -> Vec<Vec<String>> {
        let (custodian, claimant, grantee) = (self.custodian, self.claimant(), self.grantee);
        let (fresh, guardian) = (self.fresh(), self.guardian());
        vec![
            vec![format!("{claimant} removes device.{claimant}")],
            vec![format!("{custodian} approves stolen.{claimant} for {claimant}")],
            vec![format!("{claimant} vetoes")],
            vec![
                format!("{custodian} approves {fresh} for {claimant}"),
                format!("{guardian} approves {fresh} for {claimant}"),
                format!("{grantee} sees {fresh} for {claimant}"),
            ],
            vec![format!("at-next-day {grantee} restores {claimant} with {fresh}")],
        ]
    }

    /// The blocks of one month: every transaction of consent and of records.
    fn month(&self, month: i64, now: i64) -> Vec<Vec<String>> {
        let (custodian, grantee, delegate) = (self.custodian, self.grantee, self.delegate);
        let (claimant, guardian) = (self.claimant(), self.guardian());
        let own = |what: &str| self.own(what, month);
        let (grant, given, request, approval) = (own("grant"), own("given"), own("request"), own("approval"));
        let until = now + MONTH_SECONDS;
        let terms = format!("terms={} body={}", own("terms"), own("body"));
        let narrow = format!("terms={} body={}", own("narrow"), own("amended"));
        let window = format!("from {now} until {until}");
        vec![
            vec![
                format!("{custodian} anchors {} commitment={}", own("record"), own("commitment")),
                format!("{grantee} requests {claimant} as {request} until {until} {terms}"),
                // Nobody answers this one: a denial is the absence of a grant.
                format!("{grantee} requests {claimant} as {} until {until} {terms}", own("asked")),
            ],
            vec![
                format!("{claimant} grants {grantee} as {grant} for {request} {window} delegable {terms}"),
                format!("{guardian} grants {grantee} as {given} {window} {narrow} on {claimant}"),
                format!("{custodian} supersedes {}:2 next={}", own("record"), own("next")),
            ],
            vec![
                format!(
                    "{grantee} delegates {grant} to {delegate} as {} {window} terms={} body={} on {claimant}",
                    own("delegated"),
                    own("next"),
                    own("automatic"),
                ),
                format!("{claimant} preapproves {grantee} as {approval} until {until} {terms}"),
                format!("clinic breaks {claimant} as {} by doctor", own("emergency")),
            ],
            vec![
                format!("{grantee} requests {claimant} as {} until {until} under {approval} {terms}", own("automatic")),
                format!("{claimant} amends {grant} to 2 {window} delegable {narrow}"),
                format!("{custodian} reviews {} on {claimant}", own("emergency")),
            ],
            vec![
                format!("{claimant} revokes {grant}"),
                format!("{guardian} revokes {given} on {claimant}"),
                format!("{custodian} marks {}:2", own("record")),
                format!("{custodian} asks {grantee} to sign {} version=2 until {until}", own("record")),
                format!("{custodian} batches {}", own("batch")),
            ],
            vec![
                format!("paid-by {custodian} {claimant} reinstates {grant}"),
                format!("{grantee} signs {custodian} {} version=2 commitment={}", own("record"), own("next")),
                format!("{custodian} extracts {} from {}", format!("{}/3", own("batch")), own("batch")),
            ],
            vec![format!("r1 holds {custodian} {}", own("record")), format!("{custodian} shreds {}/3", own("batch"))],
            // Every other one is left to end.
            (month % 2 == 0).then(|| format!("{claimant} withdraws {approval}")).into_iter().collect(),
        ]
    }
}

/// Decides one block of these lines, all of which must take effect. `paid-by` names a sponsor first.
fn decide(world: &mut World, lines: &[String]) {
    if lines.iter().any(|line| line.starts_with("at-next-day ")) {
        world.time += 86_400;
    }
    let until = START + world.time + 100;
    let transaction = |line: &String| {
        let line = line.strip_prefix("at-next-day ").unwrap_or(line);
        if let Some(rest) = line.strip_prefix("paid-by ") {
            let [sponsor, sender, rest] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            return sponsored(world, sender, sponsor, rest);
        }
        let (sender, rest) = line.split_once(' ').expect("a sender and a verb");
        world.signed_with(sender, &[message(world, None, sender, rest)], Replay::UntilTime(until))
    };
    let transactions = lines.iter().map(transaction).collect();
    for (outcome, line) in world.decide(transactions).iter().zip(lines) {
        assert_eq!(name_of(outcome), "ok", "{line}");
    }
}

/// The state after a year.
fn year() -> &'static MemoryStore {
    static STORE: LazyLock<MemoryStore> = LazyLock::new(|| live_a_year().machine.into_store());
    &STORE
}

/// A year of every person at every custodian. No two views share a block: what happens in one
/// second at two organizations is joined by its time, whatever a ledger writes.
fn live_a_year() -> World {
    let mut world = familiar();
    let end = (MONTHS + 3) * MONTH_SECONDS;
    for (name, kind) in
        [("clinic", "provider emergency"), ("lab", "laboratory"), ("chemist", "pharmacy"), ("payer", "insurer")]
    {
        let registers = format!("registers {name} as {kind} until {end}");
        assert_eq!(run(&mut world, &format!("r1 {registers}\nr2 {registers}")), ["ok", "ok"]);
    }
    assert_eq!(run(&mut world, &format!("clinic enrols doctor until {end}")), ["ok"]);
    for month in 0..MONTHS {
        world.time = month * MONTH_SECONDS;
        for view in View::all() {
            let opening = if month == 0 { view.opening(end) } else { Vec::new() };
            let blocks = opening.into_iter().chain(view.month(month, world.time));
            for lines in blocks {
                world.time += 977;
                decide(&mut world, &lines);
            }
        }
    }
    for view in View::all() {
        for lines in view.closing() {
            world.time += 977;
            decide(&mut world, &lines);
        }
    }
    world
}

/// Every 20 consecutive bytes of what is left between values that everybody may know.
fn private_windows<'a>(entries: impl Iterator<Item = &'a Vec<u8>>, public: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut windows = BTreeSet::new();
    for bytes in entries {
        let mut start = 0;
        let mut place = 0;
        while place <= bytes.len() {
            let rest = &bytes[place..];
            let known = public.iter().find(|value| rest.starts_with(value));
            if known.is_some() || rest.is_empty() {
                windows.extend(bytes[start..place].windows(Address::LENGTH).map(<[u8]>::to_vec));
                start = place + known.map_or(0, Vec::len);
            }
            place += known.map_or(1, Vec::len);
        }
    }
    windows
}

/// The entries of the state that hold an identifier of a view, for each view.
fn entries_of_views(state: &State) -> Vec<(View, State)> {
    let mut entries: Vec<(View, State)> = View::all().into_iter().map(|view| (view, State::new())).collect();
    let mut owner: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (number, (view, _)) in entries.iter().enumerate() {
        owner.extend(view.words().iter().map(|word| (bytes(word).to_vec(), number)));
        owner.insert(subject(&view.claimant()).to_vec(), number);
        owner.extend([view.claimant(), view.guardian()].map(|name| (address(&name).to_vec(), number)));
    }
    for (key, value) in state {
        for length in [SubjectId::LENGTH, Address::LENGTH] {
            let held = key.windows(length).chain(value.windows(length)).filter_map(|bytes| owner.get(bytes));
            for number in held {
                entries[*number].1.insert(key.clone(), value.clone());
            }
        }
    }
    entries
}

/// What joins two organizations' views of one person in this state.
fn joined(state: &State) -> Vec<String> {
    let names = ["clinic", "lab", "chemist", "payer", "doctor", "r1", "r2", "r3"];
    let public = names.map(|name| address(name).to_vec());
    let views = entries_of_views(state);
    let mut found = Vec::new();
    for (number, (view, own)) in views.iter().enumerate() {
        let windows = private_windows(own.iter().flat_map(|(key, value)| [key, value]), &public);
        for (other, others) in views[number + 1..].iter().filter(|(other, _)| other.person == view.person) {
            let both = format!("{} and {}", view.claimant(), other.claimant());
            let same = own.keys().filter(|key| others.contains_key(*key));
            found.extend(same.map(|key| format!("{both} are both in {}", key.escape_ascii())));
            let theirs = private_windows(others.iter().flat_map(|(key, value)| [key, value]), &public);
            let shared = windows.intersection(&theirs);
            found.extend(shared.map(|value| format!("{both} share {}", value.escape_ascii())));
        }
    }
    found
}

#[test]
fn a_year_of_consent_custody_and_recovery_joins_no_two_views_of_a_person() {
    for (view, own) in entries_of_views(year().pairs()) {
        assert!(own.len() > 100, "{} lives through a year: {}", view.claimant(), own.len());
    }
    assert_eq!(joined(year().pairs()), [""; 0]);
}

/// The scan above finds what it looks for, wherever it stands.
#[test]
fn whatever_joins_two_views_of_a_person_is_found() {
    let [first, second, ..] = View::all()[..] else { panic!("views") };
    assert_eq!(first.person, second.person);
    let pairs = year().pairs();
    let both = [subject(&first.claimant()).to_vec(), subject(&second.claimant()).to_vec()].concat();
    let grant = |view: &View| grant_path(&view.claimant(), &view.own("grant", 3));
    let guardians = |view: &View| keys::guardians(&address(&view.claimant())).into_bytes();
    let with = |changes: &[(Vec<u8>, Vec<u8>)]| {
        let mut state = pairs.clone();
        state.extend(changes.iter().cloned());
        state
    };
    let appended = |path: Vec<u8>, bytes: &[u8]| {
        let value = [pairs[&path].as_slice(), bytes].concat();
        (path, value)
    };
    // A friend who restores both accounts by one of their own, a commitment made once for both, a key
    // of both, and one value that names both.
    let friend = address("friend").to_vec();
    let leaks = [
        with(&[(b"joined".to_vec(), both)]),
        with(&[appended(guardians(&first), &friend), appended(guardians(&second), &friend)]),
        with(&[appended(grant(&first), &[0xab; 20]), appended(grant(&second), &[0xab; 20])]),
        with(&[(grant(&second), pairs[&grant(&first)].clone())]),
    ];
    for (number, state) in leaks.iter().enumerate() {
        assert!(!joined(state).is_empty(), "leak {number} is not found");
    }
}

/// Areas whose values say that something is open, asked, or happened. None says that something is
/// denied: a request that the patient refuses looks like one that waits.
const AREAS: [&str; 20] = [
    "account",
    "account-key",
    "batch",
    "chain",
    "consent",
    "countersignature",
    "delegation",
    "emergency",
    "guardians",
    "guardianship",
    "organization",
    "parameters",
    "practitioner",
    "record",
    "recovery",
    "request",
    "subject",
    "standing",
    "unordered",
    "verifying-key",
];

#[test]
fn a_year_of_everything_leaves_no_denial_and_no_text() {
    let mut seen = BTreeSet::new();
    for (key, value) in year().pairs() {
        let area = key.split(|byte| *byte == b'/').next().expect("an area");
        let area = String::from_utf8(area.to_vec()).expect("an area is ASCII");
        assert!(AREAS.contains(&area.as_str()), "{area}");
        // These two are of the chain, from its genesis.
        if !["chain", "verifying-key"].contains(&area.as_str()) {
            assert!(is_of_fixed_shape(value), "{area}: {}", hex::encode(value));
        }
        seen.insert(area);
    }
    assert_eq!(seen.len(), AREAS.len(), "the year writes to every area: {seen:?}");
    for view in View::all() {
        for month in 0..MONTHS {
            let refused = RequestId::new(bytes(&view.own("asked", month)));
            let request = year().get(&keys::request(&refused)).expect("the request");
            assert!(request.grant.is_empty(), "nothing tells a refusal from silence");
        }
    }
}

/// Whether every length-delimited field is an identifier of 20, 32 or 33 bytes, or a message of such.
fn is_of_fixed_shape(mut value: &[u8]) -> bool {
    use prost::encoding::{WireType, decode_key, decode_varint};
    while !value.is_empty() {
        let Ok((_, wire)) = decode_key(&mut value) else { return false };
        let Ok(number) = decode_varint(&mut value) else { return false };
        match wire {
            WireType::Varint => {}
            WireType::LengthDelimited => {
                let Some((field, rest)) = value.split_at_checked(number as usize) else { return false };
                if ![20, 32, 33].contains(&field.len()) && !is_of_fixed_shape(field) {
                    return false;
                }
                value = rest;
            }
            _ => return false,
        }
    }
    true
}
