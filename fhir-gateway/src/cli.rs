//! The command line of `careledger-gateway`: set up, start, check, rebuild, verify, get a token, show keys.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

pub mod consent;
mod export;
mod import;
mod init;
mod run;
mod session;
mod token;

use run::Loss;

/// The CareLedger gateway: FHIR R4 for an organization's software, in front of a ledger that
/// never sees a record.
///
/// A gateway of your own, from nothing:
///   careledger-gateway init --folder riverside-gateway --organization riverside=provider
///   careledger-gateway start --config riverside-gateway/gateway.toml
/// then, in another terminal:
///   TOKEN=$(careledger-gateway token --client ehr --key riverside-gateway/riverside/ehr.pem \
///           --url http://127.0.0.1:8080/riverside)
///   curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/riverside/fhir/Patient
#[derive(Debug, Parser)]
#[command(name = "careledger-gateway", version, verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a configuration, keystores, client keys and, for an embedded ledger, a genesis.
    Init(init::Init),
    /// Serves FHIR until it is told to stop (Ctrl-C or SIGTERM).
    Start(WithConfig),
    /// Rebuilds the search indexes from vault and ledger. Stop the gateway first.
    ///
    /// Every current version is checked against the ledger; what does not fit is counted and left
    /// out. Exits with 1 where anything was left out.
    Reindex(Reindex),
    /// Reads the configuration, and the keystores and keys that it names, and says what is wrong.
    ///
    /// Starts nothing and opens neither ledger nor vault: for a look before a restart.
    Check(WithConfig),
    /// Reads every version in the vaults and names what is not as it was acknowledged. Stop the
    /// gateway first.
    ///
    /// Each body is hashed, opened with its key, and compared with the ledger; so one flipped byte
    /// names its document. Changes nothing. Exits with 1 where anything was found.
    Verify(WithConfig),
    /// Prints an access token of a registered client, by the exchange that any SMART Backend
    /// Services client makes: discovery, a signed assertion, a token.
    Token(token::Token),
    /// Sends resources from NDJSON files or Bundles to a running gateway, with progress; goes on where it
    /// was stopped.
    Import(import::Import),
    /// Puts an organization's resources into a folder, as NDJSON files of one type each, with progress; goes on
    /// where it was stopped.
    Export(export::Export),
    /// Works with the organizations' keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Works with consents, on the patient's machine.
    #[command(subcommand)]
    Consent(consent::Command),
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Prints each organization's address and encryption key, as a registrar needs them.
    Show(WithConfig),
}

#[derive(Debug, clap::Args)]
struct WithConfig {
    /// The configuration.
    #[arg(long, env = "CARELEDGER_GATEWAY_CONFIG", default_value = "gateway.toml", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Reindex {
    #[command(flatten)]
    with: WithConfig,
    /// Goes on without what the vault lacks for good, after a restore from a backup that is older than
    /// what was acknowledged. The access log continues after the batches that are lost.
    #[arg(long)]
    accept_loss: bool,
}

/// Any failure of a command: one sentence for whoever typed it.
type Failure = Box<dyn std::error::Error>;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Init(init) => init.run(),
        Command::Start(with) => run::start(&with.config),
        Command::Reindex(Reindex { with, accept_loss }) => {
            run::reindex(&with.config, if accept_loss { Loss::Accepted } else { Loss::Reported })
        }
        Command::Check(with) => run::check(&with.config),
        Command::Verify(with) => run::verify(&with.config),
        Command::Token(token) => token.run(),
        Command::Import(import) => import.run(),
        Command::Export(export) => export.run(),
        Command::Keys(Keys::Show(with)) => run::show_keys(&with.config),
        Command::Consent(command) => command.run().map(|printed| println!("{printed:#}")).map_err(Failure::from),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("careledger-gateway: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    /// The commands of our own that a help text shows, each on one line.
    fn examples(help: &str) -> Vec<String> {
        let whole = help.replace("\\\n", " ");
        let command = |line: &str| {
            let (_, rest) = line.split_once("careledger-gateway ")?;
            let example = rest.split(')').next()?.split_whitespace().collect::<Vec<_>>().join(" ");
            // A usage line shows placeholders.
            (!example.contains(['[', '<'])).then_some(example)
        };
        whole.lines().filter_map(command).collect()
    }

    #[test]
    fn every_example_of_the_help_is_a_whole_command() {
        let mut waiting = vec![super::Arguments::command()];
        let mut seen = 0;
        while let Some(mut command) = waiting.pop() {
            for example in examples(&command.render_long_help().to_string()) {
                let words = std::iter::once("careledger-gateway").chain(example.split(' '));
                let parsed = super::Arguments::try_parse_from(words);
                assert!(
                    parsed.is_ok(),
                    "{example}: {}",
                    parsed.err().map(|error| error.to_string()).unwrap_or_default()
                );
                seen += 1;
            }
            waiting.extend(command.get_subcommands().cloned());
        }
        assert!(seen >= 4, "only {seen} examples were found");
    }

    #[test]
    fn the_command_line_is_consistent_and_explains_itself() {
        let mut command = super::Arguments::command();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        for word in [
            "init",
            "start",
            "check",
            "reindex",
            "verify",
            "token",
            "import",
            "export",
            "keys",
            "consent",
            "gateway.toml",
        ] {
            assert!(help.contains(word), "{word}");
        }
    }
}
