//! HAPI FHIR's JPA server on a PostgreSQL of its own, both for as long as this value lives.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::failure::{Doing, Failure};
use crate::places::{self, Places};
use crate::ports;
use crate::postgres::{self, Postgres};
use crate::toolbox::java::{Classes, Project};
use crate::watched::Watched;

/// Where ports are looked for.
const PORTS_FROM: u16 = 27_000;
/// Enough for all that is measured here; HAPI's own container has no more.
const MEBIBYTES_MAX: u32 = 2_048;
/// It makes its tables and reads its definitions first.
const READY_TIME_MAX: Duration = Duration::from_secs(300);
/// Between two looks.
const POLL: Duration = Duration::from_millis(500);
/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(30);

/// A running server.
pub struct Hapi {
    process: Child,
    listen: SocketAddr,
    // After the process that uses it: fields are dropped in this order, and the process in `Drop` before them.
    postgres: Postgres,
}

impl Drop for Hapi {
    fn drop(&mut self) {
        // One that has ended needs no more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Hapi {
    /// Fetches and compiles what is missing, and starts database and server.
    ///
    /// # Errors
    /// [`Failure::Needs`] where Java, Maven, PostgreSQL or HAPI cannot be had; where it does not answer in time, with its log.
    pub fn start(places: &Places) -> Result<Self, Failure> {
        let classes = Classes::provide(places, &Project::SERVER)?;
        let postgres = Postgres::start(&postgres::Purpose::Measured)?;
        let port = ports::choose()?.find(PORTS_FROM, 1)?;
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        let folder = places.target.join("hapi-server");
        places::make_folder(&folder)?;
        let log = folder.join("server.log");
        let written = File::create(&log).doing(|| format!("writing {}", log.display()))?;
        let also = written.try_clone().doing(|| format!("writing {}", log.display()))?;
        let mut command = classes.command("careledger.JpaServer", MEBIBYTES_MAX);
        command.env("LISTEN", listen.to_string()).env("FHIR_BASE_URL", fhir_url(listen));
        command.env("DATABASE_URL", postgres.jdbc_url()).env("DATABASE_USER", postgres::USER);
        command.env("DATABASE_PASSWORD", postgres::PASSWORD);
        let process = command.stdin(Stdio::null()).stdout(written).stderr(also).spawn();
        let process = process.doing(|| "starting HAPI".into())?;
        let mut hapi = Self { process, listen, postgres };
        hapi.wait(&log)?;
        Ok(hapi)
    }

    /// Its FHIR endpoint.
    pub fn fhir_url(&self) -> String {
        fhir_url(self.listen)
    }

    /// It, and its database.
    pub fn watched(&self) -> Result<Watched, Failure> {
        Ok(Watched::new([self.process.id(), self.postgres.process_id()?]))
    }

    fn wait(&mut self, log: &Path) -> Result<(), Failure> {
        let document = format!("{}/metadata", self.fhir_url());
        let agent: Agent = Agent::config_builder().timeout_global(Some(LOOK_TIME_MAX)).build().into();
        let deadline = Instant::now() + READY_TIME_MAX;
        while agent.get(&document).call().is_err() {
            let ended = self.process.try_wait().doing(|| "looking after HAPI".into())?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(Failure::Check(format!("HAPI does not answer; {} says why", log.display())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn fhir_url(listen: SocketAddr) -> String {
    format!("http://{listen}/fhir")
}
