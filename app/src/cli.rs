//! The command line, in the manner of Cosmos daemons.
//!
//! One file per group of commands. Results go to standard output, everything else to standard
//! error. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 74 a fault of the node, 75 an upgrade
//! is due that this program does not know.

mod access;
mod accounts;
mod audit;
mod config;
mod consent;
mod describe;
mod export;
mod genesis;
mod governance;
mod keys;
mod light;
mod load;
mod messages;
mod node;
mod parse;
mod prepare;
mod query;
mod rollback;
mod sim;
mod trust;
mod tx;

use std::{ffi::OsString, fmt, path::PathBuf, process::ExitCode};

use careledger_app::{client::ClientError, query::NOT_RETAINED, wallet::keystore::KeystoreError};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};

/// The CareLedger ledger: who may see what, what exists, and who looked.
///
/// One program for those who run a validator (init, start, export, rollback, genesis), for those who hold keys
/// (keys, tx) and for everyone who asks (query). No personal data stands on the ledger, and none
/// is accepted by any command.
#[derive(Debug, Parser)]
#[command(name = "careledgerd", version, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  A development validator (CometBFT runs beside it):
    careledgerd keys add registrar
    careledgerd init --chain-id careledger-dev-1 \\
        --registrar $(careledgerd keys show registrar --address)
    careledgerd start --abci unix:///tmp/careledger.sock

  A patient opens a window for a clinic, and closes it:
    careledgerd tx grant-consent --from alice --derive care1hospital… --subject 5d86… \\
        --grantee care1clinic… --mode view --expires-at 2027-01-31 --terms 9f31… --body 42c7…
    careledgerd tx revoke-consent --from alice --derive care1hospital… --subject 5d86… --grant 77ab…

  Anyone checks it without trusting the answer:
    careledgerd query grant 5d86… 77ab… --prove --trust-height 1042 --trust-hash 9f31…

Every command explains itself with --help.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a home folder: configuration and the ledger's part of CometBFT's genesis file.
    Init(node::Init),
    /// Serve the ledger to CometBFT, until it is stopped.
    Start(node::Start),
    /// Make, list and show the keys in the home folder.
    Keys(keys::Keys),
    /// Sign a transaction and send it.
    Tx(Box<tx::Tx>),
    /// Ask a running ledger.
    Query(Box<query::Query>),
    /// See and change which header of a chain this home trusts.
    Light(Box<light::Light>),
    /// Print the committed state as JSON.
    Export(export::Export),
    /// Undo the last block of the committed state, as `cometbft rollback` does with the node's.
    Rollback(rollback::Rollback),
    /// Check a genesis file of CometBFT, or make one of a chain that continues another.
    Genesis(genesis::Genesis),
    /// Play networks from seeds, with crashes and lies, against a model of the rules.
    Sim(sim::Sim),
    /// Send a bounded load of signed consents and print what the network made of it.
    Load(load::Load),
}

/// Where keys, configuration and state are.
#[derive(Debug, Clone, Args)]
struct Home {
    /// Folder of keys, configuration and state [default: ~/.careledger].
    #[arg(long, global = true, env = "CARELEDGER_HOME", value_name = "FOLDER")]
    home: Option<PathBuf>,
}

impl Home {
    fn path(&self) -> PathBuf {
        self.home.clone().unwrap_or_else(|| {
            let user = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
            user.join(".careledger")
        })
    }
}

/// Which ledger is asked.
#[derive(Debug, Clone, Args)]
struct Node {
    /// JSON-RPC address of a node, or of a gateway with an embedded ledger.
    #[arg(long, global = true, env = "CARELEDGER_NODE", default_value = "http://127.0.0.1:26657", value_name = "URL")]
    node: String,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Debug, Clone, Args)]
struct Format {
    /// How the result is printed.
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
}

impl Format {
    /// Prints a flat JSON object, for people as `name: value` lines.
    fn print(&self, value: &serde_json::Value) {
        match (self.output, value) {
            (Output::Text, serde_json::Value::Object(fields)) => {
                for (name, value) in fields {
                    match value {
                        serde_json::Value::String(text) => println!("{name}: {text}"),
                        other => println!("{name}: {other}"),
                    }
                }
            }
            (_, other) => println!("{other}"),
        }
    }
}

/// Why a command did not do what was asked, and what to do next.
#[derive(Debug)]
struct Failure {
    what: String,
    next: Option<String>,
}

type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), next: None }
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let next = match &error {
            ClientError::Address(_) => "name a node with --node, or in CARELEDGER_NODE".to_owned(),
            ClientError::Unreachable { .. } => {
                "see that the node runs and that --node names its RPC address (not its P2P address)".to_owned()
            }
            ClientError::Busy => {
                "wait a few seconds and send it again; the same transaction cannot take effect twice".to_owned()
            }
            ClientError::Refused { code, .. } => tx::advice(*code),
            ClientError::NotCommitted(hash) => format!("ask again later: careledgerd query transaction {hash}"),
            ClientError::Query { code: NOT_RETAINED, .. } => {
                "ask for a height or time that is retained, or a node that retains more ([retention] in its app.toml)"
                    .to_owned()
            }
            ClientError::Query { .. } | ClientError::Answer(_) => {
                "see that the node is a CareLedger node of this version".to_owned()
            }
            ClientError::Proof(_) => "do not believe this node; ask another one".to_owned(),
            ClientError::TooLong { .. } => {
                "ask another node with --node; where all give as much, ask for one by its id: careledgerd query --help"
                    .to_owned()
            }
            ClientError::NoHeader(_) => "see that the chain makes blocks, then ask again".to_owned(),
            ClientError::Height { .. } => "ask a node that keeps up with the chain".to_owned(),
        };
        Self::new(error).next(next)
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        let next = match &error {
            KeystoreError::Unknown(_) => Some("careledgerd keys list shows what is there; --home names the folder"),
            KeystoreError::Exists(_) => Some("choose another name"),
            KeystoreError::Passphrase => Some("the mnemonic restores a key: careledgerd keys add NAME --recover"),
            KeystoreError::Damaged => Some("restore the file, or the key from its mnemonic"),
            KeystoreError::Name | KeystoreError::File { .. } => None,
        };
        let failure = Self::new(error);
        match next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

/// The command that these arguments say, or what clap prints and leaves with.
fn parse_from<T: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = T>,
) -> std::result::Result<Command, clap::Error> {
    let Cli { command } = Cli::try_parse_from(arguments)?;
    if let Command::Tx(tx) = &command {
        tx.check_usage().map_err(|what| Cli::command().error(ErrorKind::MissingRequiredArgument, what))?;
    }
    Ok(command)
}

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let done = match parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Command::Init(command) => command.run(),
        Command::Start(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Tx(command) => block_on(command.run()),
        Command::Query(command) => block_on(command.run()),
        Command::Light(command) => block_on(command.run()),
        Command::Export(command) => command.run(),
        Command::Rollback(command) => command.run(),
        Command::Genesis(command) => command.run(),
        Command::Sim(sim) => sim.run(),
        Command::Load(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { what, next }) => {
            eprintln!("error: {what}");
            if let Some(next) = next {
                eprintln!("next: {next}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs one asynchronous command to its end.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns at which clap breaks the lines of a help.
    const HELP_COLUMNS: usize = 100;

    /// The commands of an example: lines that start with the program's name, with what they go on to.
    fn examples(text: &str) -> Vec<String> {
        let joined = text.replace("\\\n", " ");
        joined.lines().map(str::trim).filter(|line| line.starts_with("careledgerd ")).map(str::to_owned).collect()
    }

    /// The words of an example, where what is cut short by `…` is written out and what a shell
    /// would do is left out.
    fn words(example: &str) -> Vec<String> {
        let address = careledger_wire::ids::Address::new([7; 20]).to_string();
        let registrar =
            ["\"$(careledgerd keys show registrar --address)\"", "$(careledgerd keys show registrar --address)"];
        let example = registrar.iter().fold(example.to_owned(), |example, text| example.replace(text, &address));
        let said = example.split_whitespace().take_while(|word| !word.starts_with(['(', '>', '#']));
        let whole = said.map(|word| match word.strip_suffix('…') {
            Some(start) if start.starts_with("care1") => address.clone(),
            // A compressed key.
            Some("02") => format!("{:0<66}", "02"),
            Some(start) => {
                // `41:9f3a…` is a number and the digits.
                let (before, digits) = start.split_at(start.find(':').map_or(0, |colon| colon + 1));
                format!("{before}{digits:0<64}")
            }
            None => word.to_owned(),
        });
        whole.collect()
    }

    #[test]
    fn every_example_is_a_whole_command() {
        fn helps(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(command.get_after_long_help().map(ToString::to_string));
            command.get_subcommands().for_each(|inner| helps(inner, found));
        }
        let mut texts = vec![];
        helps(&Cli::command(), &mut texts);
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= HELP_COLUMNS, "clap would break this example in two: {line}");
        }
        texts.push(include_str!("../../docs/careledgerd.md").to_owned());
        texts.push(include_str!("../../docs/api/consent.md").to_owned());
        let commands: Vec<String> = texts.iter().flat_map(|text| examples(text)).collect();
        assert!(commands.len() > 20, "the examples are read: {commands:?}");
        for command in commands {
            if let Err(error) = parse_from(words(&command)) {
                panic!("{command}\n{error}");
            }
        }
    }

    #[test]
    fn signing_offline_never_guesses_the_sequence() {
        let hex = "ab".repeat(32);
        let offline = format!(
            "careledgerd tx revoke-consent --from alice --subject {hex} --grant {hex} --offline --chain-id c \
             --account-number 7"
        );
        let refused = parse_from(offline.split_whitespace()).expect_err("there is nobody to ask for the sequence");
        assert_eq!((refused.kind(), refused.exit_code()), (ErrorKind::MissingRequiredArgument, 2));
        assert!(refused.to_string().contains("--sequence") && refused.to_string().contains("--unordered"), "{refused}");
        for replay in ["--sequence 0", "--unordered 60"] {
            assert!(parse_from(format!("{offline} {replay}").split_whitespace()).is_ok(), "{replay}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_option_explains_itself() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no description");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} has no description", argument.get_id());
            }
            command.get_subcommands().for_each(|inner| walk(inner, &path));
        }
        walk(&Cli::command(), "");
    }
}
