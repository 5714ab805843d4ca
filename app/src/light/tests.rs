use std::{cell::Cell, collections::BTreeMap};

use tendermint::{AppHash, block::CommitSig, validator::Info};
use tendermint_testgen::{
    Commit as MadeCommit, Generator as _, Header as MadeHeader, Validator, Vote, light_block::generate_signed_header,
};

use super::*;

const CHAIN: &str = "careledger-dev-light";
const START: i64 = 1_800_000_000;
const BLOCK_SECONDS: i64 = 10;

fn time(height: u64) -> Time {
    Time::from_unix_timestamp(START + BLOCK_SECONDS * height.cast_signed(), 0).unwrap()
}

/// A moment after the block of this height.
fn after(height: u64) -> Time {
    (time(height) + Duration::from_secs(1)).unwrap()
}

fn app_hash(height: u64, seed: u8) -> AppHash {
    let mut bytes = vec![seed; 32];
    bytes[..8].copy_from_slice(&height.to_be_bytes());
    AppHash::try_from(bytes).unwrap()
}

/// Validators with these names, of 10 votes each.
fn named(names: &[&str]) -> Vec<Validator> {
    names.iter().map(|name| Validator::new(name).voting_power(10)).collect()
}

fn set(made: &[Validator]) -> tendermint::validator::Set {
    block::validators(made.iter().map(|validator| validator.generate().unwrap()).collect()).unwrap()
}

/// What a node has, as it was made or altered.
struct Node {
    name: String,
    blocks: BTreeMap<u64, SignedBlock>,
    asked: Cell<usize>,
}

impl Source for &Node {
    fn name(&self) -> &str {
        &self.name
    }

    async fn block(&self, height: u64) -> Result<SignedBlock, LightError> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.blocks[&height].clone())
    }

    async fn headers(&self, first: u64, last: u64) -> Result<Vec<Header>, LightError> {
        Ok(self.blocks.range(first..=last).map(|(_, block)| block.signed_header.header.clone()).collect())
    }
}

impl Node {
    /// A chain whose validators at each height are those that the function gives.
    fn with(length: u64, seed: u8, validators: impl Fn(u64) -> Vec<Validator>) -> Self {
        let mut blocks = BTreeMap::new();
        let mut last = None;
        for height in 1..=length {
            let mut header = MadeHeader::new(&validators(height))
                .next_validators(&validators(height + 1))
                .height(height)
                .chain_id(CHAIN)
                .time(time(height))
                .app_hash(app_hash(height, seed));
            header.last_block_id_hash = last;
            let signed_header = generate_signed_header(&header, &MadeCommit::new(header.clone(), 1)).unwrap();
            last = Some(signed_header.header.hash());
            let (validators, next_validators) = (set(&validators(height)), set(&validators(height + 1)));
            blocks.insert(height, SignedBlock { signed_header, validators, next_validators });
        }
        Self { name: "http://node".to_owned(), blocks, asked: Cell::new(0) }
    }

    fn new(length: u64) -> Self {
        Self::with(length, 0, |_| named(&["a", "b", "c", "d"]))
    }

    fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    fn altered(mut self, height: u64, alter: impl FnOnce(&mut SignedBlock)) -> Self {
        alter(self.blocks.get_mut(&height).unwrap());
        self
    }

    async fn trusted_at(&self, height: u64) -> LightClient<&Self> {
        let hash = self.blocks[&height].hash();
        let trust = Trust::given(&self, height, hash, after(height)).await.unwrap();
        LightClient::new(self, Vec::new(), TRUSTING_PERIOD, trust)
    }
}

/// The header of `to`, as a client sees it that trusts the one of `from`.
async fn verify(node: &Node, from: u64, to: u64) -> Result<Verified, LightError> {
    node.trusted_at(from).await.header(to, after(node.blocks.len() as u64)).await
}

#[tokio::test]
async fn a_later_header_is_believed_with_one_look_and_the_answer_says_who_signed() {
    let node = Node::new(200);
    let mut client = node.trusted_at(1).await;
    let looks = node.asked.get();
    let verified = client.header(200, after(200)).await.unwrap();
    assert_eq!(node.asked.get() - looks, 1);
    assert_eq!(verified.header, node.blocks[&200].signed_header.header);
    let anchor = Anchor { height: 1, hash: node.blocks[&1].hash(), origin: Origin::Given };
    assert_eq!((verified.anchor, verified.signed_height), (anchor, 200));
    assert_eq!(verified.signatures, Signatures { signers: 4, validators: 4, power: 40, power_total: 40 });
    assert_eq!(client.trust().newest, node.blocks[&200], "the next call starts from here");
}

#[tokio::test]
async fn validators_that_change_one_by_one_are_followed_from_set_to_set() {
    let names: Vec<String> = (0..50).map(|number| format!("v{number}")).collect();
    let rotating = |height: u64| -> Vec<Validator> {
        let first = usize::try_from(height).unwrap();
        named(&names[first..first + 4].iter().map(String::as_str).collect::<Vec<_>>())
    };
    let node = Node::with(40, 0, rotating);
    let verified = verify(&node, 1, 40).await.unwrap();
    assert_eq!(verified.signed_height, 40);
    let forged = node.altered(20, |block| block.signed_header.header.app_hash = app_hash(20, 9));
    assert!(matches!(verify(&forged, 1, 20).await, Err(LightError::Altered(20))));
}

#[tokio::test]
async fn what_is_not_as_it_was_signed_is_refused_by_its_own_name() {
    type Case = (&'static str, fn(&mut SignedBlock), fn(&LightError) -> bool);
    let cases: [Case; 7] = [
        (
            "a forged app hash",
            |block| block.signed_header.header.app_hash = app_hash(20, 9),
            |error| matches!(error, LightError::Altered(20)),
        ),
        (
            "a forged time",
            |block| block.signed_header.header.time = time(19),
            |error| matches!(error, LightError::Altered(20)),
        ),
        (
            "other validators",
            |block| block.validators = set(&named(&["x", "y", "z"])),
            |error| matches!(error, LightError::Validators(20)),
        ),
        (
            "other next validators",
            |block| block.next_validators = set(&named(&["x", "y", "z"])),
            |error| matches!(error, LightError::Validators(20)),
        ),
        (
            "half of the signatures",
            |block| {
                for signature in &mut block.signed_header.commit.signatures[..2] {
                    *signature = CommitSig::BlockIdFlagAbsent;
                }
            },
            |error| matches!(error, LightError::TooFew { height: 20, power: 20, power_total: 40 }),
        ),
        (
            "no signature",
            |block| block.signed_header.commit.signatures.fill(CommitSig::BlockIdFlagAbsent),
            |error| matches!(error, LightError::Unsigned(20)),
        ),
        (
            "another validator's signature",
            |block| {
                let signatures = &mut block.signed_header.commit.signatures;
                let CommitSig::BlockIdFlagCommit { signature: other, .. } = signatures[1].clone() else { panic!() };
                let CommitSig::BlockIdFlagCommit { signature, .. } = &mut signatures[0] else { panic!() };
                *signature = other;
            },
            |error| matches!(error, LightError::Signature(20)),
        ),
    ];
    for (name, alter, is_expected) in cases {
        let node = Node::new(20).altered(20, alter);
        for from in [1, 19] {
            let refused = verify(&node, from, 20).await.unwrap_err();
            assert!(is_expected(&refused), "{name}, from {from}: {refused}");
        }
        let hash = node.blocks[&20].hash();
        let refused = Trust::given(&&node, 20, hash, after(20)).await.unwrap_err();
        assert!(is_expected(&refused), "{name}, given by hand: {refused}");
    }
}

#[tokio::test]
async fn a_chain_that_strangers_signed_throughout_is_refused() {
    let node = Node::new(40);
    let strangers = Node::with(40, 0, |_| named(&["w", "x", "y", "z"]));
    for to in [2, 3, 40] {
        let trust = node.trusted_at(1).await.trust().clone();
        let mut client = LightClient::new(&strangers, Vec::new(), TRUSTING_PERIOD, trust);
        let refused = client.header(to, after(40)).await.unwrap_err();
        assert!(matches!(refused, LightError::Validators(2)), "{refused}");
    }
}

/// One validator of the trusted four among strangers has a quarter: less than the third that it takes.
#[tokio::test]
async fn a_third_of_the_trusted_power_is_too_little_for_a_jump() {
    let node = Node::with(40, 0, |height| if height < 30 { named(&["a", "b", "c", "d"]) } else { named(&["a", "x"]) });
    assert_eq!(verify(&node, 1, 40).await.unwrap().signed_height, 40, "the change itself was signed by the four");
    let forged =
        Node::with(40, 1, |height| if height == 1 { named(&["a", "b", "c", "d"]) } else { named(&["a", "x"]) });
    let trust = node.trusted_at(1).await.trust().clone();
    let mut client = LightClient::new(&forged, Vec::new(), TRUSTING_PERIOD, trust);
    let refused = client.header(40, after(40)).await.unwrap_err();
    assert!(matches!(refused, LightError::Validators(2)), "{refused}");
}

#[tokio::test]
async fn a_trusted_header_vouches_until_the_trusting_period_ends() {
    let node = Node::new(5);
    let end = (time(2) + TRUSTING_PERIOD).unwrap();
    let second = Duration::from_secs(1);
    for to in [1, 2, 5] {
        let mut client = node.trusted_at(2).await;
        let refused = client.header(to, end).await.unwrap_err();
        assert!(matches!(refused, LightError::Expired { height: 2, .. }), "{refused}");
        let mut client = node.trusted_at(2).await;
        client.header(to, (end - second).unwrap()).await.unwrap();
    }
    let mut client = node.trusted_at(2).await;
    client.header(5, (end - second).unwrap()).await.unwrap();
    client.header(5, end).await.expect("what was verified since is younger");
}

#[tokio::test]
async fn a_header_of_another_chain_or_of_times_to_come_is_refused() {
    let other = Node::with(9, 0, |_| named(&["a", "b", "c", "d"])).altered(9, |block| {
        let header = MadeHeader::new(&named(&["a", "b", "c", "d"])).height(9).chain_id("elsewhere").time(time(9));
        block.signed_header = generate_signed_header(&header, &MadeCommit::new(header.clone(), 1)).unwrap();
    });
    let refused = verify(&other, 1, 9).await.unwrap_err();
    assert!(matches!(refused, LightError::Chain { .. }), "{refused}");
    let node = Node::new(9);
    let refused = node.trusted_at(1).await.header(9, time(7)).await.unwrap_err();
    assert!(matches!(refused, LightError::Future { height: 9, .. }), "{refused}");
    let refused = Trust::first_use(&&node, 9, time(7)).await.unwrap_err();
    assert!(matches!(refused, LightError::Future { height: 9, .. }), "{refused}");
}

#[tokio::test]
async fn a_trusted_hash_must_be_that_of_the_nodes_header() {
    let node = Node::new(9);
    let refused = Trust::given(&&node, 5, node.blocks[&6].hash(), after(9)).await.unwrap_err();
    assert!(matches!(refused, LightError::Hash { height: 5, .. }), "{refused}");
}

#[tokio::test]
async fn an_earlier_header_is_believed_when_its_successors_lead_to_it() {
    let node = Node::new(60);
    for to in [1, 20, 39, 40, 41, 59] {
        let verified = verify(&node, 60, to).await.unwrap();
        assert_eq!((verified.header.height.value(), verified.signed_height), (to, 60));
    }
    let forged = Node::new(60).altered(30, |block| block.signed_header.header.app_hash = app_hash(30, 9));
    assert!(verify(&forged, 60, 31).await.is_ok());
    for to in [1, 30] {
        let refused = verify(&forged, 60, to).await.unwrap_err();
        assert!(matches!(refused, LightError::Link(30)), "{refused}");
    }
    let mut gapped = Node::new(60);
    gapped.blocks.remove(&45);
    assert!(matches!(verify(&gapped, 60, 44).await.unwrap_err(), LightError::Link(45)));
}

fn proven(node: &Node, height: u64) -> Proven {
    let header = &node.blocks[&height].signed_header.header;
    Proven {
        value: None,
        height: height - 1,
        app_hash: header.app_hash.as_bytes().try_into().unwrap(),
        header_height: height,
        header_time: header.time.unix_timestamp(),
    }
}

#[tokio::test]
async fn a_proof_must_rest_on_the_header_that_was_signed_and_on_none_before() {
    let node = Node::new(9);
    let mut client = node.trusted_at(3).await;
    let sound = proven(&node, 6);
    client.confirm_newest(&sound, after(9)).await.unwrap();
    for wrong in [
        Proven { app_hash: [9; 32], ..sound.clone() },
        Proven { header_time: 0, ..sound.clone() },
        Proven { header_height: 7, ..sound.clone() },
    ] {
        let refused = client.confirm(&wrong, after(9)).await.unwrap_err();
        assert!(matches!(refused, LightError::AppHash(_)), "{refused}");
    }
    let earlier = proven(&node, 5);
    client.confirm(&earlier, after(9)).await.expect("of a height that was asked for");
    let refused = client.confirm_newest(&earlier, after(9)).await.unwrap_err();
    assert!(matches!(refused, LightError::Stale { answered: 5, verified: 7 }), "{refused}");
}

#[tokio::test]
async fn every_witness_must_have_the_same_header() {
    let node = Node::new(9);
    let (same, silent) = (Node::new(9).named("same"), Node::new(9).named("liar"));
    let liar = silent.altered(9, |block| block.signed_header.header.app_hash = app_hash(9, 9));
    let fork = Node::with(9, 7, |_| named(&["a", "b", "c", "d"])).named("fork");
    let trust = node.trusted_at(1).await.trust().clone();
    let ask = async |witness| {
        let mut client = LightClient::new(&node, vec![witness], TRUSTING_PERIOD, trust.clone());
        let answer = client.header(9, after(9)).await;
        assert_eq!(client.trust().newest.height(), if answer.is_ok() { 9 } else { 1 });
        answer
    };
    assert_eq!(ask(&same).await.unwrap().witnesses, ["same"]);
    let refused = ask(&liar).await.unwrap_err();
    assert!(matches!(&refused, LightError::Witness { url, height: 9, .. } if url == "liar"), "{refused}");
    let refused = ask(&fork).await.unwrap_err();
    assert!(matches!(&refused, LightError::Fork { url, height: 9, .. } if url == "fork"), "{refused}");
    let mut client = LightClient::new(&node, vec![&fork], TRUSTING_PERIOD, node.trusted_at(9).await.trust().clone());
    // Also of the header that is trusted already, and of those before it.
    for height in [9, 4] {
        let refused = client.header(height, after(9)).await.unwrap_err();
        assert!(matches!(&refused, LightError::Witness { .. }), "{height}: {refused}");
    }
}

/// The header names keys and powers. Where a node names one address for two keys, the signature of one,
/// checked in the old set, would be counted for the other in the new.
#[tokio::test]
async fn an_address_that_a_node_invents_is_not_believed() {
    let honest: Vec<Info> = named(&["a", "b", "c"]).iter().map(|made| made.generate().unwrap()).collect();
    let mut invented = honest.clone();
    let last = invented[2].address;
    invented[0].address = last;
    assert_eq!(block::validators(invented), block::validators(honest));
}

#[test]
fn powers_beyond_every_bound_are_refused_and_stop_nothing() {
    let strong = |power: i64| {
        let mut made = named(&["a"])[0].generate().unwrap();
        made.power = power.try_into().unwrap();
        made
    };
    assert_eq!(block::validators(vec![strong(i64::MAX)]), None);
    assert_eq!(block::validators(vec![strong(i64::MAX), strong(i64::MAX), strong(i64::MAX)]), None);
    assert!(block::validators(vec![strong(i64::MAX / 8)]).is_some());
}

/// A validator that voted for no block is none that signed.
#[tokio::test]
async fn votes_for_no_block_do_not_count() {
    let validators = named(&["a", "b", "c", "d"]);
    let node = Node::new(9).altered(9, |block| {
        let header = MadeHeader::new(&validators).height(9).chain_id(CHAIN).time(time(9));
        let vote = |(index, validator): (usize, &Validator)| {
            Vote::new(validator.clone(), header.clone()).index(u16::try_from(index).unwrap()).nil(index == 0)
        };
        let votes = validators.iter().enumerate().map(vote).collect();
        let commit = MadeCommit::new_with_votes(header.clone(), 1, votes);
        block.signed_header = generate_signed_header(&header, &commit).unwrap();
    });
    let signatures = verify(&node, 1, 9).await.unwrap().signatures;
    assert_eq!(signatures, Signatures { signers: 3, validators: 4, power: 30, power_total: 40 });
}

#[tokio::test]
async fn what_a_home_trusts_is_kept_whole_and_damage_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(kept::read(home.path()).unwrap(), None);
    let node = Node::new(9);
    let mut client = node.trusted_at(2).await;
    client.header(9, after(9)).await.unwrap();
    kept::write(home.path(), client.trust()).unwrap();
    assert_eq!(kept::read(home.path()).unwrap().as_ref(), Some(client.trust()));
    let path = kept::path(home.path());
    let sound = std::fs::read_to_string(&path).unwrap();
    let app_hash = node.blocks[&9].signed_header.header.app_hash.to_string();
    for damaged in [
        sound.replace(&app_hash, &"AB".repeat(32)),
        sound.replace("\"format\": 1", "\"format\": 2"),
        sound.replacen(CHAIN, "elsewhere", 1),
        sound[..sound.len() / 2].to_owned(),
        String::new(),
    ] {
        assert_ne!(damaged, sound);
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(kept::read(home.path()), Err(kept::KeptError::Damaged(_))));
    }
    assert!(kept::forget(home.path()).unwrap() && !kept::forget(home.path()).unwrap());
}

#[tokio::test]
async fn a_call_that_ends_later_does_not_take_back_what_another_verified() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::new(9);
    let (mut early, mut far) = (node.trusted_at(2).await, node.trusted_at(2).await);
    early.header(4, after(9)).await.unwrap();
    far.header(9, after(9)).await.unwrap();
    kept::write(home.path(), far.trust()).unwrap();
    kept::write(home.path(), early.trust()).unwrap();
    assert_eq!(kept::read(home.path()).unwrap().as_ref(), Some(far.trust()));
}
