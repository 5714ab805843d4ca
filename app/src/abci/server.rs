//! The ABCI server: a thread for each of CometBFT's four connections, requests answered in
//! order, answers written together.
//!
//! Answers are held back while another whole request is already here, so that a pipelined burst
//! costs one write. Unix sockets and TCP with nodelay: without it every answer waits for the
//! other side's delayed acknowledgement.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tendermint_abci::Application;
use tendermint_proto::v0_38::abci::{Request, Response, ResponseException, request, response};

use super::frame::{FrameError, FrameReader, write_response};

/// Connections served at once. CometBFT opens four.
pub const CONNECTIONS_MAX: usize = 32;
/// Answers held back at most before they are written.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Where CometBFT finds the application: its `proxy_app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix://PATH`
    Unix(PathBuf),
    /// `tcp://HOST:PORT`
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not an address: expected unix://PATH or tcp://IP:PORT");
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(|_| expected()),
            _ => Err(expected()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
        }
    }
}

/// A bound address; connections wait until [`Server::serve`].
#[derive(Debug)]
pub struct Server {
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Server {
    /// Binds the address. A Unix socket that a dead process left behind is replaced; one that is
    /// answered is an error.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let listener = match address {
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                Listener::Unix(listener)
            }
            Address::Tcp(address) => Listener::Tcp(TcpListener::bind(address)?),
        };
        Ok(Self { listener })
    }

    /// The address that TCP was bound to; `None` for a Unix socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// Answers until a fault. A connection that ends or sends nonsense is closed and the others
    /// go on; a panic in the application ends everything, because what it left behind is unknown.
    pub fn serve<A: Application + Sync>(self, application: A) -> io::Error {
        let (faults, fault) = mpsc::channel();
        let accepting = faults.clone();
        let accept = thread::Builder::new().name("abci-accept".to_owned()).spawn(move || {
            let error = self.accept(&application, &faults);
            // The receiver lives as long as this function, so sending cannot fail before it returns.
            let _ = accepting.send(error);
        });
        match accept {
            Ok(_) => fault.recv().unwrap_or_else(|_| io::Error::other("the ABCI server ended")),
            Err(error) => error,
        }
    }

    fn accept<A: Application + Sync>(&self, application: &A, faults: &mpsc::Sender<io::Error>) -> io::Error {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            let started = match &self.listener {
                Listener::Unix(listener) => listener.accept().and_then(|(stream, _)| {
                    let reader = stream.try_clone()?;
                    start(reader, stream, application.clone(), &open, faults.clone())
                }),
                Listener::Tcp(listener) => listener.accept().and_then(|(stream, _)| {
                    stream.set_nodelay(true)?;
                    let reader = stream.try_clone()?;
                    start(reader, stream, application.clone(), &open, faults.clone())
                }),
            };
            match started {
                Ok(()) => {}
                // One connection that was gone before it was accepted is no reason to stop.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return error,
            }
        }
    }
}

/// Serves one connection on a thread of its own.
fn start<A, R, W>(
    reader: R,
    writer: W,
    application: A,
    open: &Arc<AtomicUsize>,
    faults: mpsc::Sender<io::Error>,
) -> io::Result<()>
where
    A: Application + Sync,
    R: Read + Send + 'static,
    W: Write + Shutdown + Send + 'static,
{
    if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
        open.fetch_sub(1, Ordering::SeqCst);
        tracing::warn!(limit = CONNECTIONS_MAX, "a connection was closed: too many are open");
        writer.shutdown();
        return Ok(());
    }
    let open = Arc::clone(open);
    thread::Builder::new().name("abci".to_owned()).spawn(move || {
        let mut writer = writer;
        let run = std::panic::AssertUnwindSafe(|| answer(reader, &mut writer, &application));
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) => tracing::info!("an ABCI connection was closed by the other side"),
            Ok(Err(error)) => tracing::error!(%error, "an ABCI connection was closed"),
            Err(_) => {
                // Where nobody receives, the process is ending already.
                let _ = faults.send(io::Error::other("the application failed while it answered; see the log above"));
            }
        }
        writer.shutdown();
        open.fetch_sub(1, Ordering::SeqCst);
    })?;
    Ok(())
}

/// Answers every request of one connection until the other side closes it.
fn answer(reader: impl Read, writer: &mut impl Write, application: &impl Application) -> Result<(), FrameError> {
    let mut frames = FrameReader::new(reader);
    let mut out = Vec::new();
    loop {
        let request = match frames.next_request() {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => request,
            Err(error) => return refuse(writer, out, error),
        };
        let Some(response) = dispatch(application, request) else {
            return refuse(writer, out, FrameError::Request);
        };
        write_response(&response, &mut out);
        if out.len() >= WRITE_BYTES_MAX || !frames.has_request() {
            writer.write_all(&out)?;
            writer.flush()?;
            out.clear();
        }
    }
}

/// Says why before the connection is closed.
fn refuse(writer: &mut impl Write, mut out: Vec<u8>, error: FrameError) -> Result<(), FrameError> {
    let exception = ResponseException { error: error.to_string() };
    write_response(&Response { value: Some(response::Value::Exception(exception)) }, &mut out);
    // The connection is given up anyway; its own error is the one worth reporting.
    let _ = writer.write_all(&out).and_then(|()| writer.flush());
    Err(error)
}

/// The answer to a request; `None` where the request is empty.
fn dispatch(application: &impl Application, request: Request) -> Option<Response> {
    use request::Value as Asked;
    use response::Value as Answer;
    let value = match request.value? {
        Asked::Echo(request) => Answer::Echo(application.echo(request)),
        Asked::Flush(_) => Answer::Flush(application.flush()),
        Asked::Info(request) => Answer::Info(application.info(request)),
        Asked::InitChain(request) => Answer::InitChain(application.init_chain(request)),
        Asked::Query(request) => Answer::Query(application.query(request)),
        Asked::CheckTx(request) => Answer::CheckTx(application.check_tx(request)),
        Asked::Commit(_) => Answer::Commit(application.commit()),
        Asked::ListSnapshots(_) => Answer::ListSnapshots(application.list_snapshots()),
        Asked::OfferSnapshot(request) => Answer::OfferSnapshot(application.offer_snapshot(request)),
        Asked::LoadSnapshotChunk(request) => Answer::LoadSnapshotChunk(application.load_snapshot_chunk(request)),
        Asked::ApplySnapshotChunk(request) => Answer::ApplySnapshotChunk(application.apply_snapshot_chunk(request)),
        Asked::PrepareProposal(request) => Answer::PrepareProposal(application.prepare_proposal(request)),
        Asked::ProcessProposal(request) => Answer::ProcessProposal(application.process_proposal(request)),
        Asked::ExtendVote(request) => Answer::ExtendVote(application.extend_vote(request)),
        Asked::VerifyVoteExtension(request) => Answer::VerifyVoteExtension(application.verify_vote_extension(request)),
        Asked::FinalizeBlock(request) => Answer::FinalizeBlock(application.finalize_block(request)),
    };
    Some(Response { value: Some(value) })
}

/// Removes a socket that nobody answers.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is no socket"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on this socket"))
        }
        Ok(_) => fs::remove_file(path),
    }
}

/// Closing both directions of a connection.
trait Shutdown {
    /// Closes it; one that is closed already stays so.
    fn shutdown(&self);
}

impl Shutdown for UnixStream {
    fn shutdown(&self) {
        let _ = UnixStream::shutdown(self, std::net::Shutdown::Both);
    }
}

impl Shutdown for TcpStream {
    fn shutdown(&self) {
        let _ = TcpStream::shutdown(self, std::net::Shutdown::Both);
    }
}
