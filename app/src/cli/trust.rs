//! The options by which every proof says what it trusts, and asking with them.

use std::{
    path::Path,
    str::FromStr,
    time::{Duration, Instant},
};

use careledger_app::{
    client::{Client, Proven},
    keys,
    light::{LightClient, LightError, Origin, TRUSTING_PERIOD, Trust, Verified, history, kept},
    query,
};
use clap::Args;
use serde_json::{Value, json};
use tendermint::{Hash, Time, hash::Algorithm};

use super::{
    Failure, Home, Result,
    parse::{UnixTime, now, show_time},
};

/// Seconds after which a newest header is worth a word: a network makes an empty block every ten.
const QUIET_SECONDS_MAX: i64 = 600;
/// Longest time for a node to execute the block whose header is trusted already.
const EXECUTION_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two looks at how far it is.
const EXECUTION_POLL: Duration = Duration::from_millis(100);

/// What a proof rests on.
#[derive(Debug, Clone, Args)]
pub struct TrustArguments {
    #[command(flatten)]
    pub(super) home: Home,
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
    pub(super) trust_node: bool,
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
    /// The newest header that the home keeps because of this.
    kept: Option<Hash>,
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
        Ok(Prover { client, home, light, kept: None })
    }

    /// A light client that begins with what is given or kept.
    pub(super) async fn light(&self, client: &Client, home: &Path) -> Result<LightClient<Client>> {
        let trust = match (self.trust_height, self.trust_hash) {
            (Some(height), Some(HeaderHash(hash))) => match kept::read(home)? {
                // The same words again go on where the last call ended.
                Some(kept) if (kept.anchor.height, kept.anchor.hash) == (height, hash) => kept,
                // From an earlier header on, an old state would be believed again.
                Some(kept) if height <= kept.newest.height() => {
                    let newest = kept.newest.height();
                    return Err(Failure::new(format!("this home verified height {newest} already, after {height}"))
                        .next("leave --trust-height out, or careledgerd light forget"));
                }
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
    /// Whether an answer has to follow from a trusted header; without, it is the node's word.
    pub fn is_verifying(&self) -> bool {
        self.light.is_some()
    }

    /// The value under a key, or its absence, and in JSON what that rests on.
    pub async fn prove(&mut self, key: &[u8], at: At) -> Result<(Option<Vec<u8>>, Value)> {
        let height = match at {
            At::Newest => {
                self.until_executed().await?;
                None
            }
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

    /// Waits until the node has executed the newest block that is trusted. A node has a header a moment
    /// before the state that follows, and another node may be a block behind: neither is a lie. One that
    /// stays behind is told by what it answers.
    pub async fn until_executed(&self) -> Result<()> {
        let Some(light) = &self.light else { return Ok(()) };
        let newest = light.trust().newest.height();
        let until = Instant::now() + EXECUTION_DEADLINE;
        while self.client.query(query::KEY, keys::chain().into_bytes()).await?.height.value() < newest
            && Instant::now() < until
        {
            tokio::time::sleep(EXECUTION_POLL).await;
        }
        Ok(())
    }

    /// What an answer that claims to be the newest rests on.
    pub async fn confirm_newest(&mut self, proven: &Proven) -> Result<Value> {
        let Some(light) = &mut self.light else { return Ok(self.on_its_word(proven)) };
        let verified = light.confirm_newest(proven, Time::now()).await?;
        self.keep()?;
        let age = now().saturating_sub(proven.header_time);
        if age > QUIET_SECONDS_MAX {
            eprintln!("note: the newest header is {age} s old: the chain stands still, or this node withholds blocks");
        }
        Ok(shown(proven, &verified))
    }

    /// Whether no signature is checked, because its user said so.
    pub fn believes_its_node(&self) -> bool {
        self.light.is_none()
    }

    async fn confirm(&mut self, proven: &Proven) -> Result<(Option<Verified>, Value)> {
        let Some(light) = &mut self.light else { return Ok((None, self.on_its_word(proven))) };
        let verified = light.confirm(proven, Time::now()).await?;
        self.keep()?;
        let shown = shown(proven, &verified);
        Ok((Some(verified), shown))
    }

    fn keep(&mut self) -> Result<()> {
        let Some(light) = &self.light else { return Ok(()) };
        let newest = light.trust().newest.hash();
        if self.kept != Some(newest) {
            kept::write(&self.home, light.trust())?;
            self.kept = Some(newest);
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
