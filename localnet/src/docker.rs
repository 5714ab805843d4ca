//! The network in containers: laid out by `lay-out` inside one, tried as a whole by `docker-check`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::binaries;
use crate::failure::{Doing, Failure};
use crate::gateways;
use crate::manifest::Manifest;
use crate::network::agreement::{Agreed, agreement, wait_for_height};
use crate::network::prepare;
use crate::network::record::{App, Layout, NodeKind, Record};
use crate::places::{self, Places};
use crate::program::{Program, find};
use crate::rpc::Rpc;
use crate::story::{
    self,
    world::{Trust, World},
};

/// The image's name in compose.yaml.
const IMAGE: &str = "careledger:local";
/// The project's name, so that another network of the same compose file is left alone.
const PROJECT: &str = "careledger-check";
/// The RPC ports that compose.yaml publishes.
const RPC_PORTS: [u16; 4] = [26_657, 26_757, 26_857, 26_957];
/// Folders that compose.yaml mounts. A new volume takes over what the image has there, and its owner.
const MOUNTED: [&str; 5] = ["validator", "network/v0", "network/v1", "network/v2", "network/v3"];

/// Makes keys, genesis and configuration of four validators in containers, unless they are there.
pub fn lay_out(places: &Places, home: &Path, network: &str) -> Result<(), Failure> {
    if Record::load(home)?.is_some() {
        say!("{} is laid out already", home.display());
        return Ok(());
    }
    let manifest = Manifest::load(&places.manifest(network))?;
    let record = Record {
        gateways: manifest.gateways,
        manifest,
        app: App::Careledger,
        node: NodeKind::Careledger,
        layout: Layout::Containers,
        first_port: 0,
    };
    prepare::create(places, home, &record)?;
    prepare::configure(places, home, &record)?;
    if record.gateways > 0 {
        prepare::gateways(places, home, &record)?;
    }
    // Last: it is what says that all of this was finished.
    record.save(home)
}

/// Builds the image, starts the network, checks it, takes it down. Says so where no docker engine answers.
pub fn check(places: &Places, base: &str) -> Result<(), Failure> {
    if !Program::new("docker").arg("info").succeeds() {
        say!("skipped: no docker engine answers");
        return Ok(());
    }
    build_image(places, base)?;
    let started = compose(places)?.args(["up", "--detach", "--no-build"]).run().and_then(|()| {
        let rpcs: Vec<_> = RPC_PORTS.iter().map(|port| Rpc::new(format!("http://127.0.0.1:{port}"))).collect();
        wait_for_height(&rpcs, 1)?;
        let Agreed { height } = agreement(&rpcs)?;
        wait_for_height(&rpcs, height + 1)?;
        tell_story(places)?;
        agreement(&rpcs)
    });
    if started.is_err() {
        compose(places)?.args(["logs", "--tail", "50"]).run()?;
    }
    compose(places)?.args(["down", "--volumes"]).run()?;
    let Agreed { height } = started?;
    say!("four validators and two gateways in containers told the story and agree up to height {height}");
    Ok(())
}

/// Tells the story from this machine, with the keys that `setup` made in the containers.
fn tell_story(places: &Places) -> Result<(), Failure> {
    let copy = places.target.join("docker-network");
    if copy.exists() {
        // Of an earlier check.
        fs::remove_dir_all(&copy).doing(|| format!("removing {}", copy.display()))?;
    }
    let container = compose(places)?.args(["ps", "--quiet", "gateway0"]).capture()?;
    Program::new("docker").args(["cp", &format!("{}:/network", container.trim())]).arg(&copy).run()?;
    let record = Record::load(&copy)?.ok_or_else(|| Failure::Check("the containers laid out no network".into()))?;
    let at = record.endpoints();
    gateways::wait_until_ready(&copy, &at)?;
    let rpc = format!("http://127.0.0.1:{}", RPC_PORTS[0]);
    story::tell(&World::open(places, &copy, (rpc, Trust::FirstUse), record.manifest.chain_id, &at)?).map(drop)
}

fn build_image(places: &Places, base: &str) -> Result<(), Failure> {
    let recipes = places.repository.join("localnet/docker");
    let build = Program::new("docker").args(["build", "--tag", IMAGE, "--build-arg", &format!("BASE={base}")]);
    if cfg!(target_os = "linux") {
        binaries::build(places)?;
        binaries::build_nodes(places)?;
        let context = stage(places, base)?;
        return build.arg("--file").arg(recipes.join("Dockerfile.prebuilt")).arg(context).run();
    }
    say!("building the image from sources: about an hour, once");
    // For the story, which is told from this machine.
    binaries::build(places)?;
    build.arg("--file").arg(recipes.join("Dockerfile")).arg(&places.repository).run()
}

/// Lays the image's files out in a folder; returns it.
fn stage(places: &Places, base: &str) -> Result<PathBuf, Failure> {
    let context = places.target.join("docker");
    if context.exists() {
        fs::remove_dir_all(&context).doing(|| format!("removing {}", context.display()))?;
    }
    let tree = context.join("tree");
    let product = tree.join("opt/careledger");
    let mut programs = Vec::new();
    for (folder, names) in [
        ("debug", &["careledgerd", "careledger-gateway", "careledger-localnet"][..]),
        ("cometbft", &["careledger-node"]),
    ] {
        for name in names {
            let file = places.target.join(folder).join(name);
            copy_file(&file, &product.join("target").join(folder).join(name))?;
            programs.push(file);
        }
    }
    prepare::copy(&places.repository.join("localnet/networks"), &product.join("localnet/networks"))?;
    for folder in MOUNTED.iter().chain(&["tmp"]) {
        places::make_folder(&tree.join(folder))?;
        // An empty folder would not be copied everywhere.
        places::write(&tree.join(folder).join(".keep"), "")?;
    }
    if base == "scratch" {
        for library in libraries(&programs)? {
            let below_root = library.strip_prefix("/").unwrap_or(&library);
            copy_file(&library, &tree.join(below_root))?;
        }
    }
    Ok(context)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Failure> {
    if let Some(parent) = to.parent() {
        places::make_folder(parent)?;
    }
    fs::copy(from, to).doing(|| format!("copying {}", from.display()))?;
    Ok(())
}

/// The shared libraries that programs load, and the loader itself.
fn libraries(programs: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for program in programs {
        // A program that is linked as a whole has none, and `ldd` says so with an exit code.
        let listed = Program::new("ldd").arg(program).capture().unwrap_or_default();
        found.extend(listed.lines().filter_map(library));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The path in a line of `ldd`: `libc.so.6 => /lib/libc.so.6 (0x…)` or `/lib64/ld-linux.so.2 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.split("=>").last()?.split_whitespace().next()?;
    path.starts_with('/').then(|| path.into())
}

/// `docker compose`, or docker-compose where that is not there.
fn compose(places: &Places) -> Result<Program, Failure> {
    let file = places.repository.join("localnet/docker/compose.yaml");
    let program = if Program::new("docker").args(["compose", "version"]).succeeds() {
        Program::new("docker").arg("compose")
    } else if find("docker-compose").is_some() {
        Program::new("docker-compose")
    } else {
        return Err(Failure::Needs("install docker compose: the engine answers, but there is no compose".into()));
    };
    Ok(program.args(["--project-name", PROJECT, "--file"]).arg(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::record::PUBLISHED_GATEWAY_PORTS;

    #[test]
    fn every_folder_that_a_container_mounts_is_in_both_images_with_its_owner() {
        let compose = include_str!("../docker/compose.yaml");
        let mounts = compose.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split_once(":/"));
        let mounts: Vec<&str> = mounts.map(|(_, folder)| folder).filter(|folder| folder.contains("/v")).collect();
        assert_eq!(mounts, ["network/v0", "network/v1", "network/v2", "network/v3"]);
        let from_sources = include_str!("../docker/Dockerfile");
        for folder in mounts.iter().chain(&["validator"]) {
            assert!(MOUNTED.contains(folder), "{folder}");
            assert!(from_sources.contains(&format!("/tree/{folder}")), "{folder}");
        }
    }

    #[test]
    fn the_libraries_of_a_program_are_read_from_ldd() {
        for (line, wanted) in [
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)", Some("/lib/x86_64-linux-gnu/libc.so.6")),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some("/lib64/ld-linux-x86-64.so.2")),
            ("\tlibmissing.so => not found", None),
            ("\tnot a dynamic executable", None),
        ] {
            assert_eq!(library(line), wanted.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn compose_publishes_the_ports_that_are_checked_on_loopback_only() {
        let compose = include_str!("../docker/compose.yaml");
        for port in RPC_PORTS {
            assert!(compose.contains(&format!("\"127.0.0.1:{port}:26657\"")), "{port}");
        }
        for port in PUBLISHED_GATEWAY_PORTS {
            assert!(compose.contains(&format!("\"127.0.0.1:{port}:8080\"")), "{port}");
        }
        assert_eq!(compose.matches("ports:").count(), RPC_PORTS.len() + PUBLISHED_GATEWAY_PORTS.len());
    }
}
