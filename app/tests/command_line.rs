//! The command line as its users meet it: what it says, what it leaves behind, how it fails.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_app::{
    store::disk::{DiskStore, Retention},
    wallet::keystore::Keystore,
};
use careledger_wire::{
    access_log,
    ids::{Address, Commitment, Digest, RecordId},
    message::Message,
    proto::governance::{
        Parameter, ParameterChange, RegistrarChange, ScheduledUpgrade, ValidatorChange, content::Decision,
    },
    transaction::{Replay, Transaction},
};
use serde_json::Value;
use support::{careledgerd, signer};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), "correct horse\n").unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = careledgerd(self.path());
        command.args(arguments);
        if matches!(arguments[0], "keys" | "tx" | "load") {
            command.arg("--passphrase-file").arg(self.path().join("passphrase"));
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).args(["--output", "json"]).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const HEX: &str = "00000000000000000000000000000000000000000000000000000000000000ab";

#[test]
fn help_teaches_with_examples() {
    let home = Home::new();
    let node = [&[][..], &["init"], &["start"], &["export"], &["rollback"], &["genesis"], &["genesis", "from-export"]];
    for command in node.into_iter().chain([&["keys"][..], &["tx"], &["query"], &["load"]]) {
        let output = careledgerd(home.path()).args(command).arg("--help").output().unwrap();
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("Example"), "{command:?}: {said}");
    }
    let output = careledgerd(home.path()).args(["tx", "--help"]).output().unwrap();
    let said = text(&output.stdout);
    for url in Message::TYPE_URLS {
        let name = url.rsplit_once(".Msg").unwrap().1;
        let kebab: String = name.chars().fold(String::new(), |mut kebab, letter| {
            if letter.is_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.extend(letter.to_lowercase());
            kebab
        });
        assert!(said.contains(&format!("\n  {kebab} ")), "tx has no {kebab}");
    }
}

#[test]
fn a_home_is_made_once_and_never_overwritten() {
    let home = Home::new();
    let registrar = signer("registrar").address().to_string();
    let init = ["init", "--chain-id", "careledger-dev-1", "--registrar", &registrar];
    assert!(home.run(&init).status.success());
    let genesis = fs::read_to_string(home.path().join("config/app_genesis.json")).unwrap();
    let written: Value = serde_json::from_str(&genesis).unwrap();
    assert_eq!(written["registrars"][0], *registrar);
    assert_eq!(written["verifying_keys"].as_array().unwrap().len(), 1);
    assert!(home.run(&init).status.success(), "the same again changes nothing");
    let other =
        home.run(&["init", "--chain-id", "careledger-dev-1", "--registrar", &signer("x").address().to_string()]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(fs::read_to_string(home.path().join("config/app_genesis.json")).unwrap(), genesis);
}

#[test]
fn wrong_genesis_is_refused_before_anything_is_written() {
    let home = Home::new();
    let registrar = signer("registrar").address().to_string();
    let development = &home.path().join("development");
    let key = hex::encode(careledger_zk::key::VerifyingKey::development().encode());
    fs::write(development, &key).unwrap();
    let cases: [&[&str]; 4] = [
        &["--chain-id", "careledger-1"],
        &["--chain-id", "careledger-1", "--verifying-key", &key],
        &["--chain-id", "careledger-dev-1", "--verifying-key", "abcd"],
        &["--chain-id", "careledger-dev-1", "--registrar-threshold", "2"],
    ];
    for arguments in cases {
        let output = home.command(&["init", "--registrar", &registrar]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!home.path().join("config").exists(), "{arguments:?}");
    }
}

#[test]
fn keys_are_made_listed_shown_and_restored() {
    let home = Home::new();
    let alice = home.json(&["keys", "add", "alice"]);
    assert!(alice.get("mnemonic").is_none());
    assert!(text(&home.run(&["keys", "list"]).stdout).contains(alice["address"].as_str().unwrap()));
    assert_eq!(home.run(&["keys", "add", "alice"]).status.code(), Some(1), "nothing is replaced");
    let words = text(&home.run(&["keys", "export-mnemonic", "alice"]).stdout);
    assert_eq!(words.split_whitespace().count(), 24);

    let mut recover = home.command(&["keys", "add", "again", "--recover"]);
    let mut child = recover.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), words.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(home.json(&["keys", "show", "again"])["address"], alice["address"]);

    let hospital = signer("hospital").address().to_string();
    let derived = home.json(&["keys", "show", "alice", "--derive", &hospital]);
    assert_ne!(derived["address"], alice["address"]);
    assert_eq!(derived["encryption_key"].as_str().unwrap().len(), 64);
    let wallet = Keystore::new(home.path().join("keys")).open("alice", "correct horse").unwrap();
    let exported = home.run(&["keys", "export-encryption-key", "alice", "--derive", &hospital]);
    let secret = *wallet.encryption_pair(&hospital.parse().unwrap()).secret;
    assert_eq!(text(&exported.stdout).trim(), hex::encode(secret));

    fs::write(home.path().join("passphrase"), "wrong\n").unwrap();
    let refused = home.run(&["keys", "export-mnemonic", "alice"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
}

#[test]
fn a_consent_is_signed_without_a_network() {
    let home = Home::new();
    home.json(&["keys", "add", "alice"]);
    let (hospital, clinic) = (signer("hospital").address().to_string(), signer("clinic").address().to_string());
    let signed = home.json(&[
        "tx",
        "grant-consent",
        "--from",
        "alice",
        "--derive",
        &hospital,
        "--subject",
        HEX,
        "--grantee",
        &clinic,
        "--mode",
        "view",
        "--expires-at",
        "+30d",
        "--terms",
        HEX,
        "--body",
        HEX,
        "--offline",
        "--chain-id",
        "careledger-dev-1",
        "--account-number",
        "7",
        "--sequence",
        "3",
        "--node",
        "http://127.0.0.1:1",
    ]);
    let bytes = BASE64_STANDARD.decode(signed["tx"].as_str().unwrap()).unwrap();
    let transaction = Transaction::decode(&bytes).unwrap();
    assert_eq!(transaction.replay(), Replay::Sequence(3));
    assert_eq!(transaction.hash().to_string(), signed["hash"].as_str().unwrap());
    let derived = home.json(&["keys", "show", "alice", "--derive", &hospital]);
    assert_eq!(transaction.signer().to_string(), derived["address"].as_str().unwrap());
    assert_eq!(signed["grant"].as_str().unwrap().len(), 64, "the id that was chosen is told");
}

/// A second key is proven and added, then signs for the first one's account.
#[test]
fn a_further_key_is_added_and_signs_for_the_account() {
    use careledger_app::signatures;
    use careledger_wire::{commitment, message::Message, signing};
    use sha2::{Digest as _, Sha256};

    let home = Home::new();
    let alice = home.json(&["keys", "add", "alice"]);
    let account = alice["address"].as_str().unwrap();
    home.json(&["keys", "add", "laptop"]);
    let chain = ["--chain-id", "careledger-dev-1"];
    let proven = home.json(&[&["keys", "prove-possession", "laptop", "--account", account][..], &chain].concat());
    let told = |name: &str| proven[name].as_str().unwrap();
    let offline = ["--offline", "--account-number", "7", "--sequence", "0"];
    let add = ["tx", "add-key", "--from", "alice", "--kind", told("kind"), "--key", told("key")];
    let rest = ["--authority", "device", "--possession", told("possession")];
    let signed = home.json(&[&add[..], &rest, &offline, &chain].concat());
    let read =
        |signed: &Value| Transaction::decode(&BASE64_STANDARD.decode(signed["tx"].as_str().unwrap()).unwrap()).unwrap();
    let transaction = read(&signed);
    let Message::AddKey(added) = &transaction.messages()[0] else { panic!("{transaction:?}") };
    let key = signing::PublicKey::new(added.kind(), &added.key).unwrap();
    let possession = signing::Signature::decode(added.kind(), &added.possession).unwrap();
    let bytes = commitment::possession("careledger-dev-1", &transaction.signer(), &key);
    assert!(signatures::holds(&key, &Sha256::digest(bytes).into(), &possession));

    let veto = ["tx", "veto-recovery", "--from", "laptop", "--account", account];
    let transaction = read(&home.json(&[&veto[..], &offline, &chain].concat()));
    assert_eq!((transaction.signer().to_string().as_str(), transaction.sender().key), (account, key));

    let hospital = signer("hospital").address().to_string();
    let bound = home.json(&[&["keys", "bind-to", "alice", "--derive", &hospital][..], &chain].concat());
    let open = ["tx", "open-subject", "--from", "laptop", "--claimant", bound["address"].as_str().unwrap()];
    let binding = ["--binding", bound["binding"].as_str().unwrap()];
    let transaction = read(&home.json(&[&open[..], &binding, &offline, &chain].concat()));
    let Message::OpenSubject(open) = &transaction.messages()[0] else { panic!("{transaction:?}") };
    assert!(open.binding.is_some());
}

#[test]
fn a_state_that_is_in_use_and_one_that_is_damaged_are_told_apart() {
    let home = Home::new();
    let registrar = signer("registrar").address().to_string();
    home.json(&["init", "--chain-id", "careledger-dev-1", "--registrar", &registrar]);
    let state = home.path().join("state");
    let refused = || {
        let output = home.run(&["start", "--abci", "unix:///nowhere/abci.sock"]);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let open = DiskStore::open(&state, Retention::default()).unwrap();
    let said = refused();
    assert!(said.contains("\nnext: another careledgerd uses this home"), "{said}");
    drop(open);
    fs::write(state.join("CURRENT"), "spoiled").unwrap();
    let said = refused();
    assert!(said.contains("\nnext: docs/RUNBOOK.md, \"The state is damaged\"") && !said.contains("another"), "{said}");
    assert!(said.contains(&format!("move {} aside", state.display())), "{said}");
}

#[test]
fn a_failure_says_what_to_do_next() {
    let home = Home::new();
    home.json(&["keys", "add", "alice"]);
    let revoke = ["tx", "revoke-consent", "--subject", HEX, "--grant", HEX, "--node", "http://127.0.0.1:1"];
    let cases: [(&[&str], i32); 7] = [
        (&["start"], 1),
        (&["export"], 1),
        (&["query", "subject", HEX, "--node", "http://127.0.0.1:1"], 1),
        (&["query", "subject", HEX, "--node", "nonsense"], 1),
        (&revoke, 1),
        (&[&revoke[..], &["--from", "alice"]].concat(), 1),
        (&[&revoke[..], &["--from", "nobody"]].concat(), 1),
    ];
    for (arguments, code) in cases {
        let output = home.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && !said.contains("panicked"), "{arguments:?}: {said}");
        assert!(arguments[0] == "export" || said.contains("\nnext: "), "{arguments:?}: {said}");
    }
    let usage: [&[&str]; 4] = [
        &["query", "subject", "ab"],
        &["query", "organization", "cosmos1r5v5srda7xfth3hn2s26txvrcrntldjumt8mhl"],
        &["tx", "revoke-consent", "--subject", HEX],
        &["nonsense"],
    ];
    for arguments in usage {
        assert_eq!(home.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// A transaction of `registrar`, signed without a network.
fn offline(home: &Home, arguments: &[&str]) -> (Value, Message) {
    let signing = ["--from", "registrar", "--offline", "--chain-id", "careledger-dev-1", "--account-number", "0"];
    let printed = home.json(&[&["tx"], arguments, &signing, &["--sequence", "0"]].concat());
    let bytes = BASE64_STANDARD.decode(printed["tx"].as_str().unwrap()).unwrap();
    let message = Transaction::decode(&bytes).unwrap().messages()[0].clone();
    (printed, message)
}

#[test]
fn what_registrars_propose_is_what_they_typed() {
    let home = Home::new();
    let registrar = home.json(&["keys", "add", "registrar"])["address"].as_str().unwrap().to_owned();
    let other = signer("other").address().to_string();
    let cases: [(&[&str], Decision); 5] = [
        (
            &["--registrar", &registrar, "--registrar", &other, "--threshold", "2"],
            Decision::Registrars(RegistrarChange {
                registrars: {
                    let mut both = [&registrar, &other].map(|address| address.parse::<Address>().unwrap().to_vec());
                    both.sort();
                    both.to_vec()
                },
                threshold: 2,
            }),
        ),
        (
            &["--validator", HEX, "--power", "7"],
            Decision::Validator(ValidatorChange { public_key: hex::decode(HEX).unwrap(), power: 7 }),
        ),
        (
            &["--parameter", "unordered-seconds", "--value", "300"],
            Decision::Parameter(ParameterChange { parameter: Parameter::UnorderedSeconds.into(), value: 300 }),
        ),
        (&["--upgrade", "2", "--at-height", "500"], Decision::Upgrade(ScheduledUpgrade { version: 2, height: 500 })),
        (&["--upgrade", "2", "--at-height", "0"], Decision::Upgrade(ScheduledUpgrade { version: 2, height: 0 })),
    ];
    for (arguments, expected) in cases {
        let (printed, message) = offline(&home, &[&["propose"], arguments].concat());
        let Message::Propose(message) = message else { panic!("{message:?}") };
        assert_eq!(message.content.unwrap().decision, Some(expected));
        assert_eq!(printed["proposal"].as_str().unwrap(), hex::encode(message.proposal), "the id is told");
    }
    let signing = ["--from", "registrar", "--offline", "--chain-id", "c", "--account-number", "0", "--sequence", "0"];
    let wrong: [&[&str]; 5] = [
        &[],
        &["--validator", HEX],
        &["--threshold", "2"],
        &["--upgrade", "2"],
        &["--validator", HEX, "--power", "7", "--upgrade", "2", "--at-height", "5"],
    ];
    for arguments in wrong {
        let output = home.run(&[&["tx", "propose"], arguments, &signing].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// The file of a batch is all that its custodian keeps to take any record out of it.
#[test]
fn a_record_is_taken_out_of_a_batch_with_the_batchs_file() {
    let home = Home::new();
    home.json(&["keys", "add", "registrar"]);
    let file = home.path().join("batch.txt");
    let record = |number: u8| hex::encode([number; 32]);
    let lines: Vec<String> = (1..=9).map(|number| format!("{}:{}\n", record(number), record(100 + number))).collect();
    fs::write(&file, lines.concat()).unwrap();
    let file = file.to_str().unwrap();
    let (_, anchored) = offline(&home, &["anchor-batch", "--file", file]);
    let Message::AnchorBatch(batch) = anchored else { panic!("{anchored:?}") };
    assert_eq!(batch.count, 9);
    let root = Digest::try_from(batch.root.as_slice()).unwrap();
    for number in 1..=9 {
        let (_, message) = offline(&home, &["extract-record", "--file", file, "--record", &record(number)]);
        let Message::ExtractRecord(taken) = message else { panic!("{message:?}") };
        let leaf = access_log::record_leaf(&RecordId::new([number; 32]), &Commitment::new([100 + number; 32]));
        let path: Vec<Digest> = taken.path.iter().map(|node| Digest::try_from(node.as_slice()).unwrap()).collect();
        assert_eq!((taken.batch, taken.commitment), (batch.root.clone(), vec![100 + number; 32]));
        assert!(access_log::verify_inclusion(&leaf, taken.index as usize, 9, &path, &root));
    }
}
