//! A gateway of one organization on a ledger of its own, for what looks at a gateway from outside.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::Agent;

use crate::binaries;
use crate::failure::{Doing, Failure};
use crate::places::{self, Places};
use crate::ports;
use crate::program::Program;
use crate::watched::Watched;

/// Where ports are looked for.
const PORTS_FROM: u16 = 29_000;
/// How long a gateway may take to answer.
const READY_TIME_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(100);
/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// The client that `init` registers.
pub const CLIENT: &str = "ehr";

/// A running gateway. It ends with this value; its folder stays until the next of its name.
pub struct Lone {
    process: Child,
    folder: PathBuf,
    organization: String,
    listen: SocketAddr,
}

impl Drop for Lone {
    fn drop(&mut self) {
        // One that has ended needs no more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Lone {
    /// Builds the programs and starts a gateway in a new folder of cargo's target folder, with these settings (a key of
    /// its file, and a value as TOML) in place of those that `init` writes.
    ///
    /// # Errors
    /// Where it does not answer in time; the sentence names its log.
    pub fn start(places: &Places, organization: &str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        binaries::build(places)?;
        let folder = places.target.join(organization);
        if folder.exists() {
            fs::remove_dir_all(&folder).doing(|| format!("removing {}", folder.display()))?;
        }
        places::make_folder(&folder)?;
        let choosing = ports::choose()?;
        let first = choosing.find(PORTS_FROM, 2)?;
        let [listen, rpc] = [first, first + 1].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let configuration = configure(places, &folder, organization, [listen, rpc], settings)?;
        let log = folder.join("gateway.log");
        let written = File::create(&log).doing(|| format!("writing {}", log.display()))?;
        let mut command = Command::new(places.built("careledger-gateway"));
        command.args(["start", "--config"]).arg(configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(written).spawn().doing(|| "starting a gateway".into())?;
        let mut gateway = Self { process, folder, organization: organization.to_owned(), listen };
        gateway.wait(&log)?;
        Ok(gateway)
    }

    /// The organization's address.
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.listen, self.organization)
    }

    /// Its FHIR endpoint.
    pub fn fhir_url(&self) -> String {
        format!("{}/fhir", self.url())
    }

    /// Its folder, for what belongs to a run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with the key of [`CLIENT`].
    pub fn key(&self) -> PathBuf {
        self.home().join(format!("{CLIENT}.pem"))
    }

    /// The id of that key.
    pub fn key_id(&self) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<Key>,
        }
        #[derive(Deserialize)]
        struct Key {
            kid: String,
        }
        let file = self.home().join(format!("{CLIENT}.jwks.json"));
        let fault = |problem: String| Failure::Check(format!("{}: {problem}", file.display()));
        let read: Keys = serde_json::from_str(&places::read(&file)?).map_err(|error| fault(error.to_string()))?;
        let first = read.keys.into_iter().next().ok_or_else(|| fault("has no key".into()))?;
        Ok(first.kid)
    }

    /// A token of [`CLIENT`].
    pub fn token(&self, places: &Places) -> Result<String, Failure> {
        let program = Program::new(places.built("careledger-gateway"));
        let program = program.args(["token", "--client", CLIENT, "--url", &self.url(), "--key"]).arg(self.key());
        Ok(program.capture()?.trim_end().to_owned())
    }

    /// Its process, for who looks at what it takes.
    pub fn watched(&self) -> Watched {
        Watched::new([self.process.id()])
    }

    fn home(&self) -> PathBuf {
        self.folder.join("gateway").join(&self.organization)
    }

    fn wait(&mut self, log: &Path) -> Result<(), Failure> {
        let document = format!("{}/metadata", self.fhir_url());
        let agent: Agent = Agent::config_builder().timeout_global(Some(LOOK_TIME_MAX)).build().into();
        let deadline = Instant::now() + READY_TIME_MAX;
        while agent.get(&document).call().is_err() {
            let ended = self.process.try_wait().doing(|| "looking after a gateway".into())?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(Failure::Check(format!("the gateway does not answer; {} says why", log.display())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Makes a gateway of its own, and gives its file.
fn configure(
    places: &Places,
    folder: &Path,
    organization: &str,
    [listen, rpc]: [SocketAddr; 2],
    settings: &[(&str, &str)],
) -> Result<PathBuf, Failure> {
    let home = folder.join("gateway");
    Program::new(places.built("careledger-gateway"))
        .args(["init", "--organization", &format!("{organization}=provider"), "--listen", &listen.to_string()])
        .args(["--rpc-listen", &rpc.to_string(), "--folder"])
        .arg(&home)
        .capture()?;
    let file = home.join("gateway.toml");
    let mut text = places::read(&file)?;
    for (key, value) in settings {
        text = with(&text, key, value).ok_or_else(|| Failure::Check(format!("{}: no {key}", file.display())))?;
    }
    places::write(&file, &text)?;
    Ok(file)
}

/// The text with another value of a key; none where it is not there.
fn with(text: &str, key: &str, value: &str) -> Option<String> {
    let is_it = |line: &str| line.split_once(" = ").is_some_and(|(found, _)| found == key);
    text.lines().any(is_it).then(|| {
        let line = |line: &str| if is_it(line) { format!("{key} = {value}\n") } else { format!("{line}\n") };
        text.lines().map(line).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_replaces_what_stands_there_and_nothing_else() {
        let text = "[auth]\n# token_seconds = 1\ntoken_seconds = 300\nrequests_per_second = 500\n";
        let expected = "[auth]\n# token_seconds = 1\ntoken_seconds = 3600\nrequests_per_second = 500\n";
        assert_eq!(with(text, "token_seconds", "3600").as_deref(), Some(expected));
        assert_eq!(with(text, "second", "1"), None);
    }
}
