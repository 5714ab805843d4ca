//! What the supervisor keeps running.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::places;

/// When a process starts, and, in the opposite order, when it stops.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The ledger application of a validator.
    Application,
    /// Its CometBFT node.
    Node,
    /// A gateway.
    Gateway,
}

/// One process. A plan that an earlier tool wrote may say more, and what it started must be found all the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Process {
    /// Unique in the plan; names the log and the pid file.
    pub name: String,
    /// What is killed and revived together: a validator, or one gateway.
    pub group: String,
    /// When it starts.
    pub stage: Stage,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The Unix socket it listens on. What a killed predecessor left of it is removed before a start.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The RPC of the ledger that must answer before each start of it: then a restart says that something is wrong.
    #[serde(default)]
    pub waits_for: Option<String>,
}

/// All processes of one home.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The first of the ports that the processes use. The supervisor claims the range.
    pub first_port: u16,
    /// The processes, in starting order within a stage.
    pub processes: Vec<Process>,
}

impl Plan {
    /// Whether a home has one.
    pub fn is_in(home: &Path) -> bool {
        Self::file(home).exists()
    }

    /// Reads a home's plan.
    pub fn load(home: &Path) -> Result<Self, Failure> {
        let file = Self::file(home);
        serde_json::from_str(&places::read(&file)?)
            .map_err(|error| Failure::Check(format!("{}: {error}", file.display())))
    }

    /// Writes it into a home.
    pub fn save(&self, home: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::Check(error.to_string()))?;
        places::write(&Self::file(home), &text)
    }

    fn file(home: &Path) -> PathBuf {
        home.join("plan.json")
    }
}

/// Where a process of a home writes its output.
pub fn log_file(home: &Path, process: &str) -> PathBuf {
    home.join("logs").join(process).with_extension("log")
}

/// Where the process id of a process of a home is recorded while it runs.
pub fn pid_file(home: &Path, process: &str) -> PathBuf {
    home.join("pids").join(process).with_extension("pid")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::supervisor::stop_orphans;

    /// Otherwise what that tool started goes on unseen.
    #[test]
    fn a_plan_of_an_earlier_tool_that_says_more_is_read() {
        let home = tempfile::tempdir().unwrap();
        let process = r#"{"name": "a", "group": "a", "stage": "gateway", "program": "p", "arguments": [],
            "environment": {"MALLOC_ARENA_MAX": "2"}}"#;
        let text = format!(r#"{{"first_port": 1, "processes": [{process}]}}"#);
        fs::write(Plan::file(home.path()), text).unwrap();
        assert_eq!(Plan::load(home.path()).unwrap().processes[0].name, "a");
        assert_eq!(stop_orphans(home.path()).unwrap(), 0);
    }
}
