//! The API's contract: what a gateway's OpenAPI document says, tried on that gateway by schemathesis.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::binaries;
use crate::failure::{Doing, Failure};
use crate::places::{self, Places};
use crate::ports;
use crate::program::Program;

/// Where ports are looked for.
const PORTS_FROM: u16 = 29_000;
/// How long a gateway may take to answer.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the token is good for: longer than the run.
const TOKEN_SECONDS: u32 = 3_600;
/// The organization that is served.
const ORGANIZATION: &str = "contract";

/// What is tried: the endpoint itself and types of each kind. The addresses of the others are made by the same
/// rules from the same tables, and all of them together take ten minutes.
const PATHS: &str = r"^/(|metadata|openapi\.json|_history|\.well-known/.*|(Practitioner|Observation|AuditEvent|Binary)(/.*)?|Patient(/(\{id\}|_search|_history|\$.*))?|Patient/\{id\}/(\*|Condition.*|_history.*|\$.*))$";

/// A gateway that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs no more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a gateway and lets schemathesis try it.
///
/// # Errors
/// What it finds, or what cannot be started.
pub fn check(places: &Places) -> Result<(), Failure> {
    binaries::build(places)?;
    let project = places.repository.join("tests/clients/schemathesis");
    let python = environment(places, &project)?;
    let folder = places.target.join("contract");
    if folder.exists() {
        fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
    }
    places::make_folder(&folder)?;
    let choosing = ports::choose()?;
    let first = choosing.find(PORTS_FROM, 2)?;
    let [listen, rpc] = [first, first + 1].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let configuration = configure(places, &folder, listen, rpc)?;
    let _gateway = start(places, &folder, &configuration, listen)?;
    drop(choosing);
    let url = format!("http://{listen}/{ORGANIZATION}");
    let key = folder.join("gateway").join(ORGANIZATION).join("ehr.pem");
    let token = Program::new(places.built("careledger-gateway"))
        .args(["token", "--client", "ehr", "--url", &url, "--key"])
        .arg(&key)
        .capture()?;
    Program::new(python.join("schemathesis"))
        .arg("--config-file")
        .arg(project.join("schemathesis.toml"))
        .args(["run", "--include-path-regex", PATHS])
        .arg(format!("{url}/fhir/openapi.json"))
        .env("FHIR_TOKEN", token.trim_end())
        // What it remembers of a run is for the next one to find nowhere.
        .in_folder(&folder)
        .run()
}

/// The programs of a Python environment with what the project requires.
fn environment(places: &Places, project: &Path) -> Result<PathBuf, Failure> {
    let folder = places.target.join("schemathesis");
    let requirements = project.join("requirements.txt");
    let wanted = places::read(&requirements)?;
    let installed = folder.join("installed.txt");
    let programs = folder.join("bin");
    if places::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(programs);
    }
    say!("installing schemathesis into {}: a minute, once", folder.display());
    Program::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).run()?;
    let pip = Program::new(programs.join("python")).args(["-m", "pip", "install", "--quiet", "--requirement"]);
    pip.arg(&requirements).run()?;
    places::write(&installed, &wanted)?;
    Ok(programs)
}

/// Makes a gateway of its own, and gives its file.
fn configure(places: &Places, folder: &Path, listen: SocketAddr, rpc: SocketAddr) -> Result<PathBuf, Failure> {
    let home = folder.join("gateway");
    Program::new(places.built("careledger-gateway"))
        .args(["init", "--organization", &format!("{ORGANIZATION}=provider"), "--listen", &listen.to_string()])
        .args(["--rpc-listen", &rpc.to_string(), "--folder"])
        .arg(&home)
        .run()?;
    let file = home.join("gateway.toml");
    let made = places::read(&file)?;
    let longer = |line: &str| match line.split_once(" = ") {
        Some(("token_seconds", _)) => format!("token_seconds = {TOKEN_SECONDS}"),
        _ => line.to_owned(),
    };
    let text: Vec<String> = made.lines().map(longer).collect();
    places::write(&file, &(text.join("\n") + "\n"))?;
    Ok(file)
}

/// Starts the gateway and waits for its document.
fn start(places: &Places, folder: &Path, file: &Path, listen: SocketAddr) -> Result<Running, Failure> {
    let log = folder.join("gateway.log");
    let written = File::create(&log).doing(|| format!("writing {}", log.display()))?;
    let mut command = Command::new(places.built("careledger-gateway"));
    command.args(["start", "--config"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(written);
    let mut running = Running(command.spawn().doing(|| "starting a gateway".into())?);
    let document = format!("http://{listen}/{ORGANIZATION}/fhir/openapi.json");
    let agent: Agent = Agent::config_builder().timeout_global(Some(LOOK_TIME_MAX)).build().into();
    let deadline = Instant::now() + READY_TIME_MAX;
    while agent.get(&document).call().is_err() {
        let ended = running.0.try_wait().doing(|| "looking after a gateway".into())?;
        if ended.is_some() || Instant::now() > deadline {
            return Err(Failure::Check(format!("the gateway does not answer; {} says why", log.display())));
        }
        thread::sleep(POLL);
    }
    Ok(running)
}
