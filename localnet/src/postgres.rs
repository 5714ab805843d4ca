//! A PostgreSQL server of our own, for the tests and the measurements that need one: in a folder that is thrown away, on a
//! port of loopback, as a user that may do nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};
use crate::places;
use crate::ports;
use crate::program::{Program, find};
use crate::toolbox::{self, Need};

/// Where ports are looked for.
const PORTS_FROM: u16 = 25_400;
/// The account of the tests. The server is reached on loopback only, and only as long as they run.
pub const USER: &str = "careledger";
/// Its password.
pub const PASSWORD: &str = "a password of tests";
/// The same, as it stands in an address.
const PASSWORD_IN_URL: &str = "a%20password%20of%20tests";

/// What it is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// Tests: nothing of it outlives them, so nothing needs to be on the disk. `certificate` and `key` are what it shows to
    /// who asks for TLS.
    Tests { certificate: &'a Path, key: &'a Path },
    /// Measurements: what it acknowledges is on the disk. With more memory than Debian gives it, as is usual.
    Measured,
}

/// A running server. It stops, and its folder goes, when this is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Postgres {
    /// Installs PostgreSQL where it is missing, and starts it.
    pub fn start(purpose: &Purpose<'_>) -> Result<Self, Failure> {
        toolbox::provide(&[Need::Postgres])?;
        let programs = programs().ok_or_else(|| Failure::Needs("PostgreSQL's initdb is not there".into()))?;
        let choosing = ports::choose()?;
        let port = choosing.find(PORTS_FROM, 1)?;
        let folder = std::env::temp_dir().join(format!("careledger-postgres-{}", std::process::id()));
        places::make_folder(&folder)?;
        if let Purpose::Tests { certificate, key } = purpose {
            for (from, to) in [(certificate, "server.pem"), (key, "server.key")] {
                let to = folder.join(to);
                fs::copy(from, &to).doing(|| format!("copying {}", from.display()))?;
                // The server takes no key that others may read.
                fs::set_permissions(&to, fs::Permissions::from_mode(0o600))
                    .doing(|| format!("closing {}", to.display()))?;
            }
        }
        let server = Self { programs, folder, port };
        server.begin(purpose)?;
        Ok(server)
    }

    /// Address of the server, with the password.
    pub fn url(&self) -> String {
        format!("postgresql://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/postgres", self.port)
    }

    /// The same for Java's drivers, without account and password.
    pub fn jdbc_url(&self) -> String {
        format!("jdbc:postgresql://127.0.0.1:{}/postgres", self.port)
    }

    /// The process that started all others of it.
    pub fn process_id(&self) -> Result<u32, Failure> {
        let file = self.data().join("postmaster.pid");
        let first = places::read(&file)?.lines().next().and_then(|line| line.trim().parse().ok());
        first.ok_or_else(|| Failure::Check(format!("{} does not begin with a process", file.display())))
    }

    /// What it calls itself.
    pub fn version(&self) -> Result<String, Failure> {
        Ok(Program::new(self.programs.join("postgres")).arg("--version").capture()?.trim().to_owned())
    }

    fn begin(&self, purpose: &Purpose<'_>) -> Result<(), Failure> {
        let word = self.folder.join("password");
        places::write(&word, PASSWORD)?;
        if is_root() {
            let folder = self.folder.display().to_string();
            Program::new("chown").args(["-R", "postgres", &folder]).capture()?;
        }
        self.program("initdb")
            .arg("--pgdata")
            .arg(self.data())
            .args(["--username", USER, "--auth", "scram-sha-256", "--pwfile"])
            .arg(&word)
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"])
            .capture()?;
        let folder = self.folder.display();
        let particular = match purpose {
            Purpose::Tests { .. } => {
                format!(
                    "-c fsync=off -c ssl=on -c ssl_cert_file={folder}/server.pem -c ssl_key_file={folder}/server.key"
                )
            }
            Purpose::Measured => "-c shared_buffers=1GB -c max_wal_size=4GB".to_owned(),
        };
        let options =
            format!("-c listen_addresses=127.0.0.1 -p {} -k {folder} -c max_connections=400 {particular}", self.port);
        self.program("pg_ctl")
            .arg("--pgdata")
            .arg(self.data())
            .arg("--log")
            .arg(self.folder.join("log"))
            .args(["--wait", "--options", &options, "start"])
            .run_quietly()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of its programs, which refuse to run as root.
    fn program(&self, name: &str) -> Program {
        let path = self.programs.join(name);
        if !is_root() {
            return Program::new(path).in_folder(&self.folder);
        }
        Program::new("setpriv")
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(path)
            .in_folder(&self.folder)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self.program("pg_ctl").arg("--pgdata").arg(self.data()).args(["--mode", "immediate", "stop"]);
        if let Err(failure) = stopped.run_quietly() {
            say!("PostgreSQL in {} was not stopped: {failure}", self.folder.display());
            return;
        }
        if let Err(failure) = fs::remove_dir_all(&self.folder).doing(|| format!("removing {}", self.folder.display())) {
            say!("{failure}");
        }
    }
}

/// The folder of the programs that Debian keeps off the search path; the newest, or what the path has.
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, folder)| folder).or_else(|| find("initdb")?.parent().map(Path::to_path_buf))
}

fn is_root() -> bool {
    Program::new("id").arg("-u").capture().is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_lets_in_by_its_address_and_leaves_nothing_behind() {
        if programs().is_none() {
            say!("SKIPPED, not passed: PostgreSQL is not installed; `cargo verify` installs it");
            return;
        }
        let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fhir-gateway/src/server/testdata");
        let (certificate, key) = (certificates.join("server.pem"), certificates.join("server.key"));
        let server = Postgres::start(&Purpose::Tests { certificate: &certificate, key: &key }).unwrap();
        let said = Program::new(server.programs.join("psql"))
            .args([server.url().as_str(), "--tuples-only", "--no-align", "--command", "SHOW server_encoding"])
            .capture();
        assert_eq!(said.unwrap().trim(), "UTF8");
        let encrypted = Program::new(server.programs.join("psql"))
            .args([
                &format!("{}?sslmode=require", server.url()),
                "--tuples-only",
                "--no-align",
                "--command",
                "SHOW ssl",
            ])
            .capture();
        assert_eq!(encrypted.unwrap().trim(), "on");
        assert!(server.version().unwrap().contains("PostgreSQL"));
        assert!(Path::new(&format!("/proc/{}", server.process_id().unwrap())).exists() || !Path::new("/proc").exists());
        let folder = server.folder.clone();
        drop(server);
        assert!(!folder.exists());
    }
}
