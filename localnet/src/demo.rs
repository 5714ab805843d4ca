//! `cargo demo`: two gateways on the embedded ledger, the story on them, then serving until Ctrl-C.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::binaries::{self, Built};
use crate::failure::{Doing, Failure};
use crate::gateways::{self, Endpoint, Endpoints, Ledger, SEATS};
use crate::home;
use crate::network::prepare;
use crate::places::{self, Places};
use crate::ports;
use crate::rpc::Rpc;
use crate::story::{
    self, Told,
    world::{Trust, World},
};
use crate::supervisor::control::{Request, ask};
use crate::supervisor::plan::Plan;
use crate::supervisor::{self, Lifetime};

/// The chain's name; development keys are accepted on such a chain only.
const CHAIN_ID: &str = "careledger-dev-demo";
/// Registrars, and how many of them must agree.
const REGISTRARS: usize = 3;
const REGISTRAR_THRESHOLD: usize = 2;
/// The first port to try.
const BASE_PORT: u16 = 8_100;
/// Lifetime of the demo's access tokens: long, so that `demo.env` stays usable. Elsewhere it is five minutes.
const TOKEN_SECONDS: u32 = 24 * 60 * 60;
/// How long the processes of an earlier demo may take to end after its Ctrl-C.
const EARLIER_TIME_MAX: Duration = Duration::from_secs(20);
/// How long the embedded ledger may take to answer.
const LEDGER_TIME_MAX: Duration = Duration::from_secs(60);

/// What happens after the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The demo ends.
    End,
    /// The gateways keep serving until Ctrl-C.
    Serve,
}

/// Where the demo listens.
struct Ports {
    first: u16,
}

impl Ports {
    const COUNT: u16 = 3;

    fn gateways(&self) -> Endpoints {
        [self.first, self.first + 1].map(Endpoint::loopback)
    }

    fn rpc(&self) -> u16 {
        self.first + 2
    }

    fn rpc_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc())
    }
}

/// Starts afresh, tells the story, and serves.
pub fn run(places: &Places, folder: Option<PathBuf>, afterwards: Afterwards, built: Built) -> Result<(), Failure> {
    let home = home::absolute(&folder.unwrap_or_else(|| places.target.join("demo")))?;
    clear(&home)?;
    if built == Built::Now {
        binaries::build(places)?;
    }
    say!("two hospitals and an insurer, two gateways, one ledger; everything in {}", home.display());
    let choosing = ports::choose()?;
    let ports = Ports { first: choosing.find(BASE_PORT, Ports::COUNT)? };
    set_up(places, &home, &ports)?;
    let mut supervisor = supervisor::launch(&places.program, &home, Lifetime::UntilLauncherEnds)?;
    drop(choosing);
    let told = tell(places, &home, &ports);
    if told.is_ok() && afterwards == Afterwards::Serve {
        return serve(&mut supervisor);
    }
    ask(&home, &Request::Stop)?;
    told.map_err(|failure| Failure::Check(format!("{failure}\nthe logs are in {}", home.join("logs").display())))
}

/// Removes what an earlier demo left; its processes end by themselves.
fn clear(home: &Path) -> Result<(), Failure> {
    home::wait("the demo that runs already to end; press Ctrl-C where it does", EARLIER_TIME_MAX, || {
        matches!(ask(home, &Request::Status), Ok(None))
    })?;
    supervisor::stop_orphans(home)?;
    if home.exists() { home::remove(home) } else { Ok(()) }
}

fn set_up(places: &Places, home: &Path, ports: &Ports) -> Result<(), Failure> {
    let ledger = home.join("ledger");
    places::make_folder(&ledger)?;
    let registrars = prepare::create_registrars(places, home, REGISTRARS)?;
    prepare::init(places, &ledger, CHAIN_ID, &registrars, REGISTRAR_THRESHOLD)?;
    gateways::create(places, home)?;
    let embedded =
        Ledger::Embedded { rpc_port: ports.rpc(), chain_id: CHAIN_ID.into(), genesis: prepare::genesis_file(&ledger) };
    let ledgers = [embedded, Ledger::Comet { rpc: ports.rpc_address() }];
    gateways::configure(home, &ports.gateways(), &ledgers, TOKEN_SECONDS)?;
    Plan { first_port: ports.first, processes: gateways::processes(places, home, &ledgers).into() }.save(home)
}

fn tell(places: &Places, home: &Path, ports: &Ports) -> Result<(), Failure> {
    let rpc = Rpc::new(ports.rpc_address());
    home::wait("the embedded ledger to answer", LEDGER_TIME_MAX, || rpc.tip().is_ok())?;
    gateways::wait_until_ready(home, &ports.gateways())?;
    let world = World::open(places, home, (ports.rpc_address(), Trust::Node), CHAIN_ID.into(), &ports.gateways())?;
    let told = story::tell(&world)?;
    let file = home.join("demo.env");
    places::write(&file, &environment(&world, home, ports))?;
    say!("{}", invitation(&told, places, &file));
    Ok(())
}

/// `demo.env`: what tools of one's own need, for `source` in a shell.
fn environment(world: &World, home: &Path, ports: &Ports) -> String {
    let mut text = format!(
        "# Tokens are valid for 24 hours here, so that this file stays usable; elsewhere for five minutes:\n\
         # careledger-gateway token --client CLIENT_ID --key CLIENT_KEY --url URL    (the base URL without /fhir)\n\
         CARELEDGER_HOME='{}'\nCARELEDGER_CHAIN_ID='{}'\nCARELEDGER_RPC='{}'\nSNARKJS='{}'\n\
         FHIR_BASE_URL='{}'\nFHIR_TOKEN='{}'\n",
        home.display(),
        world.chain_id,
        world.rpc,
        world.file("snarkjs").display(),
        world.general.fhir.base(),
        world.general.fhir.token(),
    );
    text.push_str(&gateways::environment(home, &ports.gateways()));
    for organization in [&world.general, &world.insurer, &world.lakeside] {
        writeln!(text, "{}_TOKEN='{}'", organization.name.to_uppercase(), organization.fhir.token())
            .expect("a String takes any text");
    }
    text
}

/// What to try next, with ids of the story.
fn invitation(told: &Told, places: &Places, file: &Path) -> String {
    let Told { patient, document, patient_at_lakeside, subject, grant } = told;
    let daemon = places.built("careledgerd");
    let get = |organization: &str, path: &str| {
        format!(
            "curl --silent --header \"Authorization: Bearer ${organization}_TOKEN\" \"${organization}_BASE_URL/{path}\"\n"
        )
    };
    let mut text = format!("\nTo try it yourself, in another terminal:\n\nset -a; source '{}'\n", file.display());
    text.push_str(&get("GENERAL", &format!("Patient/{patient}")));
    text.push_str(&get("GENERAL", &format!("Observation?patient={patient}&_count=3")));
    text.push_str(&get("GENERAL", &format!("DocumentReference/{document}")));
    text.push_str(&get("GENERAL", &format!("AuditEvent?patient={patient}")));
    text.push_str(&get("LAKESIDE", &format!("DocumentReference?patient={patient_at_lakeside}")));
    writeln!(text, "'{}' query grant {subject} {grant} --prove --trust-node --node $CARELEDGER_RPC", daemon.display())
        .expect("a String takes any text");
    // The key is the repository's: one that came with a proof would accept anything.
    let key = places.repository.join("zk/keys/eligibility-1-development.snarkjs.json");
    writeln!(text, "npx snarkjs groth16 verify '{}' $SNARKJS/public.json $SNARKJS/proof.json", key.display())
        .expect("a String takes any text");
    for seat in &SEATS {
        writeln!(text, "# {}: ${}_BASE_URL", seat.name, seat.name.to_uppercase()).expect("a String takes any text");
    }
    text
}

/// Serves until Ctrl-C ends this process, and with it the supervisor and what it keeps running.
fn serve(supervisor: &mut Child) -> Result<(), Failure> {
    say!("serving until Ctrl-C");
    // Waiting would close the pipe that tells the supervisor that we live.
    let _bond = supervisor.stdin.take();
    let status = supervisor.wait().doing(|| "waiting for the supervisor".into())?;
    Err(Failure::Check(format!("the supervisor ended by itself: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        places::write(&folder.path().join("thesis.tex"), "years of work").unwrap();
        assert!(clear(folder.path()).unwrap_err().to_string().contains("thesis.tex"));
    }
}
