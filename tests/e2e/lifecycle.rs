//! A network through its life: an upgrade that swaps programs, blocks replayed by the new one, a block rolled back, and a
//! new chain that continues with what the old one exported.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    governance::{agree, careledgerd},
    home::{Home, VALIDATORS, built, eventually, example, succeeded, target},
};

/// The newest format of the state.
const NEWEST: u64 = 5;
/// Blocks from the vote to the upgrade: enough for the vote itself.
const NOTICE_BLOCKS: u64 = 12;
/// The validator that is set up anew, and later rolled back.
const LAST: usize = VALIDATORS - 1;

/// A folder of programs that an operator can swap, laid out as cargo's target folder.
pub fn programs(folder: &Path) -> PathBuf {
    let programs = folder.join("programs");
    fs::create_dir_all(programs.join("debug")).unwrap();
    install(&programs, &built("careledgerd"));
    symlink(target().join("cometbft"), programs.join("cometbft")).unwrap();
    programs
}

/// Puts another program in the place of the ledger's daemon, at once, as a package manager does.
pub fn install(programs: &Path, program: &Path) {
    let place = programs.join("debug/careledgerd");
    let unfinished = place.with_extension("unfinished");
    fs::copy(program, &unfinished).unwrap();
    fs::rename(unfinished, place).unwrap();
}

fn node_home(home: &Home, index: usize) -> PathBuf {
    home.path().join(format!("v{index}/node"))
}

fn app_home(home: &Home, index: usize) -> PathBuf {
    home.path().join(format!("v{index}/app"))
}

/// The node program, on a validator's home.
fn node(home: &Home, index: usize, command: &str) -> String {
    let program = target().join("cometbft/careledger-node");
    succeeded(Command::new(program).args([command, "--home"]).arg(node_home(home, index)))
}

pub fn log(home: &Home, index: usize) -> String {
    fs::read_to_string(home.path().join(format!("logs/v{index}-app.log"))).unwrap_or_default()
}

/// Gives every validator of a network that is down this genesis, and nothing that it had before.
fn begin_with(home: &Home, genesis: &str) {
    for index in 0..VALIDATORS {
        node(home, index, "unsafe-reset-all");
        fs::write(node_home(home, index).join("config/genesis.json"), genesis).unwrap();
        for folder in ["state", "snapshots"] {
            let folder = app_home(home, index).join(folder);
            if folder.exists() {
                fs::remove_dir_all(folder).unwrap();
            }
        }
    }
}

fn app_hash(home: &Home, index: usize, height: u64) -> Value {
    home.rpc(index, "commit", &json!({"height": height.to_string()}))["signed_header"]["header"]["app_hash"].clone()
}

/// The headers of all heights up to `last`, as two validators have them.
fn assert_same_app_hashes(home: &Home, last: u64) {
    for height in 1..=last {
        assert_eq!(app_hash(home, LAST, height), app_hash(home, 0, height), "height {height}");
    }
}

/// A command about the keys of the network's client.
fn keys(home: &Home, words: &[&str]) -> Value {
    let client = home.path().join("client");
    let mut command = Command::new(built("careledgerd"));
    command.arg("keys").args(words).args(["--output", "json", "--home"]).arg(&client);
    let said = succeeded(command.arg("--passphrase-file").arg(client.join("passphrase")));
    serde_json::from_str(&said).unwrap()
}

/// An organization that logs accesses: what the upgrade migrates.
pub fn organization(home: &Home) -> String {
    let address = keys(home, &["add", "hospital"])["address"].as_str().unwrap().to_owned();
    let digest = "ab".repeat(32);
    for registrar in ["registrar-1", "registrar-2"] {
        let words =
            ["tx", "register-organization", "--from", registrar, "--kind", "provider", "--organization", &address];
        let rest = ["--expires-at", "2031-01-01", "--encryption-key", &digest, "--evidence", &digest];
        careledgerd(home, &[&words[..], &rest].concat());
    }
    address
}

pub fn anchor_log(home: &Home, batch: u64) {
    let (number, root) = (batch.to_string(), format!("{batch:064x}"));
    let words = ["tx", "anchor-access-log", "--from", "hospital", "--batch", &number, "--root", &root, "--count", "3"];
    careledgerd(home, &[&words[..], &["--period-start", "2026-01-01", "--period-end", "2026-01-01"]].concat());
}

/// A patient of the hospital, who claimed the subject.
fn subject(home: &Home, hospital: &str) -> String {
    keys(home, &["add", "patient"]);
    let shown = keys(home, &["show", "patient", "--derive", hospital]);
    let claimant = shown["address"].as_str().unwrap();
    let opened = careledgerd(home, &["tx", "open-subject", "--from", "hospital", "--claimant", claimant]);
    careledgerd(home, &["tx", "claim-subject", "--from", "patient", "--derive", hospital]);
    opened["subject"].as_str().unwrap().to_owned()
}

/// The patient lets the hospital see.
fn grant(home: &Home, hospital: &str, subject: &str) {
    let digest = "cd".repeat(32);
    let words = ["tx", "grant-consent", "--from", "patient", "--derive", hospital, "--subject", subject];
    let rest = ["--grantee", hospital, "--mode", "view", "--expires-at", "2031-01-01", "--terms", &digest];
    careledgerd(home, &[&words[..], &rest, &["--body", &digest]].concat());
}

/// Who may see, with proofs: how many grants, and whether it is proven that none is missing.
fn access(home: &Home, subject: &str, more: &[&str]) -> (usize, bool) {
    let shown = careledgerd(home, &[&["query", "access", subject, "--prove"], more].concat());
    assert_eq!(shown["subject"], subject);
    assert!(shown["proven"]["signed_by"].as_str().unwrap().contains("of 4 validators"), "{shown}");
    (shown["grants"].as_object().unwrap().len(), shown["complete"].as_bool().unwrap())
}

/// The network's state is of the second format; by vote, and without another program, it comes to the third, whose
/// subjects count. What was granted before is proven to be complete from then on, and earlier heights stay provable.
pub fn a_network_comes_to_count_by_vote_and_proves_who_may_see(home: &Home) {
    let hospital = keys(home, &["show", "hospital"])["address"].as_str().unwrap().to_owned();
    let subject = subject(home, &hospital);
    grant(home, &hospital, &subject);
    assert_eq!(careledgerd(home, &["query", "parameters"])["state_version"], 2);
    assert_eq!(access(home, &subject, &[]), (1, false), "nothing counts yet");
    let upgrade_height = home.height(0) + NOTICE_BLOCKS;
    agree(home, &["--upgrade", "3", "--at-height", &upgrade_height.to_string()]);
    let mut grants = 1;
    // Each makes a block, and is one more that the migration has to count.
    while home.height(0) + 4 < upgrade_height {
        grant(home, &hospital, &subject);
        grants += 1;
    }
    for index in 0..VALIDATORS {
        eventually("the upgrade never came", || home.reaches(index, upgrade_height + 1));
    }
    assert_eq!(careledgerd(home, &["query", "parameters"])["state_version"], 3);
    assert_eq!(access(home, &subject, &[]), (grants, true), "the migration counted what was there before");
    let before = (upgrade_height - 1).to_string();
    assert_eq!(access(home, &subject, &["--at-height", &before]), (grants, false), "as it was, and still provable");
    let at = upgrade_height.to_string();
    assert_eq!(access(home, &subject, &["--at-height", &at]), (grants, true), "from the upgrade's block on");
    grant(home, &hospital, &subject);
    assert_eq!(access(home, &subject, &[]), (grants + 1, true), "what is granted counts itself");
    eventually("all four never agreed", || home.succeeds(&["check"]));
}

/// By vote the network comes to the newest format, and what could be proven before still can.
pub fn a_network_comes_to_the_newest_format_by_vote(home: &Home) {
    (4..=NEWEST).for_each(|version| comes_to(home, version));
}

fn comes_to(home: &Home, version: u64) {
    let upgrade_height = home.height(0) + NOTICE_BLOCKS;
    agree(home, &["--upgrade", &version.to_string(), "--at-height", &upgrade_height.to_string()]);
    let before = (home.height(0) - 1).to_string();
    let made = |more: &[&str]| careledgerd(home, &[&["query", "parameters", "--prove"], more].concat());
    for index in 0..VALIDATORS {
        eventually("the upgrade never came", || home.reaches(index, upgrade_height + 1));
    }
    assert_eq!(made(&[])["state_version"], version);
    assert_eq!(made(&["--at-height", &before])["state_version"], version - 1, "as it was, and still provable");
    eventually("all four never agreed", || home.succeeds(&["check"]));
}

/// The old program runs until the upgrade, and stops; the new one in its place goes on with the migration.
pub fn an_upgrade_swaps_the_programs_of_a_running_network(home: &Home, programs: &Path) {
    home.run(&["up", "--no-build", "--gateways", "0", "--node", "careledger"]);
    home.run(&["down"]);
    let file = node_home(home, 0).join("config/genesis.json");
    let mut genesis: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(genesis["app_state"]["state_version"], NEWEST, "a new chain begins with the newest format");
    genesis["app_state"]["state_version"] = 1.into();
    begin_with(home, &genesis.to_string());
    install(programs, &example("careledgerd_of_format_1"));
    home.run(&["up", "--no-build", "--gateways", "0", "--node", "careledger"]);

    let hospital = organization(home);
    anchor_log(home, 1);
    anchor_log(home, 2);
    let upgrade_height = home.height(0) + NOTICE_BLOCKS;
    agree(home, &["--upgrade", "2", "--at-height", &upgrade_height.to_string()]);
    let (mut batch, due) = (2, format!("upgrade 2 is due at height {upgrade_height}"));
    while home.height(0) + 3 < upgrade_height {
        batch += 1;
        anchor_log(home, batch);
    }
    // Those that were asked to propose or to judge the block stopped; without them there is no quorum for it.
    eventually("the old programs never stopped for the upgrade", || {
        (0..VALIDATORS).filter(|index| log(home, *index).contains(&due)).count() > VALIDATORS / 3
    });
    assert!((0..VALIDATORS).all(|index| !home.reaches(index, upgrade_height)), "the block is the new program's");
    let tree = [b"access-log-tree/".as_slice(), &address_bytes(&hospital)].concat();
    install(programs, &built("careledgerd"));
    for index in 0..VALIDATORS {
        eventually("the new program never went on", || home.reaches(index, upgrade_height + 1));
        assert!(home.state(index, &tree).is_some(), "the migration made the tree of what was logged before");
    }
    anchor_log(home, batch + 1);
    let parameters = careledgerd(home, &["query", "parameters"]);
    assert_eq!(parameters["state_version"], 2);
    eventually("all four never agreed", || home.succeeds(&["check"]));
}

fn address_bytes(address: &str) -> [u8; 20] {
    *address.parse::<careledger_wire::ids::Address>().unwrap().as_bytes()
}

/// A node of the new program that has nothing gets every block from the others, those before the upgrade too.
pub fn a_node_that_is_new_replays_old_blocks_to_the_same_app_hashes(home: &Home) {
    home.run(&["kill", "--validator", &LAST.to_string()]);
    let before = home.height(0);
    let signed = node_home(home, LAST).join("data/priv_validator_state.json");
    let memory = fs::read(&signed).unwrap();
    node(home, LAST, "unsafe-reset-all");
    // What it signed, it must not sign again.
    fs::write(&signed, memory).unwrap();
    fs::remove_dir_all(app_home(home, LAST).join("state")).unwrap();
    home.run(&["revive", "--validator", &LAST.to_string()]);
    eventually("the new node never had every block", || home.reaches(LAST, before));
    let status = home.rpc(LAST, "status", &json!({}));
    assert_eq!(status["sync_info"]["earliest_block_height"], "1", "it executed each of them");
    assert_same_app_hashes(home, before);
}

/// CometBFT's rollback and the ledger's name the same height and app hash, and the block is executed again.
pub fn a_block_that_both_programs_roll_back_is_executed_again(home: &Home) {
    // Right after a heartbeat nothing happens for seconds: both have committed the same block.
    let seen = home.height(LAST);
    eventually("no block was made", || home.height(LAST) > seen);
    let before = home.height(LAST);
    home.run(&["kill", "--validator", &LAST.to_string()]);
    let app = app_home(home, LAST);
    let rollback = |words: &[&str]| -> Value {
        let mut command = Command::new(built("careledgerd"));
        command.args(["rollback", "--output", "json"]).args(words).arg("--home").arg(&app);
        serde_json::from_str(&succeeded(&mut command)).unwrap()
    };
    let planned = rollback(&[]);
    let said = node(home, LAST, "rollback");
    let undone = rollback(&["--yes"]);
    assert_eq!((&planned["app_hash"], undone["undone_block"].as_u64()), (&undone["app_hash"], Some(before)));
    assert!(said.contains(&format!("to height {} and", before - 1)), "{said}");
    let hash = undone["app_hash"].as_str().unwrap().to_uppercase();
    assert!(said.contains(&hash), "{said} names the app hash {hash}");
    home.run(&["revive", "--validator", &LAST.to_string()]);
    eventually("the node never came back", || home.reaches(LAST, before + 1));
    eventually("all four never agreed", || home.succeeds(&["check"]));
    assert_same_app_hashes(home, before + 1);
}

/// Four validators begin a new chain with what one of the old chain exported, and registrars and organizations go on.
pub fn a_new_chain_continues_with_an_export(home: &Home) {
    home.run(&["down"]);
    let (state, genesis) = (home.path().join("state.json"), home.path().join("next.json"));
    let exported = succeeded(Command::new(built("careledgerd")).args(["export", "--home"]).arg(app_home(home, 0)));
    let old: Value = serde_json::from_str(&exported).unwrap();
    fs::write(&state, exported).unwrap();
    let chain = "careledger-dev-next";
    let made = succeeded(
        Command::new(built("careledgerd"))
            .args(["genesis", "from-export", "--chain-id", chain, "--output", "json", "--out"])
            .args([&genesis, &state]),
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    let first = old["height"].as_u64().unwrap() + 1;
    assert_eq!((&made["initial_height"], &made["validators"]), (&first.into(), &VALIDATORS.into()));
    begin_with(home, &fs::read_to_string(&genesis).unwrap());
    home.run(&["up", "--no-build", "--gateways", "0", "--node", "careledger"]);
    for index in 0..VALIDATORS {
        let hash = app_hash(home, index, first);
        assert_eq!(hash.as_str().unwrap().to_lowercase(), made["app_hash"].as_str().unwrap());
    }
    let next = careledgerd(home, &["query", "parameters"]);
    assert_eq!(next["registrars"].as_array().unwrap().len(), 3);
    // What was trusted of the old chain says nothing of this one.
    let client = home.path().join("client");
    succeeded(Command::new(built("careledgerd")).args(["light", "forget", "--home"]).arg(client));
    // The same keys sign for it, with the sequences that they had.
    agree(home, &["--parameter", "evidence-age-blocks", "--value", "54321"]);
    eventually("all four never agreed", || home.succeeds(&["check"]));
    let kept = old["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|pair| pair[0].as_str().unwrap().starts_with(&hex::encode("access-log-tree/")));
    let kept = kept.expect("the organization logged");
    let value = home.state(0, &hex::decode(kept[0].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(hex::encode(value), kept[1].as_str().unwrap());
}
