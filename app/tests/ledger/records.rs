//! Anchors, supersessions, errors, access logs.

use careledger_app::limits::{ANCHORS_PER_TRANSACTION_MAX, SUPERSESSIONS_PER_TRANSACTION_MAX};
use careledger_wire::{
    message::Message,
    proto::records::{Anchor, MsgAnchorRecords, MsgSupersedeRecords, Supersession},
};

use crate::{
    script::{check_familiar, familiar},
    world::{address, bytes, name_of},
};

#[test]
fn records_are_anchored_all_or_none() {
    check_familiar(
        "clinic anchors a b c
         clinic anchors d a
         clinic anchors d d
         clinic anchors d
         lab anchors a
         clinic anchors",
        "ok RecordExists DuplicateRecord ok ok InvalidField",
    );
}

#[test]
fn versions_have_no_gap() {
    check_familiar(
        "clinic anchors a b
         clinic supersedes a:1
         clinic supersedes a:3
         clinic supersedes a:2 b:2
         clinic supersedes a:3 b:2
         clinic supersedes a:3
         clinic supersedes a:0
         clinic supersedes a:4 a:5
         lab supersedes a:2
         clinic supersedes c:2",
        "ok WrongVersion WrongVersion ok WrongVersion ok InvalidField DuplicateRecord UnknownRecord UnknownRecord",
    );
}

#[test]
fn the_current_version_is_marked_as_entered_in_error() {
    check_familiar(
        "clinic anchors a
         clinic supersedes a:2
         clinic marks a:1
         clinic marks a:2
         clinic marks a:2
         clinic supersedes a:3
         clinic marks a:3
         lab marks a:3
         clinic marks b:1
         clinic marks a:0",
        "ok ok WrongVersion ok AlreadyEnteredInError ok ok UnknownRecord UnknownRecord InvalidField",
    );
}

#[test]
fn an_access_log_has_no_gap_and_no_overlap() {
    check_familiar(
        "at 100
         clinic logs 2 from 0 to 10
         clinic logs 1 from 0 to 10
         clinic logs 1 from 10 to 20
         clinic logs 2 from 9 to 20
         clinic logs 2 from 10 to 9
         clinic logs 2 from 10 to 161
         clinic logs 2 from 10 to 160
         clinic logs 3 from 160 to 160 count 0
         clinic logs 3 from 160 to 160 count 1048577
         clinic logs 3 from 160 to 160 count 1048576
         clinic logs 0 from 160 to 160
         lab logs 1 from 0 to 100",
        "AccessLogGap ok AccessLogGap AccessLogOverlap InvalidField AccessLogFuture ok InvalidField InvalidField ok InvalidField ok",
    );
}

fn full_batches_answer(cases: impl IntoIterator<Item = (Message, &'static str)>) {
    let mut world = familiar();
    for (message, expected) in cases {
        let transaction = world.signed("clinic", std::slice::from_ref(&message));
        assert_eq!(name_of(&world.send(transaction)), expected, "{}", message.to_any().type_url);
    }
}

fn anchors(count: usize) -> Message {
    let anchors = (0..count).map(|number| Anchor {
        record: bytes(&format!("record {number}")).to_vec(),
        commitment: bytes("commitment").to_vec(),
    });
    MsgAnchorRecords { sender: address("clinic").to_string(), anchors: anchors.collect() }.into()
}

fn supersessions(count: usize, version: u32) -> Message {
    let supersessions = (0..count).map(|number| Supersession {
        record: bytes(&format!("record {number}")).to_vec(),
        version,
        commitment: bytes("commitment").to_vec(),
    });
    MsgSupersedeRecords { sender: address("clinic").to_string(), supersessions: supersessions.collect() }.into()
}

#[test]
fn a_full_batch_fits_a_transaction() {
    full_batches_answer([
        (anchors(ANCHORS_PER_TRANSACTION_MAX + 1), "InvalidField"),
        (anchors(ANCHORS_PER_TRANSACTION_MAX), "ok"),
        (anchors(ANCHORS_PER_TRANSACTION_MAX * 2), "TooLarge"),
    ]);
}

#[test]
fn a_full_batch_of_supersessions_fits_however_long_the_versions_are() {
    full_batches_answer([
        (anchors(SUPERSESSIONS_PER_TRANSACTION_MAX), "ok"),
        (supersessions(SUPERSESSIONS_PER_TRANSACTION_MAX + 1, 2), "InvalidField"),
        (supersessions(SUPERSESSIONS_PER_TRANSACTION_MAX, 2), "ok"),
        // The version of most bytes: within every limit, and refused only by what the state says.
        (supersessions(SUPERSESSIONS_PER_TRANSACTION_MAX, u32::MAX), "WrongVersion"),
    ]);
}
