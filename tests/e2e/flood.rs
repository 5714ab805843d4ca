//! One account floods the network; what another sends meanwhile is not delayed by more than two blocks.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_wire::{
    commitment,
    ids::Address,
    proto::{
        records::{Anchor, MsgAnchorRecords},
        state::Account,
    },
    transaction::{self, Replay, Unsigned},
};
use prost::Message as _;
use secp256k1::{PublicKey, SecretKey, ecdsa};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::home::{Home, POLL, built, eventually, succeeded};

/// Records in a transaction of the flood: about 70 KB.
const FLOOD_RECORDS: u64 = 1_000;
/// Transactions that another account sends meanwhile.
const OTHERS: u64 = 10;
/// Blocks after which a transaction is in one where nobody floods: the next may be proposed already.
const BLOCKS_UNDISTURBED: u64 = 2;
/// Blocks by which a flood may delay it.
const BLOCKS_DELAYED_MAX: u64 = 2;
/// `TooManyWaiting`: the flood reached its bound.
const TOO_MANY_WAITING: u64 = 115;
/// `QuotaUsed`: on a quick network one account has no bytes left before the test ends.
const QUOTA_USED: u64 = 114;
/// Accounts that flood, the next where the quota of one is used up: the flood goes on until the end.
const FLOODERS: [&str; 4] = ["flooder-1", "flooder-2", "flooder-3", "flooder-4"];

/// An organization whose key this test has.
struct Organization {
    secret: SecretKey,
    address: Address,
    number: u64,
}

impl Organization {
    /// Registered by two registrars, as operators would: with one content, to the second.
    fn registered(home: &Home, name: &str) -> Self {
        let secret =
            SecretKey::from_secret_bytes(commitment::hash("careledger/test-key/1", &[name.as_bytes()])).unwrap();
        let address = Address::of_key(&PublicKey::from_secret_key(&secret).serialize());
        let client = home.path().join("client");
        for registrar in ["registrar-1", "registrar-2"] {
            succeeded(
                Command::new(built("careledgerd"))
                    .args(["tx", "register-organization", "--from", registrar, "--kind", "provider"])
                    .args(["--organization", &address.to_string(), "--expires-at", "2031-01-01"])
                    .args(["--encryption-key", &hex::encode([9; 32]), "--evidence", &hex::encode([1; 32])])
                    .args(["--node", &home.variable("CARELEDGER_RPC_0"), "--home"])
                    .arg(&client)
                    .arg("--passphrase-file")
                    .arg(client.join("passphrase")),
            );
        }
        let account = home.state(0, &[b"account/".as_slice(), address.as_bytes()].concat()).unwrap();
        let number = Account::decode(account.as_slice()).unwrap().number;
        Self { secret, address, number }
    }

    /// An unordered transaction that anchors `count` records, which nothing else anchors.
    fn anchor(&self, chain_id: &str, transaction: u64, count: u64) -> Vec<u8> {
        let id = |index: u64| [transaction.to_be_bytes(), index.to_be_bytes(), [0; 8], [1; 8]].concat();
        let anchors = (0..count).map(|index| Anchor { record: id(index), commitment: vec![7; 32] }).collect();
        let message = MsgAnchorRecords { sender: self.address.to_string(), anchors };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let replay = Replay::UntilTime(i64::try_from(now).unwrap() + 300);
        let key = PublicKey::from_secret_key(&self.secret).serialize();
        let unsigned = Unsigned::new(&[message.into()], &key, chain_id, self.number, replay);
        let digest: [u8; 32] = Sha256::digest(unsigned.sign_bytes()).into();
        let signature = ecdsa::sign(secp256k1::Message::from_digest(digest), &self.secret);
        unsigned.signed(signature.serialize_compact())
    }
}

/// The code of CheckTx at validator `index`.
fn broadcast(home: &Home, index: usize, transaction: &[u8]) -> u64 {
    let answer = home.rpc(index, "broadcast_tx_sync", &json!({"tx": BASE64_STANDARD.encode(transaction)}));
    answer["code"].as_u64().unwrap()
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn delays_others_by_two_blocks_at_most(home: &Home) {
    let chain_id = home.variable("CARELEDGER_CHAIN_ID");
    let flooders = FLOODERS.map(|name| Organization::registered(home, name));
    let other = Organization::registered(home, "other");
    let (stop, taken, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        // However this ends, the flood ends too.
        let _stopped = StopWhenDropped(&stop);
        scope.spawn(|| {
            let mut waiting = flooders.iter();
            let mut flooder = waiting.next().expect("there are some");
            let mut number = 0;
            let mut transaction = flooder.anchor(&chain_id, number, FLOOD_RECORDS);
            while !stop.load(Ordering::Relaxed) {
                match broadcast(home, 0, &transaction) {
                    0 => {
                        number += 1;
                        transaction = flooder.anchor(&chain_id, number, FLOOD_RECORDS);
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    QUOTA_USED => {
                        flooder = waiting.next().expect("the quotas of all are enough for the test");
                        transaction = flooder.anchor(&chain_id, number, FLOOD_RECORDS);
                    }
                    TOO_MANY_WAITING => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(POLL);
                    }
                    code => panic!("the flood was refused with code {code}"),
                }
            }
        });
        for number in 0..OTHERS {
            let bound = refused.load(Ordering::Relaxed);
            eventually("the flood never reached its bound", || refused.load(Ordering::Relaxed) > bound);
            let transaction = other.anchor(&chain_id, number, 1);
            assert_eq!(broadcast(home, 1, &transaction), 0);
            let sent = home.height(1);
            let included = height_of(home, &transaction);
            assert!(
                included <= sent + BLOCKS_UNDISTURBED + BLOCKS_DELAYED_MAX,
                "sent at height {sent}, in a block at {included}"
            );
        }
    });
    assert!(taken.load(Ordering::Relaxed) > 50, "that was a flood: {taken:?}");
}

/// Waits for a transaction's block at validator 1, which indexes.
fn height_of(home: &Home, bytes: &[u8]) -> u64 {
    let query = format!("tx.hash='{}'", transaction::hash(bytes).to_string().to_uppercase());
    let search = || home.rpc(1, "tx_search", &json!({"query": query, "prove": false}));
    let mut found = Value::Null;
    eventually("the transaction was never in a block", || {
        found = search()["txs"].get(0).cloned().unwrap_or_default();
        !found.is_null()
    });
    assert_eq!(found["tx_result"]["code"], 0);
    found["height"].as_str().unwrap().parse().unwrap()
}
