//! Python environments for what the tests run of others.

use std::path::{Path, PathBuf};

use super::{Need, provide};
use crate::failure::Failure;
use crate::places::{self, Places};
use crate::program::Program;

/// What an environment is made with: Debian has both modules in a package of their own, and a Python without them. The
/// version is the one that schemathesis asks for.
const CAN_MAKE_ENVIRONMENTS: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

/// Says which requirements an environment has; written last.
const INSTALLED: &str = "installed.txt";

/// Whether this machine's Python makes environments.
pub fn makes_environments() -> bool {
    Program::new("python3").args(["-c", CAN_MAKE_ENVIRONMENTS]).succeeds()
}

/// The folder of the programs of an environment with what `project` requires (`requirements.txt`), made where it is
/// missing or of other requirements, in cargo's target folder.
///
/// # Errors
/// As [`environment_in`].
pub fn environment(places: &Places, project: &Path) -> Result<PathBuf, Failure> {
    let name = project.file_name().unwrap_or_default();
    environment_in(&places.target.join("python").join(name), project)
}

/// The same, in a folder of its own.
///
/// # Errors
/// [`Failure::Needs`] where Python is missing and cannot be installed, [`Failure::Unreachable`] where PyPI is, and
/// [`Failure::Program`] where it says no.
pub fn environment_in(folder: &Path, project: &Path) -> Result<PathBuf, Failure> {
    let programs = folder.join("bin");
    if is_current(folder, project) {
        return Ok(programs);
    }
    provide(&[Need::Python])?;
    let requirements = project.join("requirements.txt");
    let name = project.file_name().unwrap_or_default();
    say!("installing {} into {}: a minute, once", name.display(), folder.display());
    Program::new("python3").args(["-m", "venv", "--clear"]).arg(folder).run()?;
    let pip =
        Program::new(programs.join("python")).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg("--requirement").arg(&requirements).fetch("PyPI")?;
    places::write(&folder.join(INSTALLED), &places::read(&requirements)?)?;
    Ok(programs)
}

/// Whether an environment has what the project requires.
pub fn is_current(folder: &Path, project: &Path) -> bool {
    let wanted = places::read(&project.join("requirements.txt"));
    wanted.is_ok_and(|wanted| places::read(&folder.join(INSTALLED)).is_ok_and(|installed| installed == wanted))
}
