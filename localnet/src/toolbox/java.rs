//! What is built of Java: HAPI's client and validator, by Maven.

use std::path::Path;

use super::{Need, provide};
use crate::failure::Failure;
use crate::places::{self, Places};
use crate::program::Program;

/// Compilers of this version on, which HAPI asks for.
pub const MAJOR_MIN: u32 = 17;

/// In full: of a plugin's short name Maven does not say why it cannot be had.
const DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin";

/// The Java programs of `tests/clients/hapi`, compiled.
pub struct Hapi {
    classes: String,
}

impl Hapi {
    /// Fetches HAPI where it is missing, and compiles what drives it.
    ///
    /// # Errors
    /// [`Failure::Needs`] where Java or Maven cannot be had, [`Failure::Unreachable`] where Maven Central is; everything
    /// else that Maven stumbles over, and what does not compile, as a failure.
    pub fn provide(places: &Places) -> Result<Self, Failure> {
        provide(&[Need::Java])?;
        let build = places.target.join("hapi");
        places::make_folder(&build)?;
        let list = build.join("class-path.txt");
        if !list.exists() {
            say!("fetching HAPI FHIR by Maven: 170 MB, one to five minutes, once");
        }
        maven(places)
            // Of what could not be fetched before, Maven would only repeat why, for a day.
            .arg("--update-snapshots")
            .args(["resolve-plugins", "build-classpath"].map(|goal| format!("{DEPENDENCIES}:{goal}")))
            .arg(format!("-Dmdep.outputFile={}", list.display()))
            .arg(option(&build))
            .fetch("Maven Central")?;
        maven(places).args(["--offline", "compile"]).arg(option(&build)).run()?;
        let classes = format!("{}:{}", build.join("classes").display(), places::read(&list)?.trim());
        Ok(Self { classes })
    }

    /// One of its programs, by class, with at most so much memory.
    pub fn program(&self, class: &str, mebibytes_max: u32) -> Program {
        Program::new("java").args([&format!("-Xmx{mebibytes_max}m"), "-cp", &self.classes, class])
    }
}

fn maven(places: &Places) -> Program {
    let project = places.repository.join("tests/clients/hapi");
    Program::new("mvn").args(["--batch-mode", "--quiet"]).in_folder(&project)
}

fn option(build: &Path) -> String {
    format!("-Dcareledger.build={}", build.display())
}

/// The version of the compiler that is on the search path.
pub fn major() -> Option<u32> {
    parse(&Program::new("javac").arg("-version").capture().ok()?)
}

/// Reads the answer of `javac -version`: `javac 17.0.15`.
fn parse(answer: &str) -> Option<u32> {
    answer.split_whitespace().nth(1)?.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_java_prints_them() {
        for (answer, wanted) in [
            ("javac 17.0.15", Some(17)),
            ("javac 21", Some(21)),
            ("javac 25-ea\n", Some(25)),
            ("javac 1.8.0_402", Some(1)),
            ("", None),
        ] {
            assert_eq!(parse(answer), wanted, "{answer}");
        }
    }
}
