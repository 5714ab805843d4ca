//! Every role × every transaction: the code that docs/transactions/ promises.

use crate::{
    script::{familiar, run},
    world::name_of,
};

const ROLES: [(&str, &str); 9] = [
    ("registrar", "r3"),
    ("provider", "clinic"),
    ("laboratory", "lab"),
    ("pharmacy", "chemist"),
    ("insurer", "payer"),
    ("practitioner", "doctor"),
    ("patient", "alice.clinic"),
    ("stranger", "nobody"),
    ("guardian", "uncle"),
];

/// What there is before each cell of the matrix is tried.
pub const BEFORE: &str = "
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
    lab enrols doctor
    chemist enrols doctor
    payer enrols doctor
    r1 proposes theirs parameter offences-tolerated 3
    r3 proposes mine parameter offences-tolerated 4
    clinic batches many
    lab batches many
    chemist batches many
    payer batches many
    clinic asks lab to sign old
    lab asks clinic to sign old
    chemist asks clinic to sign old
    payer asks clinic to sign old
    clinic asks chemist to sign old
    clinic asks payer to sign old
    lab anchors kept
    chemist anchors kept
    payer anchors kept
    clinic anchors kept
    clinic holds clinic kept
    lab holds lab kept
    chemist holds chemist kept
    payer holds payer kept
    r1 holds clinic kept
    clinic logs 1
    lab logs 1
    chemist logs 1
    payer logs 1
    r1 registers clinic as provider emergency
    r2 registers clinic as provider emergency
    clinic appoints uncle on alice.clinic
    alice.clinic appoints uncle
    alice.clinic grants lab as wide delegable
    alice.clinic grants lab as shut
    alice.clinic revokes shut
    alice.clinic preapproves lab as ever
    clinic breaks alice.clinic as glass by doctor
    r3 adds r3-phone as device
    clinic adds clinic-phone as device
    lab adds lab-phone as device
    chemist adds chemist-phone as device
    payer adds payer-phone as device
    doctor adds doctor-phone as device
    alice.clinic adds alice.clinic-phone as device
    uncle adds uncle-phone as device
    alice.clinic guards 1 of r3 clinic lab chemist payer doctor
    r3 approves rescue for alice.clinic";

/// One row for each transaction: the message (`SENDER` stands for who sends it), then an answer for each role in the order of
/// [`ROLES`]. `.` stands for ok, `R` NotARegistrar, `O` NotAnOrganization, `K` WrongOrganizationKind,
/// `C` NotAClaimant, `U` UnknownAccount, `E` EmergencyNotAccredited, `N` NotRecoverable, `L` RecoveryLocked.
const MATRIX: &[(&str, &str)] = &[
    ("registers new as provider", ". R R R R R R U R"),
    ("suspends lab", ". R R R R R R U R"),
    ("enrols nurse", "O . . . . O O U O"),
    ("opens dave.here", "O . . . . O O U O"),
    ("claims alice.clinic", "C C C C C C SubjectClaimed U C"),
    ("requests alice.clinic as q", "O . . . . O O U O"),
    ("grants lab as g on alice.clinic", "C C C C C C . U ."),
    ("revokes old on alice.clinic", "C C C C C C . U ."),
    ("anchors a", "O . . . . O O U O"),
    ("supersedes old:2", "O . . . . O O U O"),
    ("marks old:1", "O . . . . O O U O"),
    ("logs 2", "O . . . . O O U O"),
    ("publishes silver", "O K K K . O O U O"),
    ("attests a", "O . . K K O O U O"),
    ("unattests fact", "NotTheIssuer . NotTheIssuer NotTheIssuer NotTheIssuer O O U O"),
    ("covers a", "O K K K . O O U O"),
    ("proves gold claim c event e period p", "O . . . . O O U O"),
    ("amends old to 2 on alice.clinic", "C C C C C C . U ."),
    ("reinstates shut on alice.clinic", "C C C C C C . U C"),
    ("delegates wide to payer as d on alice.clinic", "O NotTheGrantee . NotTheGrantee InvalidField O O U O"),
    ("appoints aunt on alice.clinic", "C . NotTheCustodian NotTheCustodian NotTheCustodian C . U C"),
    ("breaks alice.clinic as e by doctor", "O . E E E O O U O"),
    ("reviews glass on alice.clinic", ". OwnEmergency . . . O O U O"),
    ("preapproves lab as s on alice.clinic", "C C C C C C . U C"),
    ("withdraws ever on alice.clinic", "C C C C C C . U C"),
    ("proposes p parameter offences-tolerated 2", ". R R R R R R U R"),
    ("votes theirs", ". R R R R R R U R"),
    ("rescinds mine", ". R R R R R R U R"),
    ("suspends-staff doctor", "O . . . . O O U O"),
    ("batches more", "O . . . . O O U O"),
    ("extracts many/3 from many", "O . . . . O O U O"),
    ("asks lab to sign kept", "O . InvalidField . . O O U O"),
    ("signs lab old", "O . UnknownCountersignature UnknownCountersignature UnknownCountersignature O O U O"),
    ("shreds old", "O . . . . O O U O"),
    ("holds own old", "UnknownRecord . . . . O O U O"),
    ("disputes 1 on alice.clinic", "C C C C C C . U C"),
    ("releases clinic kept", ". . RecordOfAnother RecordOfAnother RecordOfAnother O O U O"),
    ("adds tablet as full", ". . . . . . . U ."),
    ("removes SENDER-phone", ". . . . . . . U ."),
    ("guards 1 of bob.clinic", "N N N N N . . U N"),
    ("approves other for alice.clinic", ". . . . . . NotAGuardian U NotAGuardian"),
    ("sees other for alice.clinic", "O . . . . O O U O"),
    ("vetoes", "N N N N N NoRecovery . U N"),
    ("restores alice.clinic with rescue", "L L L L L L L U L"),
];

/// Every transaction with somebody who may send it, after [`BEFORE`].
pub fn every_transaction() -> impl Iterator<Item = (String, &'static str)> {
    MATRIX.iter().map(|(message, row)| {
        let place = row.split_whitespace().position(|answer| answer == ".").unwrap_or(1);
        (message.replace("SENDER", ROLES[place].1), ROLES[place].1)
    })
}

fn name(symbol: &str) -> &str {
    match symbol {
        "." => "ok",
        "R" => "NotARegistrar",
        "O" => "NotAnOrganization",
        "K" => "WrongOrganizationKind",
        "C" => "NotAClaimant",
        "U" => "UnknownAccount",
        "E" => "EmergencyNotAccredited",
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
