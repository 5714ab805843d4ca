//! What a wallet or a gateway asks of a running ledger, over CometBFT's JSON-RPC.
//!
//! The same calls are answered by a CometBFT 0.38 node and by a gateway with an embedded ledger.
//! Nothing that a node answers is believed by [`Client::get_proven`] beyond the header it names:
//! the value follows from it by an ICS23 proof. [`crate::light`] says who signed that header.

mod delivery;
mod listing;

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use listing::LISTED_BYTES_MAX;

use careledger_wire::{
    ids::{Address, TransactionHash},
    proto::{
        query::{Pairs, PathRequest, PathResponse},
        tx::{BaseAccount, QueryAccountRequest, QueryAccountResponse, SimulateRequest, SimulateResponse},
    },
};
use prost::Message as _;
use tendermint::block::Height;
use tendermint_rpc::{
    Client as _, HttpClient, client::CompatMode, endpoint::abci_query::AbciQuery, error::ErrorDetail,
};

use crate::{
    query::{ACCOUNT, KEY, NOT_FOUND, PATH, SIMULATE, SUBSPACE, continuation},
    store::tree,
};

/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// First pause between two questions for a transaction's result; it doubles up to the longest.
const POLL_FIRST: Duration = Duration::from_millis(10);
/// Longest pause between two questions for the same thing.
const POLL_LONGEST: Duration = Duration::from_millis(200);
/// Longest time to wait for the header that seals a proof.
const HEADER_DEADLINE: Duration = Duration::from_secs(15);

/// Why a call did not give what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one of a JSON-RPC server.
    #[error("`{0}` is not the address of a ledger's RPC: expected http://HOST:PORT")]
    Address(String),
    /// No answer, or one that is no answer to the question.
    #[error("the ledger at {url} does not answer: {reason}")]
    Unreachable {
        /// Address that was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The node holds as many waiting transactions as it may. Trying again later is safe.
    #[error("the ledger has too many waiting transactions; send it again later")]
    Busy,
    /// The ledger refused the transaction before any block. docs/reject-codes.md lists the codes.
    #[error("refused with code {code}: {log}")]
    Refused {
        /// Reject code.
        code: u32,
        /// The refusal in words.
        log: String,
    },
    /// The ledger refused the question.
    #[error("the query was refused with code {code}: {log}")]
    Query {
        /// Code of the refusal.
        code: u32,
        /// The refusal in words.
        log: String,
    },
    /// Not in a block before the deadline. It may still be: ask for its hash again.
    #[error("transaction {0} was not in a block before the deadline; it may still be committed")]
    NotCommitted(TransactionHash),
    /// The answer does not decode.
    #[error("the answer to {0} cannot be read")]
    Answer(&'static str),
    /// The proof does not show what the node says.
    #[error("the answer is not proven: {0}")]
    Proof(#[from] tree::ProofError),
    /// The answer is of another height than was asked for, or of one before what it proved already:
    /// an old state would show what was revoked since.
    #[error("the ledger answered from height {answered} where {expected} was expected")]
    Height {
        /// Height that was asked for, or the latest that was proven before.
        expected: u64,
        /// Height of the answer.
        answered: u64,
    },
    /// A list has more bytes than its reader takes.
    #[error("the list that the ledger at {url} gives has more than {bytes_max} bytes, and was not read to its end")]
    TooLong {
        /// Address that was asked.
        url: String,
        /// Bytes of keys and values that are taken of it.
        bytes_max: usize,
    },
    /// The header that would seal the proof did not appear before the deadline.
    #[error("no header seals the state of height {0} yet")]
    NoHeader(u64),
}

/// What signing an ordered transaction needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Number of the account, part of the sign bytes.
    pub number: u64,
    /// Sequence that its next ordered transaction carries.
    pub sequence: u64,
}

/// A value, or its absence, that follows from a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The value; `None` where the state has no such key.
    pub value: Option<Vec<u8>>,
    /// Height of the state.
    pub height: u64,
    /// Root of that state.
    pub app_hash: [u8; 32],
    /// Height of the header that carries the root.
    pub header_height: u64,
    /// Time of that header, Unix seconds.
    pub header_time: i64,
}

/// A connection to one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) rpc: HttpClient,
    url: String,
    /// Highest state height that was proven, by this client and its clones.
    proven: Arc<AtomicU64>,
}

impl Client {
    /// Prepares calls to the JSON-RPC server at `url` (`http://HOST:PORT`); none is made yet.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let address = tendermint_rpc::HttpClientUrl::from_str(url);
        let address = address.map_err(|_| ClientError::Address(url.to_owned()))?;
        let rpc = HttpClient::builder(address).compat_mode(CompatMode::V0_38).timeout(CALL_TIMEOUT).build();
        let rpc = rpc.map_err(|_| ClientError::Address(url.to_owned()))?;
        Ok(Self { rpc, url: url.to_owned(), proven: Arc::default() })
    }

    /// Address that is asked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The chain's id.
    pub async fn chain_id(&self) -> Result<String, ClientError> {
        let status = self.call(|| self.rpc.status()).await.map_err(|error| self.unreachable(&error))?;
        Ok(status.node_info.network.to_string())
    }

    /// Height of the newest block.
    pub async fn height(&self) -> Result<u64, ClientError> {
        let status = self.call(|| self.rpc.status()).await.map_err(|error| self.unreachable(&error))?;
        Ok(status.sync_info.latest_block_height.value())
    }

    /// Number and sequence of an account; `None` where it has no role and cannot send anything.
    pub async fn account(&self, address: &Address) -> Result<Option<Account>, ClientError> {
        let request = QueryAccountRequest { address: address.to_string() }.encode_to_vec();
        let Some(answer) = self.find(ACCOUNT, request).await? else { return Ok(None) };
        let unread = |_| ClientError::Answer(ACCOUNT);
        let response = QueryAccountResponse::decode(answer.value.as_slice()).map_err(unread)?;
        let any = response.account.ok_or(ClientError::Answer(ACCOUNT))?;
        let account = BaseAccount::decode(any.value.as_slice()).map_err(unread)?;
        Ok(Some(Account { number: account.account_number, sequence: account.sequence }))
    }

    /// The value under a key of the newest state, on the node's word alone.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        let answer = self.find(KEY, key.to_vec()).await?;
        Ok(answer.map(|answer| answer.value).filter(|value| !value.is_empty()))
    }

    /// The value under a key, or its absence, proven against a header's app hash. `height` is the
    /// state's height; `None` for the newest that a header seals, which is never older than what this
    /// client proved before.
    pub async fn get_proven(&self, key: &[u8], height: Option<u64>) -> Result<Proven, ClientError> {
        let known = self.proven.load(Ordering::Acquire);
        let asked = height.map(height_of).transpose()?;
        let answer = self.call(|| self.rpc.abci_query(Some(KEY.to_owned()), key, asked, true)).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.code.is_err() {
            return Err(ClientError::Query { code: answer.code.value(), log: answer.log });
        }
        let operation = answer.proof.as_ref().and_then(|proof| proof.ops.first());
        let operation = operation.ok_or(ClientError::Proof(tree::ProofError::Malformed))?;
        let state_height = answer.height.value();
        check_height(height, known, state_height)?;
        let value = (!answer.value.is_empty()).then_some(answer.value);
        let seals = |root: &[u8; 32]| tree::verify(root, key, value.as_deref(), &operation.data);
        // A root that did not change stands in the header of the same height already, which seals
        // the state of the height before.
        let sealed = match height {
            None => self.header(state_height).await?.filter(|header| seals(&header.app_hash).is_ok()),
            Some(_) => None,
        };
        let header = match sealed {
            Some(header) => header,
            None => self.wait_for_header(state_height + 1).await?,
        };
        seals(&header.app_hash)?;
        let proven = header.proven(value);
        check_height(height, known, proven.height)?;
        self.proven.fetch_max(proven.height, Ordering::AcqRel);
        Ok(proven)
    }

    /// The pairs whose keys start with `prefix` and are greater than `after`, in key order, and
    /// where to go on; `None` when this was all. On the node's word.
    pub async fn pairs(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>), ClientError> {
        let data = match after {
            None => prefix.to_vec(),
            Some(after) => continuation(prefix, after),
        };
        let answer = self.query(SUBSPACE, data).await?;
        let pairs = Pairs::decode(answer.value.as_slice()).map_err(|_| ClientError::Answer(SUBSPACE))?;
        let next = (!pairs.next.is_empty()).then_some(pairs.next);
        Ok((pairs.pairs.into_iter().map(|pair| (pair.key, pair.value)).collect(), next))
    }

    /// The authentication path of a commitment; `None` where it was never anchored.
    pub async fn path(&self, request: &PathRequest) -> Result<Option<PathResponse>, ClientError> {
        let Some(answer) = self.find(PATH, request.encode_to_vec()).await? else { return Ok(None) };
        PathResponse::decode(answer.value.as_slice()).map(Some).map_err(|_| ClientError::Answer(PATH))
    }

    /// What the ledger would say to a transaction now; its signature may be missing.
    pub async fn simulate(&self, transaction: &[u8]) -> Result<SimulateResponse, ClientError> {
        let request = SimulateRequest { tx_bytes: transaction.to_vec() }.encode_to_vec();
        let answer = self.query(SIMULATE, request).await?;
        SimulateResponse::decode(answer.value.as_slice()).map_err(|_| ClientError::Answer(SIMULATE))
    }

    /// One query of the newest state. A refusal is [`ClientError::Query`].
    pub async fn query(&self, path: &str, data: Vec<u8>) -> Result<AbciQuery, ClientError> {
        let answer = self.call(|| self.rpc.abci_query(Some(path.to_owned()), data.as_slice(), None, false)).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.code.is_err() {
            return Err(ClientError::Query { code: answer.code.value(), log: answer.log });
        }
        Ok(answer)
    }

    /// As [`Client::query`]; `None` where the ledger says that nothing is there.
    async fn find(&self, path: &str, data: Vec<u8>) -> Result<Option<AbciQuery>, ClientError> {
        match self.query(path, data).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ClientError::Query { code: NOT_FOUND, .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn wait_for_header(&self, height: u64) -> Result<Header, ClientError> {
        let until = Instant::now() + HEADER_DEADLINE;
        let mut pause = POLL_FIRST;
        loop {
            if let Some(header) = self.header(height).await? {
                return Ok(header);
            }
            if Instant::now() >= until {
                return Err(ClientError::NoHeader(height - 1));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LONGEST);
        }
    }

    /// The header of a height; `None` where the chain is not that long yet.
    pub(crate) async fn header(&self, height: u64) -> Result<Option<Header>, ClientError> {
        if self.height().await? < height {
            return Ok(None);
        }
        let height_asked = height_of(height)?;
        let answer = self.call(|| self.rpc.header(height_asked)).await.map_err(|error| self.unreachable(&error))?;
        let app_hash = answer.header.app_hash.as_bytes().try_into();
        Ok(Some(Header {
            height,
            app_hash: app_hash.map_err(|_| ClientError::Answer("/header"))?,
            time: answer.header.time.unix_timestamp(),
        }))
    }

    /// Calls once more where the connection failed at once: a node may close one that was idle just
    /// as it is used again. Every call here may be repeated; what is broadcast twice is one
    /// transaction.
    pub(crate) async fn call<T, F>(&self, call: impl Fn() -> F) -> Result<T, tendermint_rpc::Error>
    where
        F: Future<Output = Result<T, tendermint_rpc::Error>>,
    {
        let started = Instant::now();
        match call().await {
            Err(error) if is_broken(&error) && started.elapsed() < CALL_TIMEOUT / 2 => call().await,
            answer => answer,
        }
    }

    pub(crate) fn unreachable(&self, error: &tendermint_rpc::Error) -> ClientError {
        // The detail alone says no more than "HTTP error"; its sources say which.
        let detail = error.detail();
        let mut reason = detail.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        ClientError::Unreachable { url: self.url.clone(), reason }
    }
}

/// Whether no answer came at all.
fn is_broken(error: &tendermint_rpc::Error) -> bool {
    matches!(error.detail(), ErrorDetail::Http(_))
}

/// The part of a block's header that seals the state of the height before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    height: u64,
    app_hash: [u8; 32],
    pub(crate) time: i64,
}

impl Header {
    fn proven(&self, value: Option<Vec<u8>>) -> Proven {
        let height = self.height.saturating_sub(1);
        let Self { height: header_height, app_hash, time: header_time } = *self;
        Proven { value, height, app_hash, header_height, header_time }
    }
}

/// Refuses an answer of another height than `asked`; where none was, one before `known`.
fn check_height(asked: Option<u64>, known: u64, answered: u64) -> Result<(), ClientError> {
    let expected = asked.unwrap_or(known);
    let is_right = if asked.is_some() { answered == expected } else { answered >= expected };
    if is_right { Ok(()) } else { Err(ClientError::Height { expected, answered }) }
}

pub(crate) fn height_of(height: u64) -> Result<Height, ClientError> {
    Height::try_from(height).map_err(|_| ClientError::NoHeader(height))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Reads one HTTP request; whether there was one.
    fn read_request(reader: &mut BufReader<TcpStream>) -> bool {
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).expect("the test's connection") > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        reader.read_exact(&mut vec![0; length]).expect("a whole body");
        length > 0
    }

    /// The node's side of a connection that was idle for too long: the next request meets its end.
    #[tokio::test]
    async fn a_connection_that_the_node_closed_is_opened_again() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let node = std::thread::spawn(move || {
            let answer = r#"{"jsonrpc":"2.0","id":-1,"result":{"response":{"code":0,"log":"","info":"","index":"0","key":"","value":"AQ==","proofOps":null,"height":"7","codespace":""}}}"#;
            let mut served = 0;
            for answered in [1, 1] {
                let (stream, _) = listener.accept().expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                let mut stream = stream;
                for _ in 0..answered {
                    assert!(read_request(&mut reader));
                    let length = answer.len();
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}"
                    )
                    .expect("an open connection");
                    served += 1;
                }
                // The first connection takes one more request and ends instead of answering.
                if served == 1 {
                    assert!(read_request(&mut reader));
                }
            }
            served
        });
        let client = Client::new(&url).expect("an address");
        for _ in 0..2 {
            assert_eq!(client.get(b"k").await.expect("an answer"), Some(vec![1]));
        }
        assert_eq!(node.join().expect("the node's side"), 2);
    }

    #[test]
    fn an_answer_of_another_height_or_of_an_older_state_is_refused() {
        let cases = [
            (Some(5), 0, 5, true),
            (Some(5), 9, 5, true),
            (Some(5), 0, 4, false),
            (Some(5), 0, 6, false),
            (None, 0, 0, true),
            (None, 5, 4, false),
            (None, 5, 5, true),
            (None, 5, 6, true),
        ];
        for (asked, known, answered, is_right) in cases {
            let checked = check_height(asked, known, answered);
            assert_eq!(checked.is_ok(), is_right, "asked {asked:?}, known {known}, answered {answered}");
        }
    }

    #[test]
    fn a_header_proves_the_state_of_the_height_before() {
        let header = Header { height: 8, app_hash: [3; 32], time: 5 };
        let proven = header.proven(None);
        assert_eq!((proven.height, proven.header_height, proven.app_hash), (7, 8, [3; 32]));
    }
}
