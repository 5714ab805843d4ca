//! `tx`: sign a transaction, send it, wait for its block.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use careledger_app::{
    client::{Account, Client},
    reject::Reject,
    wallet::{Role, Signer},
};
use careledger_wire::{
    ids::Address,
    transaction::{self, Replay, Unsigned},
};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    Failure, Format, Home, Node, Result,
    keys::{self, Passphrase},
    messages::Action,
    parse::{now, show_time},
    prepare::Sending,
};

/// What each code means and what to do about it: the page that users read.
const REJECT_CODES: &str = include_str!("../../../docs/reject-codes.md");

/// Sign a transaction and send it.
///
/// Waits for the block and prints its height. Leaves with code 1, and says what to do next, when
/// the ledger refuses. Nothing happened then.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd tx register-organization --from registrar --organization care1… --kind provider \\
      --encryption-key 9f… --evidence 31… --expires-at +365d
  careledgerd tx open-subject --from hospital --claimant care1…
  careledgerd tx claim-subject --from alice --derive care1hospital…
  careledgerd tx revoke-consent --from alice --derive care1hospital… --subject 5d… --grant 77…

Signing where there is no network, to attach the transaction to a FHIR request:
  careledgerd tx grant-consent --from alice --derive care1hospital… --subject 5d86… \\
      --grantee care1clinic… --mode view --expires-at 2027-01-31 --terms 9f31… --body 42c7… \\
      --offline --chain-id careledger-1 --account-number 7 --sequence 0
  (account number and sequence: careledgerd query account care1alice…)

Times: 2027-01-31, 2027-01-31T12:00:00Z, +90d, or Unix seconds.")]
pub struct Tx {
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    passphrase: Passphrase,
    #[command(flatten)]
    signing: Signing,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Args)]
struct Signing {
    /// Name of the key that signs.
    #[arg(long, global = true, value_name = "NAME")]
    from: Option<String>,
    /// Sign with the patient's key at this organization.
    #[arg(long, global = true, value_name = "ORGANIZATION")]
    derive: Option<Address>,
    /// The account that sends, where --from is a further key of it [default: the key's own].
    #[arg(long, global = true, value_name = "ADDRESS")]
    account: Option<Address>,
    /// Print what would be signed, and send nothing.
    #[arg(long, global = true)]
    dry_run: bool,
    /// Sign without a node and print the transaction's base64; with --sequence or --unordered.
    #[arg(long, global = true, requires_all = ["account_number", "chain_id"])]
    offline: bool,
    /// Id of the chain [default: the node's].
    #[arg(long, global = true)]
    chain_id: Option<String>,
    /// Number of the signer's account [default: asked of the node].
    #[arg(long, global = true)]
    account_number: Option<u64>,
    /// Sequence of the transaction [default: asked of the node; needed with --offline].
    #[arg(long, global = true)]
    sequence: Option<u64>,
    /// Sign without a sequence, valid for this long: several can be under way at once.
    #[arg(long, global = true, value_name = "SECONDS", conflicts_with = "sequence")]
    unordered: Option<u32>,
    /// Longest time to wait for the block.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30)]
    deadline: u64,
}

impl Tx {
    /// What clap cannot see by itself: a group of global arguments does not reach the subcommands.
    pub fn check_usage(&self) -> std::result::Result<(), &'static str> {
        let Signing { offline, sequence, unordered, .. } = &self.signing;
        if *offline && sequence.is_none() && unordered.is_none() {
            return Err("--offline needs --sequence NUMBER or --unordered SECONDS: there is no node to ask");
        }
        Ok(())
    }

    pub async fn run(self) -> Result<()> {
        let name = self.signing.from.as_deref().ok_or_else(|| {
            Failure::new("who signs?").next("name a key with --from; careledgerd keys list shows them")
        })?;
        let wallet = keys::keystore(&self.home).open(name, &self.passphrase.read()?)?;
        let signer = wallet.signer(self.signing.derive.map_or(Role::Account, Role::ClaimantAt));
        let derived = self.signing.derive.map(|organization| (organization, wallet.encryption_pair(&organization)));
        let sender = self.signing.account.unwrap_or_else(|| signer.address());
        let prepared = self.action.prepare(&Sending { sender, derived, now: now() })?;
        let client = Client::new(&self.node.node)?;
        let (chain_id, account_number, replay) = self.signing.resolve(&client, &sender).await?;
        let messages = [prepared.message];
        let unsigned = Unsigned::new(&messages, &signer.public_key(), &chain_id, account_number, replay);
        if self.signing.dry_run {
            return self.dry_run(&messages[0].to_any(), &signer, &chain_id, account_number, replay, &unsigned);
        }
        let bytes = signer.sign(unsigned);
        if self.signing.offline {
            let mut shown = prepared.ids;
            shown.insert("hash".to_owned(), json!(transaction::hash(&bytes)));
            shown.insert("tx".to_owned(), json!(BASE64_STANDARD.encode(&bytes)));
            self.format.print(&Value::Object(shown));
            return Ok(());
        }
        self.send(&client, &bytes, prepared.ids).await
    }

    async fn send(&self, client: &Client, bytes: &[u8], ids: Map<String, Value>) -> Result<()> {
        let hash = transaction::hash(bytes);
        let result = client.deliver(bytes, Duration::from_secs(self.signing.deadline)).await?;
        let mut shown = Map::new();
        shown.insert("hash".to_owned(), json!(hash));
        shown.insert("height".to_owned(), json!(result.height));
        shown.insert("code".to_owned(), json!(result.code));
        shown.insert("log".to_owned(), json!(result.log));
        shown.insert("time".to_owned(), json!(show_time(result.time)));
        shown.extend(ids);
        self.format.print(&Value::Object(shown));
        if result.code == 0 {
            return Ok(());
        }
        Err(Failure::new(format!("refused with code {}: {}", result.code, result.log)).next(advice(result.code)))
    }

    fn dry_run(
        &self,
        message: &prost_types::Any,
        signer: &Signer,
        chain_id: &str,
        account_number: u64,
        replay: Replay,
        unsigned: &Unsigned,
    ) -> Result<()> {
        let replay = match replay {
            Replay::Sequence(sequence) => json!({ "sequence": sequence }),
            Replay::UntilTime(time) => json!({ "until": show_time(time) }),
        };
        self.format.print(&json!({
            "signer": signer.address(),
            "chain_id": chain_id,
            "account_number": account_number,
            "replay": replay,
            "message": message.type_url,
            "message_bytes": hex::encode(&message.value),
            "sign_doc": hex::encode(unsigned.sign_bytes()),
        }));
        Ok(())
    }
}

impl Signing {
    /// Chain id, account number and replay protection: what was given, else what the node says.
    async fn resolve(&self, client: &Client, sender: &Address) -> Result<(String, u64, Replay)> {
        let chain_id = match &self.chain_id {
            Some(given) => given.clone(),
            None => client.chain_id().await?,
        };
        let needs_sequence = self.sequence.is_none() && self.unordered.is_none();
        let asked = match (self.account_number, needs_sequence) {
            (Some(number), false) => Account { number, sequence: 0 },
            _ => client.account(sender).await?.ok_or_else(|| {
                Failure::new(format!("the ledger does not know the account {sender}"))
                    .next(advice(Reject::UnknownAccount.code()))
            })?,
        };
        let replay = match self.unordered {
            Some(seconds) => Replay::UntilTime(now() + i64::from(seconds)),
            None => Replay::Sequence(self.sequence.unwrap_or(asked.sequence)),
        };
        Ok((chain_id, self.account_number.unwrap_or(asked.number), replay))
    }
}

/// What the sender should do about a refusal, from the page on codes.
pub fn advice(code: u32) -> String {
    let start = format!("| {code} | ");
    let row = REJECT_CODES.lines().find(|line| line.starts_with(&start));
    let advice = row.and_then(|line| line.trim_end_matches('|').rsplit('|').next());
    advice.map_or_else(|| "see docs/reject-codes.md".to_owned(), |advice| advice.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_with_advice() {
        for (code, name, _) in Reject::TABLE {
            let advice = advice(*code);
            assert!(advice.len() > 5 && !advice.contains('|') && !advice.contains("reject-codes"), "{name}: {advice}");
        }
    }
}
