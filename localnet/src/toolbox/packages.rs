//! The system's package manager.

use super::Need;
use crate::failure::Failure;
use crate::program::{Program, find};

/// Installs packages for what is missing, or says how to.
pub fn install(missing: &[Need]) -> Result<(), Failure> {
    if cfg!(target_os = "macos") {
        return install_with_homebrew(missing);
    }
    let packages: Vec<_> = missing.iter().flat_map(|need| debian_packages(*need)).copied().collect();
    apt_install(&packages)
}

/// Installs Debian packages as root; otherwise prints the command and stops.
pub fn apt_install(packages: &[&str]) -> Result<(), Failure> {
    let names = packages.join(" ");
    if find("apt-get").is_none() {
        return Err(Failure::Needs(format!(
            "this machine has no apt-get; install what Debian calls {names}, then try again"
        )));
    }
    if !is_root() {
        return Err(Failure::Needs(format!(
            "run this, then try again:\n  sudo apt-get update && sudo apt-get install --yes {names}"
        )));
    }
    say!("installing {names} with apt-get: one to three minutes, once");
    let apt = || Program::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    let install = apt().args(["install", "--yes", "--no-install-recommends", "--quiet"]).args(packages);
    let installed = apt().args(["update", "--quiet"]).capture().and_then(|_| install.capture());
    // A mirror that is away, a disk that is full: whatever it is, it says nothing of the code.
    installed.map(drop).map_err(|failure| Failure::Needs(format!("{names} cannot be installed: {failure}")))
}

fn install_with_homebrew(missing: &[Need]) -> Result<(), Failure> {
    if missing.iter().any(|need| matches!(need, Need::CompilerAndMake | Need::Libclang)) {
        // It opens a dialogue, so it cannot be done for the user.
        return Err(Failure::Needs("run this, then try again:\n  xcode-select --install".into()));
    }
    for need in missing {
        match need {
            Need::Postgres => brew_install("postgresql@15")?,
            // Its formula brings a compiler of its own.
            Need::Java => brew_install("maven")?,
            // The others were refused above.
            Need::Python | Need::CompilerAndMake | Need::Libclang => brew_install("python3")?,
        }
    }
    Ok(())
}

/// Installs a Homebrew formula; without Homebrew says what to do.
pub fn brew_install(formula: &str) -> Result<(), Failure> {
    if find("brew").is_none() {
        return Err(Failure::Needs(format!("install Homebrew (https://brew.sh), then run: brew install {formula}")));
    }
    say!("installing {formula} with Homebrew: one to three minutes, once");
    let installed = Program::new("brew").args(["install", formula]).run();
    installed.map_err(|failure| Failure::Needs(format!("{formula} cannot be installed: {failure}")))
}

fn debian_packages(need: Need) -> &'static [&'static str] {
    match need {
        Need::CompilerAndMake => &["build-essential", "perl"],
        Need::Libclang => &["libclang-dev"],
        Need::Python => &["python3", "python3-venv"],
        Need::Postgres => &["postgresql"],
        Need::Java => &["default-jdk-headless", "maven"],
    }
}

fn is_root() -> bool {
    Program::new("id").arg("-u").capture().is_ok_and(|id| id.trim() == "0")
}
