//! A year of several persons at several organizations, in which every area of the state is written.

use std::sync::LazyLock;

use careledger_app::store::memory::MemoryStore;
use careledger_wire::transaction::Replay;

use crate::{
    governance::under,
    script::{FAMILIAR, message, run},
    sponsors::sponsored,
    world::{START, World, name_of},
};

/// Who lives.
const PERSONS: [&str; 3] = ["alice", "robert", "carol"];
/// Custodians, and for each the grantee of its patients and that one's delegate.
const CUSTODIANS: [(&str, &str, &str); 3] =
    [("lab", "payer", "chemist"), ("chemist", "clinic", "payer"), ("payer", "lab", "clinic")];
pub const MONTHS: i64 = 12;
const MONTH_SECONDS: i64 = 30 * 86_400;

/// One organization's view of one person.
#[derive(Clone, Copy)]
pub struct View {
    pub person: &'static str,
    custodian: &'static str,
    grantee: &'static str,
    delegate: &'static str,
}

impl View {
    pub fn all() -> Vec<Self> {
        let of = |person: &'static str| {
            CUSTODIANS.map(|(custodian, grantee, delegate)| Self { person, custodian, grantee, delegate })
        };
        PERSONS.into_iter().flat_map(of).collect()
    }

    pub fn claimant(&self) -> String {
        format!("{}.{}", self.person, self.custodian)
    }

    pub fn guardian(&self) -> String {
        format!("guardian.{}", self.claimant())
    }

    /// A word that a wallet or a gateway draws for this view alone.
    pub fn own(&self, what: &str, month: i64) -> String {
        format!("{what}-{}-{month}", self.claimant())
    }

    /// Every word of this view, in any month.
    pub fn words(&self) -> Vec<String> {
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
            "fact",
            "cover",
            "claim",
            "event",
            "period",
            "amount",
            "access",
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

    /// Who attests for this view: a pharmacy and an insurer do not.
    fn attester(&self) -> &'static str {
        if self.custodian == "lab" { self.custodian } else { self.grantee }
    }

    /// The blocks of one month at the insurer, and of who looked.
    fn insured(&self, month: i64, now: i64) -> Vec<Vec<String>> {
        let (custodian, claimant, attester) = (self.custodian, self.claimant(), self.attester());
        let own = |what: &str| self.own(what, month);
        let person = PERSONS.iter().position(|person| *person == self.person).expect("one of the persons");
        let sequence = month * PERSONS.len() as i64 + person as i64 + 1;
        let (access, fact) = (own("access"), own("fact"));
        vec![
            vec![format!("{attester} attests {fact}"), format!("payer covers {}", own("cover"))],
            // To an insurer goes what holds for one claim: nullifiers, and a commitment to what is payable.
            vec![format!(
                "{custodian} proves gold claim {} event {} period {} amount={} expires={}",
                own("claim"),
                own("event"),
                own("period"),
                own("amount"),
                now + 86_400,
            )],
            vec![format!("{custodian} logs {sequence} from {now} to {now} root={access}")],
            vec![format!("{claimant} disputes {sequence} leaf={access}")],
            (month % 3 == 0).then(|| format!("{attester} unattests {fact}")).into_iter().collect(),
        ]
    }

    /// What nobody answered when the year was over: one emergency of each person, at one of the custodians.
    fn left_open(&self) -> Vec<String> {
        let claimant = self.claimant();
        let breaks = || format!("clinic breaks {claimant} as {} by doctor", self.own("emergency", MONTHS));
        (self.custodian == "lab").then(breaks).into_iter().collect()
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
pub fn year() -> &'static MemoryStore {
    static STORE: LazyLock<MemoryStore> = LazyLock::new(|| live_a_year().machine.into_store());
    &STORE
}

/// A year of every person at every custodian. No two views share a block: what happens in one
/// second at two organizations is joined by its time, whatever a ledger writes.
fn live_a_year() -> World {
    let mut world = under(&[("north", 10), ("east", 10), ("south", 10), ("west", 10)]);
    assert!(run(&mut world, FAMILIAR).iter().all(|answer| *answer == "ok"));
    let end = (MONTHS + 3) * MONTH_SECONDS;
    for (name, kind) in
        [("clinic", "provider emergency"), ("lab", "laboratory"), ("chemist", "pharmacy"), ("payer", "insurer")]
    {
        let registers = format!("registers {name} as {kind} until {end}");
        assert_eq!(run(&mut world, &format!("r1 {registers}\nr2 {registers}")), ["ok", "ok"]);
    }
    assert_eq!(run(&mut world, &format!("clinic enrols doctor until {end}\npayer publishes gold")), ["ok", "ok"]);
    govern(&mut world);
    for month in 0..MONTHS {
        world.time = month * MONTH_SECONDS;
        for view in View::all() {
            let opening = if month == 0 { view.opening(end) } else { Vec::new() };
            let now = world.time;
            let blocks = opening.into_iter().chain(view.month(month, now)).chain(view.insured(month, now));
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
    for view in View::all() {
        decide(&mut world, &view.left_open());
    }
    // One of the registrars approves what the others have not seen yet.
    assert_eq!(run(&mut world, &format!("r1 registers newcomer as provider until {}", end + 1)), ["ok"]);
    world
}

/// Registrars change the validators, and the state's format.
fn govern(world: &mut World) {
    let script = "
        r1 proposes stronger validator north power 11
        r2 votes stronger
        r1 proposes up upgrade 2 in 3
        r2 votes up";
    assert_eq!(run(world, script), ["ok"; 4]);
    (0..3).for_each(|_| drop(world.decide(Vec::new())));
}
