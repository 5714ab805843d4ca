//! What is built of Java, by Maven: HAPI's client and validator, and its server to measure beside ours.

use std::path::Path;
use std::process::Command;

use super::{Need, provide};
use crate::failure::Failure;
use crate::places::{self, Places};
use crate::program::Program;

/// Compilers of this version on, which HAPI asks for.
pub const MAJOR_MIN: u32 = 17;

/// In full: of a plugin's short name Maven does not say why it cannot be had.
const DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin";

/// A Maven project of the checkout.
#[derive(Clone, Copy, Debug)]
pub struct Project {
    /// Its folder in the checkout.
    folder: &'static str,
    /// The folder in cargo's target folder that it is built in.
    build: &'static str,
    /// What Maven fetches for it, once.
    fetched: &'static str,
}

impl Project {
    /// HAPI's client and validator.
    pub const CHECKS: Self =
        Self { folder: "tests/clients/hapi", build: "hapi", fetched: "HAPI FHIR by Maven: 170 MB" };
    /// HAPI's server.
    pub const SERVER: Self =
        Self { folder: "tests/servers/hapi", build: "hapi-server", fetched: "HAPI FHIR JPA by Maven: 300 MB" };
}

/// The Java programs of a project, compiled.
pub struct Classes {
    path: String,
}

impl Classes {
    /// Fetches what a project needs where it is missing, and compiles it.
    ///
    /// # Errors
    /// [`Failure::Needs`] where Java or Maven cannot be had, [`Failure::Unreachable`] where Maven Central is; everything
    /// else that Maven stumbles over, and what does not compile, as a failure.
    pub fn provide(places: &Places, project: &Project) -> Result<Self, Failure> {
        provide(&[Need::Java])?;
        let build = places.target.join(project.build);
        places::make_folder(&build)?;
        let list = build.join("class-path.txt");
        if !list.exists() {
            say!("fetching {}, one to five minutes, once", project.fetched);
        }
        maven(places, project)
            // Of what could not be fetched before, Maven would only repeat why, for a day.
            .arg("--update-snapshots")
            .args(["resolve-plugins", "build-classpath"].map(|goal| format!("{DEPENDENCIES}:{goal}")))
            .arg(format!("-Dmdep.outputFile={}", list.display()))
            .arg(option(&build))
            .fetch("Maven Central")?;
        maven(places, project).args(["--offline", "compile"]).arg(option(&build)).run()?;
        Ok(Self { path: format!("{}:{}", build.join("classes").display(), places::read(&list)?.trim()) })
    }

    /// One of the programs, by class, with at most so much memory.
    pub fn program(&self, class: &str, mebibytes_max: u32) -> Program {
        Program::new("java").args(self.arguments(class, mebibytes_max))
    }

    /// The same, to be started and left running.
    pub fn command(&self, class: &str, mebibytes_max: u32) -> Command {
        let mut command = Command::new("java");
        command.args(self.arguments(class, mebibytes_max));
        command
    }

    fn arguments(&self, class: &str, mebibytes_max: u32) -> [String; 4] {
        [format!("-Xmx{mebibytes_max}m"), "-cp".to_owned(), self.path.clone(), class.to_owned()]
    }
}

fn maven(places: &Places, project: &Project) -> Program {
    Program::new("mvn").args(["--batch-mode", "--quiet"]).in_folder(&places.repository.join(project.folder))
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
