//! A network of validators and gateways on this machine: started, asked, broken on purpose, stopped.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use self::agreement::{Agreed, agreement, progress, wait_for_height};
use self::record::{App, Layout, NodeKind, Record, group};
use crate::binaries::{self, Built};
use crate::failure::Failure;
use crate::gateways;
use crate::home::{absolute, remove, wait};
use crate::manifest::Manifest;
use crate::places::Places;
use crate::ports::{self, Choosing};
use crate::rpc::Rpc;
use crate::story::{
    self,
    world::{Trust, World},
};
use crate::supervisor::control::{ProcessStatus, Request, ask};
use crate::supervisor::{self, Lifetime};

pub mod agreement;
mod genesis;
pub mod join;
pub mod prepare;
pub mod record;
pub mod settings;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network's folder.
    pub home: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its application.
    pub app: App,
    /// Its node program.
    pub node: NodeKind,
    /// How many gateways.
    pub gateways: usize,
    /// Whether what an earlier network left in the home is kept.
    pub earlier: Earlier,
    /// How long it runs.
    pub lifetime: Lifetime,
    /// Whether its programs are built first.
    pub built: Built,
}

/// What happens to a network that was set up in the home before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Its chain goes on.
    Kept,
    /// It is removed first.
    Removed,
}

/// A network that was set up.
#[derive(Debug)]
pub struct Network {
    home: PathBuf,
    record: Record,
    /// Where its ports began, or would have, if this start had to choose others.
    moved_from: Option<u16>,
    /// Its supervisor, if this process launched it.
    _supervisor: Option<Child>,
}

impl Network {
    /// Starts a network and waits until it is one: every node knows the others and has the first block.
    pub fn up(places: &Places, options: Options) -> Result<Self, Failure> {
        let home = absolute(&options.home)?;
        if ask(&home, &Request::Status)?.is_some() {
            return Err(Failure::Needs(format!("a network already runs in {}; stop it with `down`", home.display())));
        }
        gateways::check_count(options.gateways, options.app)?;
        let orphans = supervisor::stop_orphans(&home)?;
        if orphans > 0 {
            say!("stopped {orphans} processes that an earlier supervisor left behind");
        }
        if options.earlier == Earlier::Removed && home.exists() {
            remove(&home)?;
        }
        if options.built == Built::Now {
            binaries::build_nodes(places)?;
            if options.app == App::Careledger {
                binaries::build(places)?;
            }
        }
        let choosing = ports::choose()?;
        let (record, moved_from) = set_up(places, &home, &options, &choosing)?;
        let supervisor = supervisor::launch(&places.program, &home, options.lifetime)?;
        let network = Self { home, record, moved_from, _supervisor: Some(supervisor) };
        network.wait_until_ready()?;
        Ok(network)
    }

    /// The network of a home, running or not.
    pub fn open(home: &Path) -> Result<Self, Failure> {
        let home = absolute(home)?;
        match Record::load(&home)? {
            Some(record) => Ok(Self { home, record, moved_from: None, _supervisor: None }),
            None => Err(Failure::Needs(format!("no network was set up in {}; start one with `up`", home.display()))),
        }
    }

    /// How it was set up.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The first of the ports that it had before, or would have where nobody else has them, if this start had to
    /// choose others.
    pub fn moved_from(&self) -> Option<u16> {
        self.moved_from
    }

    /// The RPC of validator `index`.
    pub fn rpc(&self, index: usize) -> Rpc {
        Rpc::new(self.record.rpc_address(index))
    }

    /// Its processes; `None` when it does not run.
    pub fn processes(&self) -> Result<Option<Vec<ProcessStatus>>, Failure> {
        ask(&self.home, &Request::Status)
    }

    /// Tells the story on it.
    pub fn tell_story(&self, places: &Places) -> Result<(), Failure> {
        let Record { manifest, gateways, .. } = &self.record;
        if *gateways == 0 {
            return Err(Failure::Needs("the story needs gateways; start the network with `up --gateways 2`".into()));
        }
        let at = self.record.endpoints();
        let world = World::open(
            places,
            &self.home,
            (self.record.rpc_address(0), Trust::FirstUse),
            manifest.chain_id.clone(),
            &at,
        )?;
        story::tell(&world).map(drop)
    }

    /// Stops it. Whether it ran.
    pub fn down(&self) -> Result<bool, Failure> {
        let asked = ask(&self.home, &Request::Stop)?.is_some();
        Ok(supervisor::stop_orphans(&self.home)? > 0 || asked)
    }

    /// Kills a validator, node and application, at once (SIGKILL). It stays dead until [`Self::revive`].
    pub fn kill(&self, validator: usize) -> Result<(), Failure> {
        self.ask_running(&Request::Kill(group(validator)))
    }

    /// Starts a killed validator again.
    pub fn revive(&self, validator: usize) -> Result<(), Failure> {
        self.ask_running(&Request::Revive(group(validator)))
    }

    fn ask_running(&self, request: &Request) -> Result<(), Failure> {
        match ask(&self.home, request)? {
            Some(_) => Ok(()),
            None => Err(self.does_not_run()),
        }
    }

    /// Checks that all validators agree; see [`agreement`].
    pub fn check_agreement(&self) -> Result<Agreed, Failure> {
        agreement(&self.rpcs())
    }

    /// Waits until every validator has the block at `height`.
    pub fn wait_for_height(&self, height: u64) -> Result<(), Failure> {
        wait_for_height(&self.rpcs(), height)
    }

    fn rpcs(&self) -> Vec<Rpc> {
        (0..self.record.manifest.validators).map(|index| self.rpc(index)).collect()
    }

    /// Checks that every validator's height moves: a node whose consensus failed answers on its RPC as if
    /// nothing had happened. The key-value store is given a transaction; CareLedger has its heartbeat block.
    pub fn check_progress(&self) -> Result<Agreed, Failure> {
        if self.processes()?.is_none() {
            return Err(self.does_not_run());
        }
        progress(&self.rpcs(), |rpc, before| {
            if self.record.app == App::Careledger {
                return Ok(());
            }
            // Different from any other: the node refuses a transaction it has seen.
            rpc.broadcast(format!("check-{before}={}", std::process::id()).as_bytes())
        })
    }

    fn does_not_run(&self) -> Failure {
        Failure::Needs(format!("no network runs in {}; start it with `up`", self.home.display()))
    }

    fn wait_until_ready(&self) -> Result<(), Failure> {
        let see_logs =
            |failure| Failure::Check(format!("{failure}; the logs are in {}", self.home.join("logs").display()));
        self.wait_for_height(1).map_err(see_logs)?;
        if self.record.gateways > 0 {
            gateways::wait_until_ready(&self.home, &self.record.endpoints())?;
        }
        Ok(())
    }
}

/// Checks that a node's height moves within a time.
pub fn moves(rpc: &Rpc, within: Duration) -> Result<(), Failure> {
    let before = rpc.tip()?.height;
    wait("the height to move", within, || rpc.tip().is_ok_and(|tip| tip.height > before))
}

/// Gives the record, and where its ports began before if others are taken now.
fn set_up(
    places: &Places,
    home: &Path,
    options: &Options,
    choosing: &Choosing,
) -> Result<(Record, Option<u16>), Failure> {
    let earlier = Record::load(home)?;
    let usual = earlier.as_ref().map_or(ports::range_of(options.manifest.base_port), |earlier| earlier.first_port);
    let count = Record::ports(&options.manifest, options.gateways);
    let record = Record {
        first_port: choosing.find(options.manifest.base_port, count)?,
        manifest: options.manifest.clone(),
        app: options.app,
        node: options.node,
        layout: Layout::Loopback,
        gateways: options.gateways,
    };
    match earlier {
        None => {
            if home.exists() {
                // Whatever is there, it is not a network that was set up to its end.
                remove(home)?;
            }
            prepare::create(places, home, &record)?;
        }
        Some(earlier) if earlier.app != record.app || earlier.manifest.validators != record.manifest.validators => {
            return Err(Failure::Needs(format!(
                "{} holds another network; remove it with `up --fresh` or choose another --home",
                home.display()
            )));
        }
        Some(_) => {}
    }
    prepare::configure(places, home, &record)?;
    let mut plan = prepare::plan(places, home, &record)?;
    if record.gateways > 0 {
        prepare::gateways(places, home, &record)?;
        plan.processes.extend(gateways::processes(places, home, &prepare::ledgers(&record)));
    }
    plan.save(home)?;
    record.save(home)?;
    let moved_from = Some(usual).filter(|usual| *usual != record.first_port);
    Ok((record, moved_from))
}
