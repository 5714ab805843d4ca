//! Many records under one root, countersignatures, holds and shredding.
//!
//! The batch `many` has the records `many/0` to `many/6` (`batches many of 9` has nine).

use careledger_app::{
    keys,
    limits::{BATCH_RECORDS_MAX, TX_BYTES_MAX},
    state::StateRead as _,
};
use careledger_wire::{
    access_log,
    ids::{Commitment, Digest, RecordId},
    message::Message,
    proto::{
        audit::MsgDisputeAccess,
        records::{
            MsgAnchorBatch, MsgExtractRecord, MsgGiveCountersignature, MsgReleaseLegalHold, MsgRequestCountersignature,
            MsgSetLegalHold, MsgShredRecord,
        },
    },
};

use crate::{
    script::{Words, check_familiar, familiar, run},
    world::{address, bytes, name_of},
};

/// The messages about batches, countersignatures and holds, for scripts.
pub fn message(verb: &str, from: String, words: &Words<'_>) -> Message {
    let custodian = |name: &str| address(if name == "own" { words.sender } else { name }).to_vec();
    match verb {
        "batches" => {
            let count = words.after("of").map_or(7, |count| count.parse().expect("a count"));
            let root = access_log::root(&leaves(words.at(1), count.clamp(1, 20)));
            MsgAnchorBatch { sender: from, root: root.to_vec(), count: count as u32 }.into()
        }
        "extracts" => {
            let (batch, place) = words.at(1).split_once('/').expect("batch/place");
            let leaves = leaves(words.after("from").expect("from which batch"), 7);
            let index: usize = place.parse().expect("a place");
            let path = access_log::inclusion_path(&leaves, index % 7).expect("a place in the batch");
            let _ = batch;
            MsgExtractRecord {
                sender: from,
                batch: access_log::root(&leaves).to_vec(),
                record: bytes(words.at(1)).to_vec(),
                commitment: bytes(words.option("commitment").unwrap_or("commitment")).to_vec(),
                index: words.option("at").map_or(index, |index| index.parse().expect("an index")) as u32,
                path: path.iter().map(Digest::to_vec).collect(),
            }
            .into()
        }
        "asks" => MsgRequestCountersignature {
            sender: from,
            record: bytes(words.after("sign").expect("to sign what")).to_vec(),
            version: words.option("version").map_or(1, |version| version.parse().expect("a version")),
            countersigner: custodian(words.at(1)),
            expires_at: words.time("until", 1_000),
        }
        .into(),
        "signs" => MsgGiveCountersignature {
            sender: from,
            organization: custodian(words.at(1)),
            record: bytes(words.at(2)).to_vec(),
            version: words.option("version").map_or(1, |version| version.parse().expect("a version")),
            commitment: bytes(words.option("commitment").unwrap_or("commitment")).to_vec(),
        }
        .into(),
        "shreds" => MsgShredRecord { sender: from, record: bytes(words.at(1)).to_vec() }.into(),
        "holds" => {
            MsgSetLegalHold { sender: from, organization: custodian(words.at(1)), record: bytes(words.at(2)).to_vec() }
                .into()
        }
        "releases" => MsgReleaseLegalHold {
            sender: from,
            organization: custodian(words.at(1)),
            record: bytes(words.at(2)).to_vec(),
        }
        .into(),
        // A batch of one leaf is its leaf.
        "disputes" => MsgDisputeAccess {
            sender: from,
            subject: crate::script::subject(words.after("on").unwrap_or(words.sender)).to_vec(),
            sequence: words.at(1).parse().expect("a sequence"),
            leaf: bytes(words.option("leaf").unwrap_or("root")).to_vec(),
            index: words.option("at").map_or(0, |index| index.parse().expect("an index")),
            path: vec![vec![1; 32]; words.option("path").map_or(0, |length| length.parse().expect("a length"))],
        }
        .into(),
        _ => crate::consent_words::message(from, words),
    }
}

fn leaves(batch: &str, count: usize) -> Vec<Digest> {
    let leaf = |index| {
        let record = RecordId::new(bytes(&format!("{batch}/{index}")));
        access_log::record_leaf(&record, &Commitment::new(bytes("commitment")))
    };
    (0..count).map(leaf).collect()
}

#[test]
fn a_batch_is_anchored_once_and_within_its_limit() {
    check_familiar(
        "clinic batches many
         clinic batches many
         lab batches many
         clinic batches other of 0
         clinic batches other of 1048577
         clinic batches other of 1048576",
        "ok BatchExists ok InvalidField InvalidField ok",
    );
    assert_eq!(BATCH_RECORDS_MAX, 1_048_576);
}

#[test]
fn only_what_is_in_a_batch_comes_out_of_it_and_only_once() {
    check_familiar(
        "clinic extracts many/3 from many
         clinic batches many
         lab extracts many/3 from many
         clinic extracts many/3 from many at=4
         clinic extracts many/7 from many
         clinic extracts many/3 from many commitment=other
         clinic supersedes many/3:2
         clinic extracts many/3 from many
         clinic extracts many/3 from many
         clinic extracts many/6 from many + supersedes many/6:2
         clinic supersedes many/3:2
         clinic marks many/3:2
         clinic anchors many/3
         clinic anchors many/5
         clinic extracts many/5 from many",
        "UnknownBatch ok UnknownBatch NotInBatch NotInBatch NotInBatch UnknownRecord ok RecordExists ok ok ok RecordExists ok RecordExists",
    );
}

#[test]
fn a_record_that_comes_out_of_a_batch_is_as_old_as_the_batch() {
    let mut world = familiar();
    let answers = run(&mut world, "at 5\nclinic batches many\nat 90\nclinic extracts many/0 from many");
    assert_eq!(answers, ["ok", "ok"]);
    let key = keys::record(&address("clinic"), &RecordId::new(bytes("many/0")));
    let record = world.machine.store().get(&key).unwrap();
    assert_eq!((record.version, record.recorded_at), (1, crate::world::START + 5));
}

#[test]
fn ten_thousand_records_fit_one_transaction_and_each_is_proven() {
    let mut world = familiar();
    let all: Vec<Digest> = leaves("large", 10_000);
    let root = access_log::root(&all);
    let message = MsgAnchorBatch { sender: address("clinic").to_string(), root: root.to_vec(), count: 10_000 };
    let transaction = world.signed("clinic", &[message.into()]);
    assert!(transaction.len() < 400 && transaction.len() < TX_BYTES_MAX, "however many records there are");
    assert_eq!(name_of(&world.send(transaction)), "ok");
    let batch = world.machine.store().get(&keys::batch(&address("clinic"), &root)).unwrap();
    for index in [0, 1, 4_095, 4_096, 9_998, 9_999] {
        let path = access_log::inclusion_path(&all, index).unwrap();
        assert!(access_log::verify_inclusion(&all[index], index, batch.count as usize, &path, &root), "{index}");
        let message = MsgExtractRecord {
            sender: address("clinic").to_string(),
            batch: root.to_vec(),
            record: bytes(&format!("large/{index}")).to_vec(),
            commitment: bytes("commitment").to_vec(),
            index: index as u32,
            path: path.iter().map(Digest::to_vec).collect(),
        };
        let mut damaged = message.clone();
        damaged.path[3][7] ^= 1;
        for (message, expected) in [(damaged, "NotInBatch"), (message, "ok")] {
            let transaction = world.signed("clinic", &[message.into()]);
            assert_eq!(name_of(&world.send(transaction)), expected, "{index}");
        }
    }
}

#[test]
fn a_path_has_the_length_of_a_batch_at_most() {
    let mut world = familiar();
    let extract = |path: Vec<Vec<u8>>| MsgExtractRecord {
        sender: address("clinic").to_string(),
        batch: bytes("root").to_vec(),
        record: bytes("a").to_vec(),
        commitment: bytes("commitment").to_vec(),
        index: 0,
        path,
    };
    for (path, expected) in [
        (vec![vec![1; 32]; 21], "InvalidField"),
        (vec![vec![1; 31]], "InvalidField"),
        (vec![vec![1; 32]; 20], "UnknownBatch"),
    ] {
        let transaction = world.signed("clinic", &[extract(path).into()]);
        assert_eq!(name_of(&world.send(transaction)), expected);
    }
}

#[test]
fn a_countersignature_is_given_as_asked_and_in_time() {
    check_familiar(
        "clinic asks lab to sign a
         clinic anchors a b c
         lab signs clinic a
         clinic asks clinic to sign a
         clinic asks nobody to sign a
         clinic asks lab to sign a version=2
         clinic asks lab to sign a until 0
         clinic asks lab to sign a until 31622401
         clinic asks lab to sign a until 100
         clinic asks lab to sign a
         clinic asks chemist to sign a until 100
         chemist signs clinic a commitment=other
         chemist signs clinic a version=2
         at 99
         chemist signs clinic a
         chemist signs clinic a
         clinic asks chemist to sign a
         at 100
         lab signs clinic a
         clinic asks lab to sign a
         lab signs clinic a",
        "UnknownRecord ok UnknownCountersignature InvalidField UnknownOrganization WrongVersion AlreadyEnded EndsTooLate
         ok CountersignatureRequested ok CountersignatureMismatch CountersignatureMismatch ok AlreadyCountersigned
         AlreadyCountersigned CountersignatureExpired ok ok",
    );
}

#[test]
fn a_countersignature_is_of_one_version() {
    check_familiar(
        "clinic anchors a
         clinic asks lab to sign a
         clinic supersedes a:2
         lab signs clinic a
         lab signs clinic a version=2
         clinic asks lab to sign a version=2
         lab signs clinic a version=2 commitment=next
         clinic supersedes a:3
         clinic asks lab to sign a version=3
         r1 suspends lab
         lab signs clinic a version=3 commitment=next
         clinic asks lab to sign a version=3",
        "ok ok ok CountersignatureMismatch CountersignatureMismatch ok ok ok ok ok OrganizationSuspended OrganizationSuspended",
    );
}

#[test]
fn what_was_shredded_stays_shredded() {
    check_familiar(
        "clinic shreds a
         clinic anchors a
         clinic asks lab to sign a
         lab shreds a
         clinic shreds a
         clinic shreds a
         clinic supersedes a:2
         clinic marks a:1
         clinic asks chemist to sign a
         lab signs clinic a
         clinic holds clinic a
         clinic anchors a",
        "UnknownRecord ok ok UnknownRecord ok RecordShredded RecordShredded RecordShredded RecordShredded RecordShredded
         RecordShredded RecordExists",
    );
}

#[test]
fn a_hold_by_either_side_forbids_to_shred() {
    check_familiar(
        "clinic anchors a
         clinic holds clinic a
         clinic holds clinic a
         clinic shreds a
         r1 holds clinic a
         r2 holds clinic a
         lab holds clinic a
         lab releases clinic a
         alice.clinic releases clinic a
         clinic releases clinic a
         clinic releases clinic a
         clinic shreds a
         clinic supersedes a:2
         r2 releases clinic a
         r2 releases clinic a
         r2 holds clinic b
         clinic shreds a",
        "ok ok RecordOnLegalHold RecordOnLegalHold ok RecordOnLegalHold RecordOfAnother RecordOfAnother NotAnOrganization
         ok NotOnLegalHold RecordOnLegalHold ok ok NotOnLegalHold UnknownRecord ok",
    );
}

/// The anchor stays where it was; only the mark is new, and what was proven before still is.
#[test]
fn shredding_changes_no_history() {
    let mut world = familiar();
    run(&mut world, "clinic anchors a");
    let key = keys::record(&address("clinic"), &RecordId::new(bytes("a")));
    let (height, app_hash) = (world.machine.height(), world.machine.app_hash());
    let before = world.machine.store().get(&key).unwrap();
    let query = |world: &crate::world::World| {
        world.machine.query("/store/careledger/key", key.as_bytes(), height, careledger_app::machine::Prove::Yes)
    };
    let proven = query(&world);
    run(&mut world, "at 7\nclinic shreds a");
    assert_eq!(query(&world), proven, "an old height proves what it proved, under the same root");
    assert_ne!(world.machine.app_hash(), app_hash);
    let after = world.machine.store().get(&key).unwrap();
    assert_eq!(after.shredded_at, crate::world::START + 7);
    assert_eq!(careledger_wire::proto::state::Record { shredded_at: 0, ..after }, before);
}

#[test]
fn a_patient_disputes_what_the_custodian_really_logged() {
    check_familiar(
        "alice.clinic disputes 1
         clinic logs 1
         lab logs 1
         clinic logs 2 count 2
         lab disputes 1 on alice.clinic
         bob.clinic disputes 1 on alice.clinic
         alice.clinic disputes 1 on nobody.clinic
         alice.clinic disputes 1 leaf=other
         alice.clinic disputes 1 at=1
         alice.clinic disputes 2
         alice.clinic disputes 1 path=21
         alice.clinic disputes 1
         alice.clinic disputes 1
         bob.clinic disputes 1",
        "UnknownBatch ok ok ok NotAClaimant NotTheSubject UnknownSubject NotInBatch NotInBatch NotInBatch InvalidField
         ok AccessDisputed ok",
    );
}
