//! Python environments for what the tests run of others.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::places::{self, Places};
use crate::program::Program;

/// The folder of the programs of an environment with what `project` requires (`requirements.txt`), made where it is
/// missing or of other requirements.
///
/// # Errors
/// Where Python or the packages cannot be had.
pub fn environment(places: &Places, project: &Path) -> Result<PathBuf, Failure> {
    let name = project.file_name().unwrap_or_default();
    let folder = places.target.join("python").join(name);
    let requirements = project.join("requirements.txt");
    let wanted = places::read(&requirements)?;
    let installed = folder.join("installed.txt");
    let programs = folder.join("bin");
    if places::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(programs);
    }
    say!("installing {} into {}: a minute, once", name.display(), folder.display());
    Program::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).run()?;
    let pip = Program::new(programs.join("python")).args(["-m", "pip", "install", "--quiet", "--requirement"]);
    pip.arg(&requirements).run()?;
    places::write(&installed, &wanted)?;
    Ok(programs)
}
