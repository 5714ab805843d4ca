//! The process that keeps a home's processes running.
//!
//! It runs in the background, in its own process group, and is reached over a socket in the home, never by
//! process id: an id may by then belong to someone else. Only when it was itself killed are the recorded ids
//! used, each checked against the running command first ([`stop_orphans`]).

use std::fs;
use std::io::Read as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use self::child::Supervised;
use self::control::{ProcessStatus, Reply, Request};
use self::plan::{Plan, Stage, log_file, pid_file};
use crate::failure::{Doing, Failure};
use crate::places;
use crate::ports;
use crate::program::Program;

mod child;
pub mod control;
pub mod plan;

/// How often processes are looked after.
const TEND_EVERY: Duration = Duration::from_millis(50);
/// How long a process may take to end when asked.
const GRACE: Duration = Duration::from_secs(10);
/// How long a supervisor may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a supervisor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is asked to stop.
    UntilStopped,
    /// Until it is asked to stop, or the process that launched it is gone, however that ended.
    UntilLauncherEnds,
}

enum Event {
    Asked(Request, UnixStream),
    LauncherEnded,
}

/// Launches a supervisor for the home's plan and waits until it listens. Keep the child while a lifetime
/// bound to the launcher is wanted: its standard input is the bond. `program` is this program.
pub fn launch(program: &Path, home: &Path, lifetime: Lifetime) -> Result<Child, Failure> {
    places::make_folder(&home.join("logs"))?;
    places::make_folder(&home.join("pids"))?;
    let log = log_file(home, "supervisor");
    let output = fs::File::options().create(true).append(true).open(&log);
    let output = output.doing(|| format!("opening {}", log.display()))?;
    let mut command = Command::new(program);
    command.arg("supervise").arg("--home").arg(home);
    match lifetime {
        Lifetime::UntilStopped => command.stdin(Stdio::null()),
        Lifetime::UntilLauncherEnds => command.arg("--until-launcher-ends").stdin(Stdio::piped()),
    };
    command.stdout(Stdio::null()).stderr(output).process_group(0);
    let mut child = command.spawn().doing(|| "starting the supervisor".into())?;
    let started = Instant::now();
    while control::ask(home, &Request::Status)?.is_none() {
        let ended = child.try_wait().doing(|| "waiting for the supervisor".into())?;
        if ended.is_some() || started.elapsed() > START_TIME_MAX {
            return Err(Failure::Check(format!("the supervisor did not start; see {}", log.display())));
        }
        thread::sleep(TEND_EVERY);
    }
    Ok(child)
}

/// Runs the home's plan until asked to stop: the body of the supervisor process.
pub fn supervise(home: &Path, lifetime: Lifetime) -> Result<(), Failure> {
    let plan = Plan::load(home)?;
    let _claim = ports::claim(plan.first_port)?;
    let socket = control::control_socket(home)?;
    if socket.exists() {
        // Nobody answers there: `launch` asked before.
        fs::remove_file(&socket).doing(|| format!("removing {}", socket.display()))?;
    }
    let listener = UnixListener::bind(&socket).doing(|| format!("listening on {}", socket.display()))?;
    places::write(&pid_file(home, "supervisor"), &std::process::id().to_string())?;
    let (sender, events) = mpsc::channel();
    if lifetime == Lifetime::UntilLauncherEnds {
        watch_launcher(sender.clone());
    }
    accept(listener, sender);
    let mut fleet = Fleet::new(home, plan);
    let asker = fleet.run(&events)?;
    fleet.stop()?;
    // Before the answer: whoever asked may start anew at once.
    fs::remove_file(&socket).doing(|| format!("removing {}", socket.display()))?;
    fs::remove_file(pid_file(home, "supervisor")).doing(|| "removing the pid file".into())?;
    if let Some(stream) = asker {
        control::send(stream, &Reply::Processes(fleet.status()?))?;
    }
    Ok(())
}

fn watch_launcher(sender: Sender<Event>) {
    thread::spawn(move || {
        let mut nothing = Vec::new();
        // Ends when the launcher's side of the pipe closes. An error means the same.
        let _closed = std::io::stdin().read_to_end(&mut nothing);
        let _stopped = sender.send(Event::LauncherEnded);
    });
}

fn accept(listener: UnixListener, sender: Sender<Event>) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            match control::receive(&stream) {
                Ok(request) => {
                    if sender.send(Event::Asked(request, stream)).is_err() {
                        return;
                    }
                }
                Err(failure) => eprintln!("a request that could not be read: {failure}"),
            }
        }
    });
}

struct Fleet<'home> {
    home: &'home Path,
    processes: Vec<Supervised>,
}

impl<'home> Fleet<'home> {
    fn new(home: &'home Path, plan: Plan) -> Self {
        let mut processes: Vec<_> = plan.processes.into_iter().map(Supervised::new).collect();
        processes.sort_by_key(|supervised| supervised.process.stage);
        Self { home, processes }
    }

    /// Runs until a stop is asked for; returns the stream to answer on, if someone waits.
    fn run(&mut self, events: &Receiver<Event>) -> Result<Option<UnixStream>, Failure> {
        for supervised in &mut self.processes {
            supervised.start(self.home)?;
        }
        loop {
            match events.recv_timeout(TEND_EVERY) {
                Ok(Event::Asked(Request::Stop, stream)) => return Ok(Some(stream)),
                Ok(Event::LauncherEnded) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Ok(Event::Asked(request, stream)) => {
                    let reply = self
                        .answer(&request)
                        .map_or_else(|failure| Reply::Refused(failure.to_string()), Reply::Processes);
                    if let Err(failure) = control::send(stream, &reply) {
                        eprintln!("an answer that nobody waited for: {failure}");
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tend();
        }
    }

    /// A process that cannot be started must not take the others down with it.
    fn tend(&mut self) {
        for supervised in &mut self.processes {
            if let Err(failure) = supervised.tend(self.home, Instant::now()) {
                eprintln!("{}: {failure}", supervised.process.name);
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Vec<ProcessStatus>, Failure> {
        let home = self.home;
        match request {
            Request::Status | Request::Stop => {}
            Request::Kill(group) => {
                for supervised in self.members(group)? {
                    supervised.kill(home)?;
                }
            }
            Request::Revive(group) => {
                for supervised in self.members(group)? {
                    if !supervised.is_running()? {
                        supervised.start(home)?;
                    }
                }
            }
        }
        self.status()
    }

    fn members(&mut self, group: &str) -> Result<Vec<&mut Supervised>, Failure> {
        let home = self.home;
        let members: Vec<_> =
            self.processes.iter_mut().filter(|supervised| supervised.process.group == group).collect();
        if members.is_empty() {
            return Err(Failure::Needs(format!("{} has no {group}", home.display())));
        }
        // The node is killed and revived after its application, so that it never sees it half gone.
        Ok(members)
    }

    fn status(&mut self) -> Result<Vec<ProcessStatus>, Failure> {
        self.processes.iter_mut().map(Supervised::status).collect()
    }

    /// Stops stage by stage, the last started first, and kills what does not end in time.
    fn stop(&mut self) -> Result<(), Failure> {
        for stage in [Stage::Gateway, Stage::Node, Stage::Application] {
            let mut members: Vec<_> = self.processes.iter_mut().filter(|one| one.process.stage == stage).collect();
            for supervised in &mut members {
                supervised.ask_to_end()?;
            }
            let asked = Instant::now();
            for supervised in members {
                while supervised.is_running()? && asked.elapsed() < GRACE {
                    thread::sleep(TEND_EVERY);
                }
                supervised.kill(self.home)?;
            }
        }
        Ok(())
    }
}

/// Stops a home's processes whose supervisor was killed (it does not answer). Returns how many were found.
///
/// A recorded process id counts only while the command it runs names this home: ids are reused.
pub fn stop_orphans(home: &Path) -> Result<usize, Failure> {
    if !Plan::is_in(home) {
        return Ok(0);
    }
    let plan = Plan::load(home)?;
    let mut found = 0;
    for process in plan.processes.iter().rev() {
        let file = pid_file(home, &process.name);
        let Ok(pid) = fs::read_to_string(&file) else {
            continue;
        };
        if runs(&pid, &process.program, home) {
            found += 1;
            Program::new("kill").arg("-TERM").arg(&pid).capture()?;
            let asked = Instant::now();
            while runs(&pid, &process.program, home) && asked.elapsed() < GRACE {
                thread::sleep(TEND_EVERY);
            }
            if runs(&pid, &process.program, home) {
                Program::new("kill").arg("-KILL").arg(&pid).capture()?;
            }
        }
        fs::remove_file(&file).doing(|| format!("removing {}", file.display()))?;
    }
    let own = pid_file(home, "supervisor");
    if own.exists() {
        fs::remove_file(&own).doing(|| format!("removing {}", own.display()))?;
    }
    Ok(found)
}

fn runs(pid: &str, program: &Path, home: &Path) -> bool {
    Program::new("ps").args(["-ww", "-o", "command=", "-p", pid]).capture().is_ok_and(|command| {
        command.contains(&*program.to_string_lossy()) && command.contains(&*home.to_string_lossy())
    })
}
