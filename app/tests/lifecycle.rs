//! What an operator does with a node's state: the last block undone, and a new chain begun with what an old one exported.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

mod support;

use std::{fs, path::Path, process::Output};

use careledger_app::abci::genesis_file;
use serde_json::Value;
use support::{Abci, Daemon, anchor, block_time, careledgerd, init_chain, register_hospital};
use tendermint_proto::{
    google::protobuf::Duration,
    v0_38::{
        abci::{RequestInitChain, ValidatorUpdate, request::Value as Asked, response::Value as Answer},
        crypto::{PublicKey, public_key::Sum},
        types::{ConsensusParams, EvidenceParams},
    },
};

const VALIDATOR: [u8; 32] = [5; 32];
const BLOCKS: u64 = 5;
const NEXT_CHAIN: &str = "careledger-dev-next";

fn transactions(height: u64) -> Vec<Vec<u8>> {
    if height == 1 { vec![register_hospital()] } else { vec![anchor(height - 2, 30)] }
}

/// InitChain of a chain with one validator.
fn genesis() -> RequestInitChain {
    let key = PublicKey { sum: Some(Sum::Ed25519(VALIDATOR.to_vec())) };
    let evidence = EvidenceParams {
        max_age_num_blocks: 9_000,
        max_age_duration: Some(Duration { seconds: 90_000, nanos: 0 }),
        max_bytes: 90_000,
    };
    RequestInitChain {
        validators: vec![ValidatorUpdate { pub_key: Some(key), power: 10 }],
        consensus_params: Some(ConsensusParams { evidence: Some(evidence), ..ConsensusParams::default() }),
        ..init_chain()
    }
}

fn init(abci: &mut Abci<impl std::io::Read + std::io::Write>, request: RequestInitChain) -> Vec<u8> {
    match abci.ask(Asked::InitChain(request)).unwrap() {
        Answer::InitChain(answer) => answer.app_hash.to_vec(),
        other => panic!("expected InitChain, found {other:?}"),
    }
}

/// Executes the block of a height; gives its app hash.
fn block(abci: &mut Abci<impl std::io::Read + std::io::Write>, height: u64) -> Vec<u8> {
    let finalized = abci.finalize(height, &transactions(height)).unwrap();
    assert!(finalized.tx_results.iter().all(|result| result.code == 0), "{finalized:?}");
    abci.commit().unwrap();
    finalized.app_hash.to_vec()
}

/// A home whose chain has [`BLOCKS`] blocks; gives the app hash after each height, genesis first.
fn lived(home: &Path) -> Vec<Vec<u8>> {
    Daemon::init(home);
    // A snapshot at every height, so that one is of a block that is undone.
    let settings = home.join("config/app.toml");
    let text = fs::read_to_string(&settings).unwrap();
    assert!(text.contains("interval = 1000"), "the example's default");
    fs::write(&settings, text.replace("interval = 1000", "interval = 1")).unwrap();
    let daemon = Daemon::start(home);
    let mut abci = daemon.connect();
    let mut hashes = vec![init(&mut abci, genesis())];
    hashes.extend((1..=BLOCKS).map(|height| block(&mut abci, height)));
    hashes
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    careledgerd(home).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn export(home: &Path) -> String {
    let output = run(home, &["export"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn a_block_that_is_rolled_back_is_executed_again_to_the_same_app_hash() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let hashes = lived(home);
    let before = export(home);

    let told = run(home, &["rollback", "--output", "json"]);
    assert!(text(&told.stderr).contains("nothing was changed"), "{}", text(&told.stderr));
    let told = json(&told);
    assert_eq!((told["undone_block"].as_u64(), told["height"].as_u64()), (Some(BLOCKS), Some(BLOCKS - 1)));
    assert_eq!((&told["app_hash"], &told["done"]), (&hex::encode(&hashes[BLOCKS as usize - 1]).into(), &false.into()));
    assert_eq!((told["time"].as_i64(), told["outcomes_forgotten"].as_u64()), (Some(block_time(BLOCKS - 1)), Some(1)));
    assert_eq!(export(home), before, "it only says what it would do");

    for undone in [BLOCKS, BLOCKS - 1] {
        let done = json(&run(home, &["rollback", "--yes", "--output", "json"]));
        assert_eq!((done["undone_block"].as_u64(), &done["done"]), (Some(undone), &true.into()));
    }
    let daemon = Daemon::start(home);
    let mut abci = daemon.connect();
    let info = abci.info().unwrap();
    assert_eq!(info.last_block_height as u64, BLOCKS - 2);
    assert_eq!(info.last_block_app_hash.to_vec(), hashes[BLOCKS as usize - 2]);
    for height in [BLOCKS - 1, BLOCKS] {
        assert_eq!(block(&mut abci, height), hashes[height as usize], "height {height}");
    }
    assert_eq!(export(home), before);
}

#[test]
fn a_rollback_that_cannot_be_done_says_why_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let nothing = refusal(&run(home, &["rollback", "--yes"]));
    assert!(nothing.contains("there is no state in"), "{nothing}");
    assert!(!home.join("state").exists(), "nothing was made where nothing was");

    Daemon::init(home);
    let daemon = Daemon::start(home);
    let mut abci = daemon.connect();
    init(&mut abci, genesis());
    let running = refusal(&run(home, &["rollback", "--yes"]));
    assert!(running.contains("in use by another process") && running.contains("stop careledgerd first"), "{running}");
    daemon.kill();
    let no_block = refusal(&run(home, &["rollback", "--yes"]));
    assert!(no_block.contains("no block was committed yet"), "{no_block}");
}

#[test]
fn a_chain_that_begins_with_an_export_exports_the_same_but_for_the_chain_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    fs::create_dir_all(&old).unwrap();
    fs::create_dir_all(&new).unwrap();
    lived(&old);
    let before = export(&old);
    let (state, file) = (folder.path().join("state.json"), folder.path().join("genesis.json"));
    fs::write(&state, &before).unwrap();
    let words = ["genesis", "from-export", state.to_str().unwrap(), "--chain-id", NEXT_CHAIN, "--output", "json"];
    let words = [&words[..], &["--out", file.to_str().unwrap()]].concat();
    let made = json(&run(&old, &words));
    assert_eq!((&made["chain_id"], &made["initial_height"]), (&NEXT_CHAIN.into(), &(BLOCKS + 1).into()));
    assert_eq!((&made["continues_height"], &made["validators"]), (&BLOCKS.into(), &1.into()));
    let checked = json(&run(&old, &["genesis", "check", file.to_str().unwrap(), "--output", "json"]));
    assert_eq!(checked, made);

    Daemon::init(&new);
    let request = genesis_file::request(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(request.validators, genesis().validators, "those that had power go on");
    let daemon = Daemon::start(&new);
    let app_hash = init(&mut daemon.connect(), request.clone());
    assert_eq!(made["app_hash"], hex::encode(&app_hash));
    assert_eq!(daemon.connect().info().unwrap().last_block_height, 0, "CometBFT is to send InitChain again");
    // Killed before its first block, it is told its genesis again.
    daemon.kill();
    let daemon = Daemon::start(&new);
    assert_eq!(daemon.connect().info().unwrap().last_block_height, 0);
    assert_eq!(init(&mut daemon.connect(), request), app_hash);

    let after = export(&new);
    let differing: Vec<(&str, &str)> = before.lines().zip(after.lines()).filter(|(one, other)| one != other).collect();
    assert_eq!(before.lines().count(), after.lines().count());
    let [(_, head), (one, other)] = differing[..] else { panic!("the head, and the pair of the chain: {differing:?}") };
    assert!(head.contains(NEXT_CHAIN) && head.contains(&format!("\"height\":{BLOCKS}")), "{head}");
    let chain = format!("[\"{}\",", hex::encode("chain"));
    assert!(one.starts_with(&chain) && other.starts_with(&chain), "{one}\n{other}");

    // The next height is the first of the new chain; what was signed for the old one does not count there.
    let mut abci = daemon.connect();
    let refused = abci.finalize(BLOCKS + 1, &transactions(BLOCKS + 1)).unwrap();
    assert_ne!(refused.tx_results[0].code, 0);
    abci.commit().unwrap();
    assert_eq!(abci.info().unwrap().last_block_height as u64, BLOCKS + 1);
}

#[test]
fn an_export_that_was_edited_makes_no_genesis_and_the_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    lived(home);
    let exported = export(home);
    let second = exported.lines().nth(2).unwrap();
    let (state, file) = (home.join("state.json"), home.join("genesis.json"));
    let digit = |line: &str| {
        let place = line.len() - 4;
        let other = if &line[place..=place] == "0" { "1" } else { "0" };
        format!("{}{other}{}", &line[..place], &line[place + 1..])
    };
    let cases: Vec<(&str, String, &str)> = vec![
        ("cut off", exported[..exported.len() / 2].to_owned(), "at line "),
        ("an unknown field", exported.replacen("\"height\"", "\"hight\"", 1), "unknown field `hight`"),
        ("a digit", exported.replace(second, &digit(second)), ""),
        ("a line", exported.replace(&format!("{second}\n"), ""), "a pair was changed, added or lost"),
        ("a key", exported.replace(&second[2..12], "7a7a7a7a7a"), "pair "),
    ];
    let make = |chain_id: &str| {
        let words = ["genesis", "from-export", state.to_str().unwrap(), "--chain-id", chain_id];
        run(home, &[&words[..], &["--out", file.to_str().unwrap()]].concat())
    };
    for (name, edited, expected) in cases {
        assert_ne!(edited, exported, "{name}");
        fs::write(&state, edited).unwrap();
        let said = refusal(&make(NEXT_CHAIN));
        assert!(said.contains(expected) && said.contains("state.json"), "{name}: {said}");
        assert!(said.contains("an export is never edited"), "{name}: {said}");
        assert!(!file.exists(), "{name}");
    }
    fs::write(&state, &exported).unwrap();
    let same = refusal(&make(support::CHAIN));
    assert!(same.contains("needs one of its own"), "{same}");
    assert!(make(NEXT_CHAIN).status.success());
    let made = fs::read_to_string(&file).unwrap();
    for (name, from, to, expected) in [
        ("another height", "\"initial_height\":\"6\"", "\"initial_height\":\"1\"", "initial_height must be 6"),
        ("a time before", "\"genesis_time\":\"2027", "\"genesis_time\":\"2026", "genesis_time is before"),
        ("no time", "\"genesis_time\":\"2027", "\"genesis_time\":\"soon", "genesis_time: `soon"),
        ("another key", "PubKeyEd25519", "PubKeySecp256k1", "validator 0"),
        ("no power", "\"power\":\"10\"", "\"power\":\"ten\"", "`ten` is no number"),
        ("power 0", "\"power\":\"10\"", "\"power\":\"0\"", "of power 1 to"),
    ] {
        let changed = made.replacen(from, to, 1);
        assert_ne!(changed, made, "{name}");
        fs::write(&file, changed).unwrap();
        let said = refusal(&run(home, &["genesis", "check", file.to_str().unwrap()]));
        assert!(said.contains(expected) && said.contains("genesis.json"), "{name}: {said}");
    }
}

/// A genesis file of the export of `old` that only names it, and the export.
fn beside(old: &Path, folder: &Path) -> (Value, std::path::PathBuf, std::path::PathBuf) {
    let (state, file) = (folder.join("state.json"), folder.join("genesis.json"));
    fs::write(&state, export(old)).unwrap();
    let words = ["genesis", "from-export", state.to_str().unwrap(), "--chain-id", NEXT_CHAIN, "--output", "json"];
    let output = run(old, &[&words[..], &["--beside", "--out", file.to_str().unwrap()]].concat());
    assert!(text(&output.stderr).contains("into its home folder as config/export.json"), "{}", text(&output.stderr));
    (json(&output), state, file)
}

#[test]
fn a_chain_begins_with_an_export_that_its_genesis_file_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let [old, inside, new] = ["old", "inside", "new"].map(|name| folder.path().join(name));
    for home in [&old, &inside, &new] {
        fs::create_dir_all(home).unwrap();
    }
    lived(&old);
    let (made, state, file) = beside(&old, folder.path());
    let genesis = fs::read_to_string(&file).unwrap();
    assert!(genesis.len() < 2_000 && made["state"] == "beside the genesis file", "{genesis}");

    // The same chain as the one whose genesis file holds everything.
    let whole = inside.join("genesis.json");
    let words = ["genesis", "from-export", state.to_str().unwrap(), "--chain-id", NEXT_CHAIN, "--output", "json"];
    let held = json(&run(&old, &[&words[..], &["--out", whole.to_str().unwrap()]].concat()));
    assert_eq!((&held["app_hash"], &held["state"]), (&made["app_hash"], &"in the genesis file".into()));

    let check =
        |more: &[&str]| run(&new, &[&["genesis", "check", file.to_str().unwrap(), "--output", "json"], more].concat());
    assert_eq!(json(&check(&["--export", state.to_str().unwrap()])), made);
    let missing = refusal(&check(&[]));
    assert!(missing.contains("export.json") && missing.contains("--export names the file"), "{missing}");

    Daemon::init(&new);
    let request = genesis_file::request(&genesis).unwrap();
    let starts = |expected: &str| {
        let daemon = Daemon::start(&new);
        assert!(daemon.connect().ask(Asked::InitChain(request.clone())).is_err(), "{expected}");
        let (said, code) = daemon.wait();
        assert!(code == Some(74) && said.contains(expected) && said.contains("reading the genesis file"), "{said}");
    };
    let place = new.join("config/export.json");
    starts("put there what `careledgerd export` printed of that state");
    fs::write(&place, &fs::read(&state).unwrap()[..5_000]).unwrap();
    starts("not an exported state: EOF");
    // Another chain's, and an edited one.
    fs::write(&place, fs::read_to_string(&state).unwrap().replacen("\"height\":5", "\"height\":4", 1)).unwrap();
    starts("put the right one there");
    let exported = fs::read_to_string(&state).unwrap();
    let line = exported.lines().nth(2).unwrap();
    fs::write(&place, exported.replace(&format!("{line}\n"), "")).unwrap();
    starts("a pair was changed, added or lost");

    fs::copy(&state, &place).unwrap();
    let daemon = Daemon::start(&new);
    assert_eq!(made["app_hash"], hex::encode(init(&mut daemon.connect(), request.clone())));
    // Killed before its first block, it is told its genesis again, and reads the file again.
    daemon.kill();
    let daemon = Daemon::start(&new);
    let mut abci = daemon.connect();
    assert_eq!(abci.info().unwrap().last_block_height, 0);
    assert_eq!(made["app_hash"], hex::encode(init(&mut abci, request)));
    abci.finalize(BLOCKS + 1, &[]).unwrap();
    abci.commit().unwrap();
    daemon.kill();
    // From the first block on the state is its own.
    fs::remove_file(&place).unwrap();
    let daemon = Daemon::start(&new);
    assert_eq!(daemon.connect().info().unwrap().last_block_height as u64, BLOCKS + 1);
    assert_eq!(export(&new).lines().count(), exported.lines().count());
}

/// It was looked for beside the genesis file, where a validator that begins never looks.
#[test]
fn genesis_check_reads_the_export_from_where_init_chain_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    fs::create_dir_all(&old).unwrap();
    lived(&old);
    let (made, state, file) = beside(&old, folder.path());
    Daemon::init(&new);
    let place = new.join("config/export.json");
    let check = || run(&new, &["genesis", "check", file.to_str().unwrap(), "--output", "json"]);
    // What lies beside the genesis file is nobody's.
    fs::copy(&state, folder.path().join("export.json")).unwrap();
    let missing = refusal(&check());
    assert!(missing.contains(place.to_str().unwrap()) && missing.contains("--home"), "{missing}");
    fs::copy(&state, &place).unwrap();
    let checked = json(&check());
    assert_eq!((&checked["app_hash"], checked["export"].as_str()), (&made["app_hash"], place.to_str()));
    let request = genesis_file::request(&fs::read_to_string(&file).unwrap()).unwrap();
    let daemon = Daemon::start(&new);
    assert_eq!(checked["app_hash"], hex::encode(init(&mut daemon.connect(), request)));
}

#[test]
fn a_state_that_no_frame_holds_is_left_beside_the_genesis_file() {
    let folder = tempfile::tempdir().unwrap();
    lived(folder.path());
    let file = folder.path().join("state.json");
    fs::write(&file, export(folder.path())).unwrap();
    let made = |app_state_bytes_max| {
        let exported = genesis_file::read_export(&file).unwrap();
        let made = genesis_file::continuing(exported, NEXT_CHAIN, block_time(BLOCKS), &[], app_state_bytes_max);
        made.unwrap()
    };
    let (inside, checked) = made(genesis_file::APP_STATE_BYTES_MAX);
    let app_state: Value = serde_json::from_str(&inside).unwrap();
    let bytes = serde_json::to_vec(&app_state["app_state"]).unwrap().len();
    // As large as the frame of this test, with room for what is not pairs: the last one that fits, and the first that
    // does not.
    let exported = genesis_file::read_export(&file).unwrap();
    let limit = (bytes..bytes + 2_000).find(|limit| !made(*limit).1.is_beside).unwrap();
    assert!(exported.pairs_bytes() < bytes && bytes <= limit, "what is inside fits");
    let (outside, beside) = made(limit - 1);
    assert!(beside.is_beside && !checked.is_beside && !outside.contains("\"pairs\""));
    assert_eq!((beside.app_hash, beside.continues), (checked.app_hash, checked.continues));
}
