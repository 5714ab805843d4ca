//! Talking to a home's supervisor: one line of JSON each way, over a socket only its owner can reach.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure};
use crate::places;

/// A socket's path must fit the kernel's address structure: 104 bytes on macOS, 108 on Linux, with the end.
const SOCKET_PATH_BYTES_MAX: usize = 100;
/// Longest socket file name we use.
const SOCKET_NAME_BYTES_MAX: usize = 16;
/// Stopping everything may take each stage its grace time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// How often one request is sent to supervisors that end before they answer.
const ASKS_MAX: usize = 3;
/// Longest line either side sends.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// What a supervisor can be asked.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// How is everyone?
    Status,
    /// Stop all processes, answer, and end.
    Stop,
    /// Kill a group at once (SIGKILL) and leave it dead.
    Kill(String),
    /// Start a killed group again.
    Revive(String),
}

/// A process as its supervisor sees it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its name in the plan.
    pub name: String,
    /// Its group in the plan.
    pub group: String,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// Whether it was killed on request and stays dead until revived.
    pub held: bool,
    /// Whether it has yet to start because its ledger does not answer.
    pub waits: bool,
}

/// What a supervisor answers.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// The processes, after the request was done.
    Processes(Vec<ProcessStatus>),
    /// Why it was not done.
    Refused(String),
}

/// The folder for a home's sockets: the home itself, or a private folder with a short path.
pub fn socket_folder(home: &Path) -> Result<PathBuf, Failure> {
    let sockets = home.join("run");
    let folder = if sockets.as_os_str().len() + SOCKET_NAME_BYTES_MAX < SOCKET_PATH_BYTES_MAX {
        sockets
    } else {
        let mut hasher = DefaultHasher::new();
        home.hash(&mut hasher);
        env::temp_dir().join(format!("careledger-{:016x}", hasher.finish()))
    };
    places::make_folder(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
        .doing(|| format!("making {} private", folder.display()))?;
    Ok(folder)
}

/// The supervisor's own socket.
pub fn control_socket(home: &Path) -> Result<PathBuf, Failure> {
    Ok(socket_folder(home)?.join("control.sock"))
}

/// Asks a home's supervisor; `None` when none answers there.
///
/// A supervisor that ends while it is asked closes the connection: asking again tells whether one is still there.
pub fn ask(home: &Path, request: &Request) -> Result<Option<Vec<ProcessStatus>>, Failure> {
    if !home.is_dir() {
        return Ok(None);
    }
    let socket = control_socket(home)?;
    let mut asks_left = ASKS_MAX;
    while let Ok(stream) = UnixStream::connect(&socket) {
        asks_left -= 1;
        match exchange(&stream, request) {
            Err(Failure::System { source, .. }) if asks_left > 0 && has_left(&source) => {}
            Err(failure) => return Err(failure),
            Ok(Reply::Processes(processes)) => return Ok(Some(processes)),
            Ok(Reply::Refused(why)) => return Err(Failure::Needs(why)),
        }
    }
    Ok(None)
}

fn exchange(stream: &UnixStream, request: &Request) -> Result<Reply, Failure> {
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).doing(|| "asking the supervisor".into())?;
    send(stream, request)?;
    receive(stream)
}

fn has_left(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Writes one line.
pub fn send(mut stream: impl Write, message: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(message).map_err(|error| Failure::Check(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).doing(|| "writing to the control socket".into())
}

/// Reads one line.
pub fn receive<M: for<'de> Deserialize<'de>>(stream: &UnixStream) -> Result<M, Failure> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX))
        .read_line(&mut line)
        .and_then(|bytes| if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
        .doing(|| "reading from the control socket".into())?;
    serde_json::from_str(&line).map_err(|error| Failure::Check(format!("the control socket: {error}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_supervisor_that_ends_while_it_is_asked_is_one_that_does_not_run() {
        for reads_before_it_ends in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(control_socket(home.path()).unwrap()).unwrap();
            let supervisor = thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                drop(listener);
                if reads_before_it_ends {
                    receive::<Request>(&stream).unwrap();
                }
            });
            assert_eq!(ask(home.path(), &Request::Status).unwrap(), None);
            supervisor.join().unwrap();
        }
    }

    #[test]
    fn a_supervisor_that_never_answers_is_an_error_and_none_that_does_not_run() {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(control_socket(home.path()).unwrap()).unwrap();
        let supervisor = thread::spawn(move || listener.incoming().take(ASKS_MAX).for_each(drop));
        ask(home.path(), &Request::Status).unwrap_err();
        supervisor.join().unwrap();
    }

    #[test]
    fn sockets_fit_the_kernels_limit_however_deep_the_home_is() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a".repeat(60)).join("b".repeat(60));
        for home in [root.path().to_path_buf(), deep] {
            let socket = control_socket(&home).unwrap();
            assert!(socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX, "{}", socket.display());
            assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn two_deep_homes_do_not_share_their_sockets() {
        let root = tempfile::tempdir().unwrap();
        let deep = |name: &str| root.path().join("a".repeat(100)).join(name);
        assert_ne!(control_socket(&deep("one")).unwrap(), control_socket(&deep("two")).unwrap());
    }
}
