//! One supervised process: started, watched, started again.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::control::ProcessStatus;
use super::plan::{Process, log_file, pid_file};
use crate::failure::{Doing, Failure};
use crate::places;
use crate::program::Program;
use crate::rpc::Rpc;

/// Pause before the first restart; doubled with each further one.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause: an operator mends the cause and does not want to wait.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A process that lived this long is healthy again: its next restart does not wait.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// How often a process that waits for its ledger looks whether it answers.
const LEDGER_LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long one look may take: the supervisor looks after everyone else meanwhile.
const LEDGER_LOOK_TIME_MAX: Duration = Duration::from_millis(500);

/// A process of the plan and what became of it.
pub struct Supervised {
    /// Its line in the plan.
    pub process: Process,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
    /// When to start it again; `None` while it runs or is held.
    restart_at: Option<Instant>,
    restarts: u32,
    held: bool,
    /// Whether a start is put off until the ledger answers.
    waits: bool,
}

impl Supervised {
    /// A process that has not started yet.
    pub fn new(process: Process) -> Self {
        Self {
            process,
            child: None,
            started: Instant::now(),
            pause: RESTART_PAUSE_MIN,
            restart_at: None,
            restarts: 0,
            held: false,
            waits: false,
        }
    }

    /// Starts it, or puts the start off while the ledger that it needs does not answer.
    pub fn start(&mut self, home: &Path) -> Result<(), Failure> {
        self.held = false;
        self.waits = self.process.waits_for.as_ref().is_some_and(|ledger| !answers(ledger));
        if self.waits {
            self.restart_at = Some(Instant::now() + LEDGER_LOOK_EVERY);
            return Ok(());
        }
        self.spawn(home)
    }

    /// In its own process group, so that a Ctrl-C in the terminal is not its own.
    fn spawn(&mut self, home: &Path) -> Result<(), Failure> {
        if let Some(socket) = self.process.socket.as_ref().filter(|socket| socket.exists()) {
            fs::remove_file(socket).doing(|| format!("removing {}", socket.display()))?;
        }
        let log = log_file(home, &self.process.name);
        let open = || File::options().create(true).append(true).open(&log);
        let output = open().doing(|| format!("opening {}", log.display()))?;
        let errors = open().doing(|| format!("opening {}", log.display()))?;
        let child = Command::new(&self.process.program)
            .args(&self.process.arguments)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .doing(|| format!("starting {}", self.process.program.display()))?;
        places::write(&pid_file(home, &self.process.name), &child.id().to_string())?;
        self.child = Some(child);
        self.started = Instant::now();
        self.restart_at = None;
        Ok(())
    }

    /// Notices that it ended, and starts it again when its pause is over. Whatever its exit code: the stock
    /// node ends with code 0 when its application dies.
    pub fn tend(&mut self, home: &Path, now: Instant) -> Result<(), Failure> {
        if !self.is_running()? && self.restart_at.is_none() && !self.held {
            if now.duration_since(self.started) >= HEALTHY_AFTER {
                self.pause = RESTART_PAUSE_MIN;
            }
            self.restart_at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(RESTART_PAUSE_MAX);
        }
        if self.restart_at.is_some_and(|due| due <= now) {
            self.restarts += u32::from(!self.waits);
            self.start(home)?;
        }
        Ok(())
    }

    /// Whether it runs now.
    pub fn is_running(&mut self) -> Result<bool, Failure> {
        let Some(child) = &mut self.child else {
            return Ok(false);
        };
        let ended = child.try_wait().doing(|| format!("waiting for {}", self.process.name))?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(self.child.is_some())
    }

    /// Asks it to end (SIGTERM).
    pub fn ask_to_end(&mut self) -> Result<(), Failure> {
        self.held = true;
        self.waits = false;
        self.restart_at = None;
        if self.is_running()?
            && let Some(child) = &self.child
        {
            // It is our child and not waited for, so the id is still its own.
            Program::new("kill").arg("-TERM").arg(child.id().to_string()).capture()?;
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL) and keeps it dead.
    pub fn kill(&mut self, home: &Path) -> Result<(), Failure> {
        self.held = true;
        self.waits = false;
        self.restart_at = None;
        if let Some(mut child) = self.child.take() {
            child.kill().doing(|| format!("killing {}", self.process.name))?;
            child.wait().doing(|| format!("waiting for {}", self.process.name))?;
        }
        let file = pid_file(home, &self.process.name);
        if file.exists() {
            fs::remove_file(&file).doing(|| format!("removing {}", file.display()))?;
        }
        Ok(())
    }

    /// What to tell about it.
    pub fn status(&mut self) -> Result<ProcessStatus, Failure> {
        self.is_running()?;
        Ok(ProcessStatus {
            name: self.process.name.clone(),
            group: self.process.group.clone(),
            pid: self.child.as_ref().map(Child::id),
            restarts: self.restarts,
            held: self.held,
            waits: self.waits,
        })
    }
}

/// Whether a ledger answers now.
fn answers(rpc: &str) -> bool {
    Rpc::within(rpc, LEDGER_LOOK_TIME_MAX).tip().is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::supervisor::plan::Stage;

    /// Answers as a node does, for as long as the test runs.
    fn serve(listener: TcpListener) {
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut line, mut length) = (String::new(), 0);
                while reader.read_line(&mut line).unwrap() > 2 {
                    if let Some(("content-length", value)) = line.to_lowercase().trim().split_once(": ") {
                        length = value.parse().unwrap();
                    }
                    line.clear();
                }
                reader.take(length).read_to_end(&mut Vec::new()).unwrap();
                let body = r#"{"result":{"sync_info":{"latest_block_height":"1","catching_up":false}}}"#;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes()).unwrap();
            }
        });
    }

    #[test]
    fn a_gateway_starts_once_its_ledger_answers_and_waiting_is_no_restart() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["logs", "pids"] {
            places::make_folder(&home.path().join(folder)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut gateway = Supervised::new(Process {
            name: "g0".into(),
            group: "g0".into(),
            stage: Stage::Gateway,
            program: "sleep".into(),
            arguments: vec!["600".into()],
            socket: None,
            waits_for: Some(format!("http://{address}")),
        });
        gateway.start(home.path()).unwrap();
        let later = || Instant::now() + LEDGER_LOOK_EVERY;
        for _ in 0..3 {
            gateway.tend(home.path(), later()).unwrap();
            let status = gateway.status().unwrap();
            assert_eq!((status.pid, status.waits, status.restarts), (None, true, 0));
        }
        serve(TcpListener::bind(address).unwrap());
        gateway.tend(home.path(), later()).unwrap();
        let status = gateway.status().unwrap();
        assert_eq!((status.pid.is_some(), status.waits, status.restarts), (true, false, 0));
        gateway.kill(home.path()).unwrap();
    }
}
