//! Transactions: handed to a node, and what became of them.

use std::time::{Duration, Instant};

use careledger_wire::{ids::TransactionHash, proto::query::TransactionResult, transaction};
use prost::Message as _;
use tendermint_rpc::Client as _;

use super::{Client, ClientError, POLL_FIRST, POLL_LONGEST};
use crate::{query::TRANSACTION, reject::Reject};

impl Client {
    /// Hands a signed transaction to the node and waits for its block, at most `deadline`. A result whose code
    /// is not 0 is a refusal that stands in the block: it is returned, not an error.
    ///
    /// # Errors
    /// [`ClientError::Refused`] also for one that the node accepted and that no block takes any more, such as
    /// the second use of a nullifier: a node forgets it after the block and tells who asks again, as is done
    /// half-way here.
    pub async fn deliver(&self, transaction: &[u8], deadline: Duration) -> Result<TransactionResult, ClientError> {
        let hash = transaction::hash(transaction);
        self.hand_over(transaction, &hash).await?;
        match self.wait(&hash, deadline / 2).await {
            Err(ClientError::NotCommitted(_)) => {}
            answered => return answered,
        }
        match self.hand_over(transaction, &hash).await {
            // It can wait at this node no more, and still be in a block.
            Ok(_) | Err(ClientError::Busy) => self.wait(&hash, deadline / 2).await,
            Err(refused) => Err(refused),
        }
    }

    /// Hands it to the node. What is refused may be refused because it took effect: then nothing is wrong.
    async fn hand_over(&self, transaction: &[u8], hash: &TransactionHash) -> Result<(), ClientError> {
        match self.broadcast(transaction).await {
            Err(refused @ ClientError::Refused { .. }) => {
                if self.result(hash).await?.is_some() {
                    Ok(())
                } else {
                    Err(refused)
                }
            }
            accepted => accepted.map(|_| ()),
        }
    }

    /// Hands a signed transaction to the node and returns its hash once the node accepted it for
    /// a later block. Sending the same bytes again is safe and gives the same hash.
    pub async fn broadcast(&self, transaction: &[u8]) -> Result<TransactionHash, ClientError> {
        let hash = transaction::hash(transaction);
        match self.call(|| self.rpc.broadcast_tx_sync(transaction)).await {
            Ok(answer) if answer.code.is_ok() => Ok(hash),
            Ok(answer) if answer.code.value() == Reject::TooManyWaiting.code() => Err(ClientError::Busy),
            Ok(answer) => Err(ClientError::Refused { code: answer.code.value(), log: answer.log }),
            Err(error) => {
                let reason = error.to_string();
                if reason.contains("tx already exists in cache") {
                    Ok(hash)
                } else if reason.contains("mempool is full") {
                    Err(ClientError::Busy)
                } else {
                    Err(self.unreachable(&error))
                }
            }
        }
    }

    /// What became of a transaction; `None` while it is in no block, or long after.
    pub async fn result(&self, hash: &TransactionHash) -> Result<Option<TransactionResult>, ClientError> {
        let answer = self.find(TRANSACTION, hash.to_vec()).await?.filter(|answer| !answer.value.is_empty());
        let Some(answer) = answer else { return Ok(None) };
        let read = TransactionResult::decode(answer.value.as_slice());
        read.map(Some).map_err(|_| ClientError::Answer(TRANSACTION))
    }

    /// Waits until the transaction is in a block, at most `deadline`. A result whose code is not 0
    /// is a refusal that stands in the block: it is returned, not an error.
    pub async fn wait(&self, hash: &TransactionHash, deadline: Duration) -> Result<TransactionResult, ClientError> {
        let until = Instant::now() + deadline;
        let mut pause = POLL_FIRST;
        loop {
            if let Some(result) = self.result(hash).await? {
                return Ok(result);
            }
            if Instant::now() >= until {
                return Err(ClientError::NotCommitted(*hash));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde_json::{Value, json};

    use super::*;

    /// One HTTP request's body; `None` where the connection ends instead.
    fn request(stream: &TcpStream) -> Option<Value> {
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).expect("the test's connection") > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a whole body");
        serde_json::from_slice(&body).ok()
    }

    /// A node that answers the first broadcast with 0 and the next one with `second`, and knows the result from
    /// then on if there is one. Gives how often something was broadcast.
    fn node(listener: &TcpListener, second: u32, result: Option<&TransactionResult>) -> usize {
        let mut broadcasts = 0;
        loop {
            let (mut stream, _) = listener.accept().expect("a connection");
            let Some(asked) = request(&stream) else { return broadcasts };
            let answer = if asked["method"] == "broadcast_tx_sync" {
                broadcasts += 1;
                let code = if broadcasts == 1 { 0 } else { second };
                json!({"code": code, "data": "", "log": "", "codespace": "", "hash": "AB".repeat(32)})
            } else {
                let known = result.filter(|_| broadcasts > 1).map(TransactionResult::encode_to_vec);
                let value = BASE64_STANDARD.encode(known.unwrap_or_default());
                json!({"response": {"code": 0, "log": "", "info": "", "index": "0", "key": "", "value": value,
                    "proofOps": null, "height": "7", "codespace": ""}})
            };
            let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer}).to_string();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n{body}"
            )
            .expect("an open connection");
        }
    }

    /// A node forgets the loser of two racing proofs after the block; who waited for it hung until the
    /// deadline, and was not told why.
    #[tokio::test]
    async fn who_waits_for_what_no_block_takes_any_more_is_told_why() {
        let done = TransactionResult { height: 7, code: 0, log: String::new(), time: 5 };
        let used = Reject::EventAlreadyClaimed.code();
        let cases = [
            ("forgotten", used, None, Err(used)),
            ("in a block meanwhile", Reject::AlreadyExecuted.code(), Some(&done), Ok(7)),
            ("still waiting", 0, Some(&done), Ok(7)),
        ];
        for (name, second, result, expected) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("an address");
            let client = Client::new(&format!("http://{address}")).expect("an address");
            let result = result.cloned();
            let node = std::thread::spawn(move || node(&listener, second, result.as_ref()));
            let delivered = client.deliver(b"a transaction", Duration::from_secs(1)).await;
            let delivered = match delivered {
                Ok(result) => Ok(result.height),
                Err(ClientError::Refused { code, .. }) => Err(code),
                Err(other) => panic!("{name}: {other}"),
            };
            assert_eq!(delivered, expected, "{name}");
            drop(TcpStream::connect(address).expect("the node listens"));
            assert_eq!(node.join().expect("the node's side"), 2, "{name}");
        }
    }
}
