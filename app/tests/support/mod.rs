//! What the tests of the node share: a CometBFT that speaks ABCI, and transactions to send.

#![expect(dead_code, reason = "each test uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as they do")]

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use careledger_app::{
    genesis::Genesis,
    wallet::{Role, Signer, Wallet},
};
use careledger_wire::{
    message::Message,
    proto::{identity, records},
    transaction::{Replay, Unsigned},
};
use careledger_zk::key::VerifyingKey;
use prost::Message as _;
use tendermint_proto::{
    google::protobuf::Timestamp,
    v0_38::abci::{
        Request, RequestCommit, RequestFinalizeBlock, RequestFlush, RequestInfo, RequestInitChain, Response,
        ResponseFinalizeBlock, ResponseInfo, ResponseInitChain, request, response,
    },
};

pub const CHAIN: &str = "careledger-dev-test";
pub const GENESIS_TIME: i64 = 1_800_000_000;

/// One of CometBFT's connections.
pub struct Abci<S> {
    stream: S,
}

impl<S: Read + Write> Abci<S> {
    pub fn new(stream: S) -> Self {
        Self { stream }
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    pub fn send(&mut self, value: request::Value) -> io::Result<()> {
        self.stream.write_all(&Request { value: Some(value) }.encode_length_delimited_to_vec())
    }

    pub fn receive(&mut self) -> io::Result<response::Value> {
        let mut length = 0u64;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame)?;
        Ok(Response::decode(frame.as_slice()).unwrap().value.unwrap())
    }

    /// Asks as CometBFT does: the request, then a flush.
    pub fn ask(&mut self, value: request::Value) -> io::Result<response::Value> {
        self.send(value)?;
        self.send(request::Value::Flush(RequestFlush {}))?;
        let answer = self.receive()?;
        assert!(matches!(self.receive()?, response::Value::Flush(_)));
        Ok(answer)
    }

    pub fn info(&mut self) -> io::Result<ResponseInfo> {
        match self.ask(request::Value::Info(RequestInfo::default()))? {
            response::Value::Info(info) => Ok(info),
            other => panic!("expected Info, found {other:?}"),
        }
    }

    pub fn init_chain(&mut self) -> io::Result<ResponseInitChain> {
        match self.ask(request::Value::InitChain(init_chain()))? {
            response::Value::InitChain(answer) => Ok(answer),
            other => panic!("expected InitChain, found {other:?}"),
        }
    }

    pub fn finalize(&mut self, height: u64, transactions: &[Vec<u8>]) -> io::Result<ResponseFinalizeBlock> {
        match self.ask(finalize_request(height, transactions))? {
            response::Value::FinalizeBlock(answer) => Ok(answer),
            other => panic!("expected FinalizeBlock, found {other:?}"),
        }
    }

    pub fn commit(&mut self) -> io::Result<()> {
        match self.ask(request::Value::Commit(RequestCommit {}))? {
            response::Value::Commit(_) => Ok(()),
            other => panic!("expected Commit, found {other:?}"),
        }
    }
}

pub fn block_time(height: u64) -> i64 {
    GENESIS_TIME + 5 * i64::try_from(height).unwrap()
}

pub fn finalize_request(height: u64, transactions: &[Vec<u8>]) -> request::Value {
    request::Value::FinalizeBlock(RequestFinalizeBlock {
        txs: transactions.iter().map(|bytes| bytes.clone().into()).collect(),
        height: height.try_into().unwrap(),
        time: Some(Timestamp { seconds: block_time(height), nanos: 7 }),
        ..RequestFinalizeBlock::default()
    })
}

pub fn init_chain() -> RequestInitChain {
    RequestInitChain {
        time: Some(Timestamp { seconds: GENESIS_TIME, nanos: 0 }),
        chain_id: CHAIN.to_owned(),
        app_state_bytes: app_state().into(),
        initial_height: 1,
        ..RequestInitChain::default()
    }
}

/// The key of test `name`; the same every time.
pub fn signer(name: &str) -> Signer {
    let bytes = careledger_wire::commitment::hash("test-key", &[name.as_bytes()]);
    Signer::from_bytes(&bytes).unwrap()
}

pub fn app_state() -> Vec<u8> {
    let genesis = Genesis {
        registrars: vec![signer("registrar").address()],
        registrar_threshold: 1,
        verifying_keys: vec![hex::encode(VerifyingKey::development().encode())],
        state_version: 1,
        ..Genesis::default()
    };
    serde_json::to_vec(&genesis).unwrap()
}

pub fn sign(signer: &Signer, number: u64, sequence: u64, messages: &[Message]) -> Vec<u8> {
    let replay = Replay::Sequence(sequence);
    signer.sign(Unsigned::new(messages, &signer.public_key(), CHAIN, number, replay))
}

/// The registrar (account 0) registers the hospital, which becomes account 1.
pub fn register_hospital() -> Vec<u8> {
    let message = identity::MsgRegisterOrganization {
        sender: signer("registrar").address().to_string(),
        organization: signer("hospital").address().to_vec(),
        kind: identity::OrganizationKind::Provider.into(),
        encryption_key: vec![9; 32],
        evidence: vec![1; 32],
        expires_at: GENESIS_TIME + 86_400 * 30,
        emergency: false,
    };
    sign(&signer("registrar"), 0, 0, &[message.into()])
}

/// The hospital's transaction `sequence`: that many records, whose ids nothing else uses.
pub fn anchor(sequence: u64, records: u64) -> Vec<u8> {
    let id = |index: u64, kind: u8| {
        careledger_wire::commitment::hash("test-id", &[&sequence.to_be_bytes(), &index.to_be_bytes(), &[kind]]).to_vec()
    };
    let anchors = (0..records).map(|index| records::Anchor { record: id(index, 0), commitment: id(index, 1) });
    let sender = signer("hospital").address().to_string();
    sign(&signer("hospital"), 1, sequence, &[records::MsgAnchorRecords { sender, anchors: anchors.collect() }.into()])
}

/// A running careledgerd, killed when dropped.
pub struct Daemon {
    pub child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    socket: std::path::PathBuf,
}

impl Daemon {
    /// A home folder for `careledgerd start`.
    pub fn init(home: &Path) {
        let registrar = signer("registrar").address().to_string();
        let done = careledgerd(home).args(["init", "--chain-id", CHAIN, "--registrar", &registrar]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    pub fn start(home: &Path) -> Self {
        let socket = home.join("abci.sock");
        let mut command = careledgerd(home);
        command.args(["start", "--abci", &format!("unix://{}", socket.display())]);
        Self::spawn(command, socket)
    }

    /// Waits until it serves: it says so.
    pub fn spawn(mut command: Command, socket: std::path::PathBuf) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("serving ABCI") {
            let read = stderr.read_line(&mut said).unwrap();
            assert!(read > 0, "careledgerd ended: {said}");
        }
        Self { child, stderr, socket }
    }

    pub fn connect(&self) -> Abci<UnixStream> {
        Abci::new(UnixStream::connect(&self.socket).unwrap())
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it said to the end, and its exit code.
    pub fn wait(mut self) -> (String, Option<i32>) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (said, self.child.wait().unwrap().code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn careledgerd(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_careledgerd"));
    command.env("CARELEDGER_HOME", home).env_remove("CARELEDGER_PASSPHRASE").env_remove("CARELEDGER_NODE");
    command
}

/// A wallet's own account.
pub fn account(wallet: &Wallet) -> Signer {
    wallet.signer(Role::Account)
}
