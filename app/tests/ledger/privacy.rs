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
    script::{familiar, message, run, subject},
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

/// State is found by area and raw identifiers only, and every value has a fixed shape: no text.
#[test]
fn no_name_can_stand_in_the_state() {
    let mut world = familiar();
    live(&mut world, "lab", "payer");
    let canary = b"alice";
    for (key, value) in world.state() {
        for bytes in [&key, &value] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "{}", key.escape_ascii());
        }
    }
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
        ];
        (0..=MONTHS).flat_map(|month| drawn.map(|what| self.own(what, month))).collect()
    }

    /// The blocks of the first day: the subject is opened and claimed, and has a guardian.
    fn opening(&self, until: i64) -> Vec<Vec<String>> {
        let (custodian, claimant, guardian) = (self.custodian, self.claimant(), self.guardian());
        let appoints = format!("appoints {guardian} until {until} evidence={} on {claimant}", self.own("evidence", 0));
        vec![
            vec![format!("{custodian} opens {claimant}")],
            vec![format!("{claimant} claims {claimant}")],
            vec![format!("{custodian} {appoints}"), format!("{claimant} {appoints}")],
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
            ],
            vec![format!("{claimant} reinstates {grant}")],
            vec![format!("{claimant} withdraws {approval}")],
        ]
    }
}

/// Decides one block of these lines, all of which must take effect.
fn decide(world: &mut World, lines: &[String]) {
    let until = START + world.time + 100;
    let transactions = lines.iter().map(|line| {
        let (sender, rest) = line.split_once(' ').expect("a sender and a verb");
        world.signed_with(sender, &[message(world, None, sender, rest)], Replay::UntilTime(until))
    });
    let transactions = transactions.collect();
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
    let end = (MONTHS + 2) * MONTH_SECONDS;
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

#[test]
fn a_year_of_everything_joins_no_two_views_of_a_person() {
    let names = ["clinic", "lab", "chemist", "payer", "doctor", "r1", "r2", "r3"];
    let public = names.map(|name| address(name).to_vec());
    let views = entries_of_views(year().pairs());
    for (number, (view, own)) in views.iter().enumerate() {
        assert!(own.len() > 100, "{} lives through a year: {}", view.claimant(), own.len());
        let windows = private_windows(own.iter().flat_map(|(key, value)| [key, value]), &public);
        for (other, others) in views[number + 1..].iter().filter(|(other, _)| other.person == view.person) {
            let both: Vec<_> = own.keys().filter(|key| others.contains_key(*key)).collect();
            assert!(both.is_empty(), "{} and {} are both in {both:?}", view.claimant(), other.claimant());
            let theirs = private_windows(others.iter().flat_map(|(key, value)| [key, value]), &public);
            let shared: Vec<_> = windows.intersection(&theirs).map(|value| value.escape_ascii().to_string()).collect();
            assert!(shared.is_empty(), "{} and {} share {shared:?}", view.claimant(), other.claimant());
        }
    }
}

/// The scan above finds what it looks for.
#[test]
fn a_value_that_two_views_share_is_found() {
    let mut state = year().pairs().clone();
    let [first, second, ..] = View::all()[..] else { panic!("views") };
    assert_eq!(first.person, second.person);
    let joined = [subject(&first.claimant()).to_vec(), subject(&second.claimant()).to_vec()].concat();
    state.insert(b"joined".to_vec(), joined);
    let views = entries_of_views(&state);
    assert!(views[0].1.contains_key(b"joined".as_slice()) && views[1].1.contains_key(b"joined".as_slice()));
}

/// Areas whose values say that something is open, asked, or happened. None says that something is
/// denied: a request that the patient refuses looks like one that waits.
const AREAS: [&str; 15] = [
    "account",
    "chain",
    "consent",
    "delegation",
    "emergency",
    "guardianship",
    "organization",
    "parameters",
    "practitioner",
    "record",
    "request",
    "subject",
    "standing",
    "unordered",
    "verifying-key",
];

#[test]
fn a_year_of_everything_leaves_no_denial_and_no_text() {
    for (key, value) in year().pairs() {
        let area = key.split(|byte| *byte == b'/').next().expect("an area");
        let area = String::from_utf8(area.to_vec()).expect("an area is ASCII");
        assert!(AREAS.contains(&area.as_str()), "{area}");
        // These two are of the chain, from its genesis.
        if !["chain", "verifying-key"].contains(&area.as_str()) {
            assert!(is_of_fixed_shape(value), "{area}: {}", hex::encode(value));
        }
        for person in PERSONS {
            let is_named = |bytes: &[u8]| bytes.windows(person.len()).any(|window| window == person.as_bytes());
            assert!(!is_named(key) && !is_named(value), "{}", key.escape_ascii());
        }
    }
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
