//! Reading from outside: the paths of `abci_query`.
//!
//! | path | data | answer |
//! |---|---|---|
//! | `/store/careledger/key` | a key | the value, provable |
//! | `/store/careledger/subspace` | a prefix, or see [`continuation`] | `careledger.query.v1.Pairs` |
//! | `/careledger.query.v1.Query/Transaction` | a transaction's hash | `TransactionResult` |
//! | `/careledger.query.v1.Query/Path` | `PathRequest` | `PathResponse` |
//! | `/cosmos.auth.v1beta1.Query/Account` | `QueryAccountRequest` | `QueryAccountResponse` |
//! | `/cosmos.tx.v1beta1.Service/Simulate` | `SimulateRequest` | `SimulateResponse` |
//!
//! The last two are what an unmodified CosmJS client calls.

use careledger_wire::{
    ids::{Address, FieldBytes, TransactionHash},
    proto::{
        accounts::KeyKind,
        query::{Pairs, PathRequest, PathResponse, Tree, pairs::Pair},
        tx::{
            BaseAccount, GasInfo, QueryAccountRequest, QueryAccountResponse, Result as SimulationResult,
            SimulateRequest, SimulateResponse, TxMsgData,
        },
    },
    signing::PublicKey,
};
use careledger_zk::tree;
use prost::Message as _;
use prost_types::Any;

use crate::{
    actions::commitment_tree_node,
    keys::{self, TreeId},
    limits::QUERY_PAIRS_MAX,
    store::{Store, tree::PROOF_TYPE},
    types::{Outcome, ProofOperation, Prove, QueryAnswer},
};

/// Path of [`SimulateRequest`].
pub const SIMULATE: &str = "/cosmos.tx.v1beta1.Service/Simulate";
/// Path of [`QueryAccountRequest`].
pub const ACCOUNT: &str = "/cosmos.auth.v1beta1.Query/Account";
/// Path of one key.
pub const KEY: &str = "/store/careledger/key";
/// Path of everything below a prefix.
pub const SUBSPACE: &str = "/store/careledger/subspace";
/// Path of a transaction's outcome.
pub const TRANSACTION: &str = "/careledger.query.v1.Query/Transaction";
/// Path of [`PathRequest`].
pub const PATH: &str = "/careledger.query.v1.Query/Path";

/// Code of an answer that says that nothing is there, as in the Cosmos SDK.
pub const NOT_FOUND: u32 = 22;
/// Code of an answer that says that the height is not among those whose state can be proven.
pub const NOT_RETAINED: u32 = 26;

const BASE_ACCOUNT: &str = "/cosmos.auth.v1beta1.BaseAccount";

/// Why a query is not answered. The numbers are in docs/reject-codes.md.
enum Unanswered {
    UnknownPath,
    InvalidData(&'static str),
    NotFound(String),
    NotRetained { asked: u64, oldest: u64, newest: u64 },
}

impl Unanswered {
    fn code(&self) -> u32 {
        match self {
            Self::UnknownPath => 1,
            Self::InvalidData(_) => 2,
            Self::NotFound(_) => NOT_FOUND,
            Self::NotRetained { .. } => NOT_RETAINED,
        }
    }

    fn log(&self) -> String {
        match self {
            Self::UnknownPath => "the ledger does not answer this path".to_owned(),
            Self::InvalidData(expected) => format!("the data must be {expected}"),
            // CosmJS looks for this text to tell an unknown account from an error.
            Self::NotFound(what) => format!("rpc error: code = NotFound desc = {what} not found: key not found"),
            Self::NotRetained { asked, newest, .. } if asked > newest => {
                format!("height {asked} has not come: the newest is {newest}")
            }
            Self::NotRetained { asked, oldest, newest } => {
                format!("height {asked} is not retained by this node: {oldest} to {newest} are")
            }
        }
    }
}

/// Answers a query from committed state; `height` 0 stands for the latest.
pub fn answer(store: &impl Store, path: &str, data: &[u8], height: u64, prove: Prove) -> QueryAnswer {
    let latest = store.height();
    let answered = match path {
        KEY => key(store, data, height, prove),
        SUBSPACE => subspace(store, data).map(plain),
        TRANSACTION => transaction(store, data).map(plain),
        PATH => authentication_path(store, data).map(plain),
        ACCOUNT => account(store, data).map(plain),
        _ => Err(Unanswered::UnknownPath),
    };
    finish(answered, latest)
}

/// Answers a simulation; `simulate` tries the transaction.
pub fn simulated(data: &[u8], height: u64, simulate: impl Fn(&[u8]) -> Outcome) -> QueryAnswer {
    let Ok(request) = SimulateRequest::decode(data) else {
        return finish(Err(Unanswered::InvalidData("a SimulateRequest")), height);
    };
    let outcome = simulate(&request.tx_bytes);
    if outcome.code != 0 {
        return QueryAnswer { code: outcome.code, log: outcome.log, height: shown(height), ..QueryAnswer::default() };
    }
    let msg_responses = TxMsgData::decode(outcome.data.as_slice()).unwrap_or_default().msg_responses;
    let response = SimulateResponse {
        gas_info: Some(GasInfo { gas_wanted: outcome.gas_used, gas_used: outcome.gas_used }),
        result: Some(SimulationResult { data: outcome.data, log: String::new(), msg_responses }),
    };
    finish(Ok(plain(response.encode_to_vec())), height)
}

/// Data of a subspace query that continues after a key: two bytes of the prefix's length,
/// big-endian, the prefix, the key. It starts with a zero byte; a plain prefix starts with a letter.
pub fn continuation(prefix: &[u8], after: &[u8]) -> Vec<u8> {
    let length = u16::from(u8::try_from(prefix.len()).expect("prefixes are short"));
    [&length.to_be_bytes(), prefix, after].concat()
}

fn key(store: &impl Store, key: &[u8], height: u64, prove: Prove) -> Result<QueryAnswer, Unanswered> {
    if key.is_empty() {
        return Err(Unanswered::InvalidData("a key"));
    }
    let latest = store.height();
    let at = if height == 0 { latest } else { height };
    if prove == Prove::No && at == latest {
        let value = store.get_bytes(key).unwrap_or_default();
        return Ok(QueryAnswer { key: key.to_vec(), value, height: at, ..QueryAnswer::default() });
    }
    let outside = Unanswered::NotRetained { asked: at, oldest: store.oldest_height(), newest: latest };
    let proven = store.prove(key, at).ok_or(outside)?;
    let operation = ProofOperation { kind: PROOF_TYPE.to_owned(), key: key.to_vec(), data: proven.proof };
    Ok(QueryAnswer {
        key: key.to_vec(),
        value: proven.value.unwrap_or_default(),
        proof: (prove == Prove::Yes).then_some(operation),
        height: at,
        ..QueryAnswer::default()
    })
}

fn subspace(store: &impl Store, data: &[u8]) -> Result<Vec<u8>, Unanswered> {
    let invalid = || Unanswered::InvalidData("a prefix, or a continuation");
    let (prefix, after) = match data.first() {
        None => return Err(invalid()),
        Some(0) => {
            let (length, rest) = data.split_first_chunk().ok_or_else(invalid)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (prefix, after) = rest.split_at_checked(length).ok_or_else(invalid)?;
            (prefix, Some(after))
        }
        Some(_) => (data, None),
    };
    let pairs = store.scan(prefix, after, QUERY_PAIRS_MAX + 1);
    let has_more = pairs.len() > QUERY_PAIRS_MAX;
    let pairs: Vec<Pair> = pairs.into_iter().take(QUERY_PAIRS_MAX).map(|(key, value)| Pair { key, value }).collect();
    let next = pairs.last().filter(|_| has_more).map(|last| last.key.clone()).unwrap_or_default();
    Ok(Pairs { pairs, next }.encode_to_vec())
}

fn transaction(store: &impl Store, data: &[u8]) -> Result<Vec<u8>, Unanswered> {
    let hash = TransactionHash::try_from(data).map_err(|_| Unanswered::InvalidData("a transaction hash, 32 bytes"))?;
    let result = store.result(&hash).ok_or_else(|| Unanswered::NotFound(format!("transaction {hash}")))?;
    Ok(result.encode_to_vec())
}

fn authentication_path(store: &impl Store, data: &[u8]) -> Result<Vec<u8>, Unanswered> {
    let invalid = || Unanswered::InvalidData("a PathRequest");
    let request = PathRequest::decode(data).map_err(|_| invalid())?;
    let commitment = FieldBytes::try_from(request.commitment.as_slice()).map_err(|_| invalid())?;
    let id = match (request.tree(), request.insurer.as_slice()) {
        (Tree::Attestations, []) => TreeId::Attestations,
        (Tree::Enrolments, insurer) => TreeId::Enrolments(Address::try_from(insurer).map_err(|_| invalid())?),
        _ => return Err(invalid()),
    };
    // Nothing can be proven of a revoked one.
    let leaf = store.get(&id.leaf(&commitment)).filter(|leaf| leaf.revoked_height == 0);
    let leaf = leaf.ok_or_else(|| Unanswered::NotFound("commitment".to_owned()))?;
    let read = |level, index| commitment_tree_node(&id, level, index, store);
    let path = tree::path(leaf.index, read);
    let siblings = path.siblings.iter().flatten().map(|sibling| sibling.to_bytes().to_vec()).collect();
    let root = tree::root(read).to_bytes().to_vec();
    Ok(PathResponse { index: path.index, siblings, root }.encode_to_vec())
}

fn account(store: &impl Store, data: &[u8]) -> Result<Vec<u8>, Unanswered> {
    let request = QueryAccountRequest::decode(data).map_err(|_| Unanswered::InvalidData("a QueryAccountRequest"))?;
    let address: Address = request.address.parse().map_err(|_| Unanswered::InvalidData("a care1 address"))?;
    let account = store.get(&keys::account(&address));
    let account = account.ok_or_else(|| Unanswered::NotFound(format!("account {address}")))?;
    let public_key = PublicKey::new(KeyKind::Secp256k1, &account.public_key).map(|key| key.to_any());
    let base = BaseAccount {
        address: request.address,
        pub_key: public_key,
        account_number: account.number,
        sequence: account.sequence,
    };
    let any = Any { type_url: BASE_ACCOUNT.to_owned(), value: base.encode_to_vec() };
    Ok(QueryAccountResponse { account: Some(any) }.encode_to_vec())
}

fn plain(value: Vec<u8>) -> QueryAnswer {
    QueryAnswer { value, ..QueryAnswer::default() }
}

fn finish(answered: Result<QueryAnswer, Unanswered>, latest: u64) -> QueryAnswer {
    let mut answer = answered.unwrap_or_else(|unanswered| QueryAnswer {
        code: unanswered.code(),
        log: unanswered.log(),
        ..QueryAnswer::default()
    });
    if answer.height == 0 {
        answer.height = shown(latest);
    }
    answer
}

/// Cosmos clients take height 0 for a failure.
fn shown(height: u64) -> u64 {
    height.max(1)
}
