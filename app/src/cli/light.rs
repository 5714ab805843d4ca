//! `light`: which header a home trusts, and what is said where none is believed.

use careledger_app::{
    client::Client,
    light::{
        LightError, Source as _, Trust,
        history::HistoryError,
        kept::{self, KeptError},
        node::Newest,
    },
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tendermint::Time;

use super::{Failure, Format, Node, Result, parse::show_time, trust::TrustArguments};

/// See and change which header of a chain this home trusts.
///
/// A proof of `careledgerd query --prove` is worth as much as the header that it leads to. From one
/// header that you trust, later ones are believed when its validators signed them. Take its height and
/// hash from somebody who runs another node, over another way than the network.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd light newest --node http://validator.example:26657
  careledgerd light update --trust-height 1042 --trust-hash 5d86…
  careledgerd light update --witness http://validator.example:26657
  careledgerd light status
  careledgerd light forget")]
pub struct Light {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    trust: TrustArguments,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The newest header of a node, on its word: what you tell somebody who trusts you.
    Newest,
    /// Verify the newest header and trust it from now on.
    Update,
    /// What this home trusts. Asks nobody.
    Status,
    /// Trust nothing any more.
    Forget,
}

impl Light {
    pub async fn run(self) -> Result<()> {
        let home = self.trust.home.path();
        let shown = match self.what {
            What::Newest => {
                let client = Client::new(&self.node.node)?;
                let newest = Newest::of(&client).await?;
                let block = client.block(newest.height).await?;
                let hash = hex::encode(block.hash().as_bytes());
                json!({
                    "chain_id": newest.chain_id,
                    "height": newest.height,
                    "hash": hash,
                    "time": show_time(block.signed_header.header.time.unix_timestamp()),
                    "trust": format!("--trust-height {} --trust-hash {hash}", newest.height),
                })
            }
            What::Update => {
                if self.trust.trust_node {
                    return Err(Failure::new("--trust-node keeps nothing, so there is nothing to update"));
                }
                let client = Client::new(&self.node.node)?;
                let mut light = self.trust.light(&client, &home).await?;
                light.header(client.height().await?, Time::now()).await?;
                kept::write(&home, light.trust())?;
                describe(light.trust())
            }
            What::Status => match kept::read(&home)? {
                Some(trust) => describe(&trust),
                None => return Err(Failure::new("this home trusts no header").next("careledgerd light update --help")),
            },
            What::Forget => json!({ "forgotten": kept::forget(&home)? }),
        };
        self.format.print(&shown);
        Ok(())
    }
}

fn describe(trust: &Trust) -> Value {
    let header = &trust.newest.signed_header.header;
    json!({
        "chain_id": header.chain_id.to_string(),
        "height": trust.newest.height(),
        "hash": hex::encode(trust.newest.hash().as_bytes()),
        "time": show_time(header.time.unix_timestamp()),
        "validators": trust.newest.validators.validators().len(),
        "since_height": trust.anchor.height,
        "since_hash": hex::encode(trust.anchor.hash.as_bytes()),
        "origin": trust.anchor.origin,
    })
}

impl From<LightError> for Failure {
    fn from(error: LightError) -> Self {
        match error {
            LightError::Node(error) => error.into(),
            other => {
                let next = advice(&other);
                Self::new(other).next(next)
            }
        }
    }
}

/// What a user does about a header that is not believed.
fn advice(error: &LightError) -> &'static str {
    match error {
        LightError::Expired { .. } => {
            "ask somebody who runs another node for `careledgerd light newest`, and pass its --trust-height and \
             --trust-hash"
        }
        LightError::Hash { .. } => {
            "ask again for height and hash; if they are right, this node lies or is of another chain"
        }
        LightError::Chain { .. } => {
            "name a node of your chain, or another home with --home; where a new chain continues yours, `careledgerd light forget` comes first"
        }
        LightError::Unsigned(_) => "--trust-node believes the gateway that keeps this ledger alone",
        LightError::Future { .. } => "set this machine's clock",
        LightError::Node(_) | LightError::Stale { .. } => "ask a node that keeps up with the chain",
        LightError::Block { .. } => "see that the node has blocks of that height, or ask another one",
        LightError::Steps(_) => "give a later header with --trust-height and --trust-hash",
        LightError::Fork { .. } => {
            "believe neither, keep both headers (CometBFT's /commit of that height), and tell the registrars"
        }
        LightError::Witness { .. } => "ask the witness's operator, or leave it out",
        LightError::Validators(_)
        | LightError::Altered(_)
        | LightError::Signature(_)
        | LightError::TooFew { .. }
        | LightError::Link(_)
        | LightError::AppHash(_)
        | LightError::Refused { .. } => "do not believe this node; ask another one",
    }
}

impl From<KeptError> for Failure {
    fn from(error: KeptError) -> Self {
        match &error {
            KeptError::Damaged(_) => {
                Self::new(error).next("careledgerd light forget, then trust a header anew (light update --help)")
            }
            KeptError::File { .. } => Self::new(error),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Light(error) => error.into(),
            HistoryError::TooEarly { .. } => Self::new(error).next("ask a node that keeps older blocks"),
            HistoryError::TooLate { .. } => {
                Self::new(error).next("leave --at-time out for the newest state, or wait for the next block")
            }
            HistoryError::NotThen(_) => Self::new(error).next("do not believe this node; ask another one"),
        }
    }
}
