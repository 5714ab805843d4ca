//! Go, for CometBFT.
//!
//! A Go from 1.21 on fetches the version that a module asks for by itself. Debian 12 has 1.19, which cannot;
//! but it can download the module that newer ones fetch, checked against Go's checksum database like any other.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::packages;
use crate::failure::{Doing, Failure};
use crate::places::{self, Places};
use crate::program::{Program, find};

/// From this version on, Go fetches a newer toolchain when a module asks for it.
const FETCHES_TOOLCHAINS_FROM: Version = Version(1, 21);
/// The toolchain that an older Go is used to fetch.
const TOOLCHAIN: &str = "1.24.13";

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// Finds or installs Go.
pub fn provide(places: &Places) -> Result<PathBuf, Failure> {
    let fetched = toolchain_folder(places)?.join("bin/go");
    for candidate in [find("go"), Some("/usr/local/go/bin/go".into()), Some(fetched)].into_iter().flatten() {
        if version(&candidate).is_some_and(|version| version >= FETCHES_TOOLCHAINS_FROM) {
            return Ok(candidate);
        }
    }
    if cfg!(target_os = "macos") {
        packages::brew_install("go")?;
    } else if find("go").is_none() {
        packages::apt_install(&["golang-go", "ca-certificates"])?;
    }
    let installed = find("go").ok_or_else(|| Failure::Needs("Go is still missing after the installation".into()))?;
    if version(&installed).is_some_and(|version| version >= FETCHES_TOOLCHAINS_FROM) {
        return Ok(installed);
    }
    fetch_toolchain(places, &installed)
}

/// Variables under which Go may fetch the toolchain that the module asks for.
pub const ENVIRONMENT: [(&str, &str); 2] = [("GOTOOLCHAIN", "auto"), ("GOFLAGS", "")];

#[derive(Deserialize)]
struct Download {
    #[serde(rename = "Dir")]
    folder: PathBuf,
}

fn fetch_toolchain(places: &Places, old: &Path) -> Result<PathBuf, Failure> {
    say!("fetching Go {TOOLCHAIN}: about a minute, once");
    let folder = places.cache.join("go");
    places::make_folder(&folder)?;
    places::write(&folder.join("go.mod"), "module toolchain\n")?;
    let answer = Program::new(old)
        .args(["mod", "download", "-json"])
        .arg(format!("golang.org/toolchain@{}", module_version()?))
        .in_folder(&folder)
        .env("GOMODCACHE", folder.join("modules"))
        .env("GOFLAGS", "-mod=mod -modcacherw")
        .without_env("GOROOT")
        .capture()?;
    let Download { folder } = serde_json::from_str(&answer)
        .map_err(|error| Failure::Check(format!("`go mod download`: {error}: {answer}")))?;
    // A module's files are not executable. The command itself comes last: it is what marks the end.
    make_executable(&folder.join("pkg/tool"))?;
    make_executable(&folder.join("bin"))?;
    Ok(folder.join("bin/go"))
}

fn make_executable(folder: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).doing(|| format!("reading {}", folder.display()))? {
        let path = entry.doing(|| format!("reading {}", folder.display()))?.path();
        if path.is_dir() {
            make_executable(&path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .doing(|| format!("making {} executable", path.display()))?;
        }
    }
    Ok(())
}

fn toolchain_folder(places: &Places) -> Result<PathBuf, Failure> {
    let module = format!("golang.org/toolchain@{}", module_version()?);
    Ok(places.cache.join("go/modules").join(module))
}

/// The toolchain's version as a module, in Go's own names of systems and architectures.
fn module_version() -> Result<String, Failure> {
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => {
            return Err(Failure::Needs(format!("install Go {TOOLCHAIN} or newer for {other}")));
        }
    };
    let system = if OS == "macos" { "darwin" } else { OS };
    Ok(format!("v0.0.1-go{TOOLCHAIN}.{system}-{architecture}"))
}

fn version(go: &Path) -> Option<Version> {
    parse(&Program::new(go).arg("version").env("GOTOOLCHAIN", "local").capture().ok()?)
}

/// Reads the answer of `go version`: `go version go1.24.13 linux/amd64`.
fn parse(answer: &str) -> Option<Version> {
    let version = answer.split_whitespace().nth(2)?.strip_prefix("go")?;
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    // `1.25rc1` is a 25.
    let minor = minor.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
    Some(Version(major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_go_prints_them() {
        for (answer, wanted) in [
            ("go version go1.19.8 linux/amd64", Some(Version(1, 19))),
            ("go version go1.26.8 linux/amd64\n", Some(Version(1, 26))),
            ("go version go1.25rc1 darwin/arm64", Some(Version(1, 25))),
            ("go version go1.22 linux/amd64", Some(Version(1, 22))),
            ("go version devel +abc linux/amd64", None),
            ("", None),
        ] {
            assert_eq!(parse(answer), wanted, "{answer}");
        }
    }

    #[test]
    fn the_pinned_toolchain_is_new_enough_for_the_module() {
        let module = concat!(env!("CARGO_MANIFEST_DIR"), "/cometbft/go.mod");
        let module = fs::read_to_string(module).unwrap();
        let wanted = module.lines().find_map(|line| line.strip_prefix("go ")).unwrap();
        let numbers = |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
        assert!(numbers(TOOLCHAIN) >= numbers(wanted), "{TOOLCHAIN} is older than {wanted}");
    }
}
