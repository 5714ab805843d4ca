//! Every role × every transaction: the code that docs/transactions/ promises.

use crate::{
    script::{familiar, run},
    world::name_of,
};

const ROLES: [(&str, &str); 8] = [
    ("registrar", "r3"),
    ("provider", "clinic"),
    ("laboratory", "lab"),
    ("pharmacy", "chemist"),
    ("insurer", "payer"),
    ("practitioner", "doctor"),
    ("patient", "alice.clinic"),
    ("stranger", "nobody"),
];

/// What there is before each cell of the matrix is tried.
const BEFORE: &str = "
    r1 registers new as provider
    clinic opens carol.clinic
    alice.clinic grants lab as old
    clinic anchors old
    lab anchors old
    chemist anchors old
    payer anchors old
    payer publishes gold
    clinic attests fact
    payer covers fact
    r3 adds r3-phone as device
    clinic adds clinic-phone as device
    lab adds lab-phone as device
    chemist adds chemist-phone as device
    payer adds payer-phone as device
    doctor adds doctor-phone as device
    alice.clinic adds alice.clinic-phone as device
    alice.clinic guards 1 of r3 clinic lab chemist payer doctor
    r3 approves rescue for alice.clinic";

/// One row for each transaction: the message (`SENDER` stands for who sends it), then an answer for each role in the order of
/// [`ROLES`]. `.` stands for ok, `R` NotARegistrar, `O` NotAnOrganization, `K` WrongOrganizationKind,
/// `C` NotAClaimant, `U` UnknownAccount, `N` NotRecoverable, `L` RecoveryLocked.
const MATRIX: &[(&str, &str)] = &[
    ("registers new as provider", ". R R R R R R U"),
    ("suspends lab", ". R R R R R R U"),
    ("enrols nurse", "O . . . . O O U"),
    ("opens dave.here", "O . . . . O O U"),
    ("claims alice.clinic", "C C C C C C SubjectClaimed U"),
    ("requests alice.clinic as q", "O . . . . O O U"),
    ("grants lab as g on alice.clinic", "C C C C C C . U"),
    ("revokes old on alice.clinic", "C C C C C C . U"),
    ("anchors a", "O . . . . O O U"),
    ("supersedes old:2", "O . . . . O O U"),
    ("marks old:1", "O . . . . O O U"),
    ("logs 1", "O . . . . O O U"),
    ("publishes silver", "O K K K . O O U"),
    ("attests a", "O . . K K O O U"),
    ("covers a", "O K K K . O O U"),
    ("proves gold claim c event e period p", "O . . . . O O U"),
    ("adds tablet as full", ". . . . . . . U"),
    ("removes SENDER-phone", ". . . . . . . U"),
    ("guards 1 of bob.clinic", "N N N N N . . U"),
    ("approves other for alice.clinic", ". . . . . . NotAGuardian U"),
    ("sees other for alice.clinic", "O . . . . O O U"),
    ("vetoes", "N N N N N NoRecovery . U"),
    ("restores alice.clinic with rescue", "L L L L L L L U"),
];

fn name(symbol: &str) -> &str {
    match symbol {
        "." => "ok",
        "R" => "NotARegistrar",
        "O" => "NotAnOrganization",
        "K" => "WrongOrganizationKind",
        "C" => "NotAClaimant",
        "U" => "UnknownAccount",
        "N" => "NotRecoverable",
        "L" => "RecoveryLocked",
        other => other,
    }
}

#[test]
fn every_role_sends_what_it_may_and_nothing_else() {
    assert_eq!(MATRIX.len(), careledger_wire::message::Message::TYPE_URLS.len(), "every transaction has a row");
    for (number, (role, sender)) in ROLES.iter().enumerate() {
        for (message, row) in MATRIX {
            let expected = row.split_whitespace().nth(number).expect("every role has a column");
            let mut world = familiar();
            assert!(run(&mut world, BEFORE).iter().all(|answer| *answer == "ok"));
            let parsed = crate::script::message(&world, None, sender, &message.replace("SENDER", sender));
            let transaction = world.signed(sender, &[parsed]);
            assert_eq!(name_of(&world.send(transaction)), name(expected), "{role}: {message}");
        }
    }
}

/// Suspended and expired organizations are refused everything, from the next block on.
#[test]
fn organizations_out_of_standing_are_refused_everything() {
    for (role, sender) in &ROLES[1..5] {
        let column = ROLES.iter().position(|other| other.0 == *role).expect("a role");
        for (message, row) in MATRIX {
            if name(row.split_whitespace().nth(column).expect("a column")) != "ok" {
                continue;
            }
            for (event, expected) in [
                (format!("r1 suspends {sender}"), "OrganizationSuspended"),
                ("at 1000000".to_owned(), "OrganizationExpired"),
            ] {
                let mut world = familiar();
                run(&mut world, BEFORE);
                run(&mut world, &event);
                let parsed = crate::script::message(&world, None, sender, &message.replace("SENDER", sender));
                let transaction = world.signed(sender, &[parsed]);
                assert_eq!(name_of(&world.send(transaction)), expected, "{role}: {message} after {event}");
            }
        }
    }
}
