//! `light`, and the options by which every proof says what it trusts.

use std::{path::Path, str::FromStr, time::Duration};

use careledger_app::{
    client::{Client, Proven},
    light::{
        LightClient, LightError, Origin, Source as _, TRUSTING_PERIOD, Trust, Verified,
        history::{self, HistoryError},
        kept::{self, KeptError},
        node::Newest,
    },
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tendermint::{Hash, Time, hash::Algorithm};

use super::{
    Failure, Format, Home, Node, Result,
    parse::{UnixTime, show_time},
};

/// What a proof rests on.
#[derive(Debug, Clone, Args)]
pub struct TrustArguments {
    #[command(flatten)]
    home: Home,
    /// Height of a header that you trust, with --trust-hash.
    #[arg(long, global = true, requires = "trust_hash", value_name = "HEIGHT")]
    trust_height: Option<u64>,
    /// Hash of that header, hexadecimal, from somebody who runs another node.
    #[arg(long, global = true, requires = "trust_height", value_name = "HASH")]
    trust_hash: Option<HeaderHash>,
    /// Where this home trusts no header yet: believe the one that the node gives, once, and keep it.
    #[arg(long, global = true, conflicts_with = "trust_hash")]
    trust_on_first_use: bool,
    /// Believe the node's header this time and check no signature: for a ledger without validators.
    #[arg(long, global = true, conflicts_with_all = ["trust_hash", "trust_on_first_use", "witness"])]
    trust_node: bool,
    /// How long a header vouches for later ones [default: 7d].
    #[arg(long, global = true, value_name = "30d|12h")]
    trusting_period: Option<Period>,
    /// JSON-RPC address of another node that must have the same header; repeat for several.
    #[arg(long, global = true, value_name = "URL")]
    witness: Vec<String>,
}

/// The hash of a header.
#[derive(Debug, Clone, Copy)]
struct HeaderHash(Hash);

impl FromStr for HeaderHash {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let hash = Hash::from_hex_upper(Algorithm::Sha256, &text.to_ascii_uppercase());
        hash.map(Self).map_err(|_| "expected the hash of a header, 64 hexadecimal digits".to_owned())
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy)]
struct Period(Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let expected = || format!("`{text}` is no span of time: expected 30d, 12h, 90m or 45s");
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
        let seconds = match unit {
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            "s" => 1,
            _ => return Err(expected()),
        };
        let number: u32 = number.parse().map_err(|_| expected())?;
        if number == 0 { Err(expected()) } else { Ok(Self(Duration::from_secs(u64::from(number) * seconds))) }
    }
}

/// Which state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest that a header seals.
    Newest,
    /// The one after this block.
    Height(u64),
    /// The one that stood at this time.
    Time(UnixTime),
}

/// Asks a node, and believes what follows from a trusted header.
pub struct Prover<'a> {
    client: &'a Client,
    home: std::path::PathBuf,
    /// `None` where the node's own header is believed.
    light: Option<LightClient<Client>>,
}

impl TrustArguments {
    /// Whether anything was said about trust.
    pub fn is_given(&self) -> bool {
        let is_flagged = self.trust_on_first_use || self.trust_node || !self.witness.is_empty();
        is_flagged || self.trust_hash.is_some() || self.trusting_period.is_some()
    }

    /// Begins with what is given, what the home keeps, or not at all.
    pub async fn prover<'a>(&self, client: &'a Client) -> Result<Prover<'a>> {
        let home = self.home.path();
        let light = if self.trust_node { None } else { Some(self.light(client, &home).await?) };
        Ok(Prover { client, home, light })
    }

    async fn light(&self, client: &Client, home: &Path) -> Result<LightClient<Client>> {
        let trust = match (self.trust_height, self.trust_hash) {
            (Some(height), Some(HeaderHash(hash))) => match kept::read(home)? {
                // The same words again go on where the last call ended.
                Some(kept) if (kept.anchor.height, kept.anchor.hash) == (height, hash) => kept,
                _ => Trust::given(client, height, hash, Time::now()).await?,
            },
            _ => match kept::read(home)? {
                Some(kept) => kept,
                None if self.trust_on_first_use => {
                    Trust::first_use(client, client.height().await?, Time::now()).await?
                }
                None => {
                    return Err(Failure::new("no header is trusted yet, so a proof would show nothing").next(
                        "ask somebody who runs another node for `careledgerd light newest`, and pass its --trust-height \
                         and --trust-hash; or believe this node's header once with --trust-on-first-use",
                    ));
                }
            },
        };
        let expected = trust.newest.signed_header.header.chain_id.to_string();
        let found = client.chain_id().await?;
        if found != expected {
            return Err(LightError::Chain { expected, found }.into());
        }
        let witnesses = self.witness.iter().map(|url| Client::new(url)).collect::<std::result::Result<_, _>>()?;
        let period = self.trusting_period.map_or(TRUSTING_PERIOD, |Period(period)| period);
        Ok(LightClient::new(client.clone(), witnesses, period, trust))
    }
}

impl Prover<'_> {
    /// The value under a key, or its absence, and in JSON what that rests on.
    pub async fn prove(&mut self, key: &[u8], at: At) -> Result<(Option<Vec<u8>>, Value)> {
        let height = match at {
            At::Newest => None,
            At::Height(height) => Some(height),
            At::Time(UnixTime(time)) => Some(history::height_at(self.client, time).await?),
        };
        let proven = self.client.get_proven(key, height).await?;
        let shown = match at {
            At::Newest => self.confirm_newest(&proven).await?,
            At::Height(_) => self.confirm(&proven).await?.1,
            At::Time(UnixTime(time)) => {
                let (verified, mut shown) = self.confirm(&proven).await?;
                if let Some(verified) = verified {
                    history::check(self.client, &verified, time).await?;
                }
                shown["stood_at"] = json!(show_time(time));
                shown
            }
        };
        Ok((proven.value, shown))
    }

    /// What an answer that claims to be the newest rests on.
    pub async fn confirm_newest(&mut self, proven: &Proven) -> Result<Value> {
        let Some(light) = &mut self.light else { return Ok(self.on_its_word(proven)) };
        let verified = light.confirm_newest(proven, Time::now()).await?;
        self.keep()?;
        Ok(shown(proven, &verified))
    }

    async fn confirm(&mut self, proven: &Proven) -> Result<(Option<Verified>, Value)> {
        let Some(light) = &mut self.light else { return Ok((None, self.on_its_word(proven))) };
        let verified = light.confirm(proven, Time::now()).await?;
        self.keep()?;
        let shown = shown(proven, &verified);
        Ok((Some(verified), shown))
    }

    fn keep(&self) -> Result<()> {
        if let Some(light) = &self.light {
            kept::write(&self.home, light.trust())?;
        }
        Ok(())
    }

    fn on_its_word(&self, proven: &Proven) -> Value {
        json!({
            "state_height": proven.height,
            "app_hash": hex::encode(proven.app_hash),
            "header_height": proven.header_height,
            "header_time": show_time(proven.header_time),
            "trusted": format!(
                "the header of height {} as {} gave it (--trust-node): no signature was checked",
                proven.header_height,
                self.client.url()
            ),
        })
    }
}

/// What was trusted, for people and scripts.
fn shown(proven: &Proven, verified: &Verified) -> Value {
    let Verified { header, anchor, signed_height, signatures, witnesses } = verified;
    let origin = match anchor.origin {
        Origin::Given => "given by hand",
        Origin::FirstUse => "taken from a node on first use, compared with nobody",
    };
    json!({
        "chain_id": header.chain_id.to_string(),
        "state_height": proven.height,
        "app_hash": hex::encode(proven.app_hash),
        "header_height": proven.header_height,
        "header_hash": hex::encode(header.hash().as_bytes()),
        "header_time": show_time(proven.header_time),
        "trusted": format!("the header of height {} and hash {}, {origin}", anchor.height, hex::encode(anchor.hash.as_bytes())),
        "signed_height": signed_height,
        "signed_by": format!(
            "{} of {} validators with {} of {} voting power",
            signatures.signers, signatures.validators, signatures.power, signatures.power_total
        ),
        "witnesses": witnesses,
    })
}

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
        LightError::Chain { .. } => "name a node of your chain, or another home with --home",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_and_none_is_empty() {
        for (text, seconds) in [("7d", 604_800), ("12h", 43_200), ("90m", 5_400), ("45s", 45)] {
            assert_eq!(text.parse::<Period>().unwrap().0.as_secs(), seconds, "{text}");
        }
        for text in ["", "d", "7", "0d", "-1d", "7w", "7é"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
