//! `query access`: who may see what of a subject.

use std::fmt::Display;

use careledger_app::{
    client::{Client, LISTED_BYTES_MAX},
    keys::{self, Key},
    subject_counts::COUNTED_SINCE,
};
use careledger_wire::{
    decision::{out_of_force, out_of_power},
    ids::{Address, EmergencyId, GrantId, SubjectId},
    proto::state::{Emergency, Grant, Guardianship, Parameters, Subject},
};
use clap::Args;
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{
    Failure, Result,
    describe::Describe,
    parse::{UnixTime, now},
    trust::{At, Prover},
};

/// Who may see what of a subject: every grant, every view without consent and every guardian, each proven as it stood.
///
/// `in_force` says whether a grant opened anything at --at-time, or now: also the grantee's good
/// standing, and for a delegate the grant it came from, decide. Purpose, scope and actor are
/// commitments: the FHIR Consent says them.
///
/// That no grant and no emergency is missing is proven too: they are never removed, and from state version 3 on the
/// subject says how many it has. A node that leaves one out is found, and nothing is printed. Guardians, who see without
/// either, are counted nowhere. `may_lack` names the lists that may lack something that the node did not show: compare
/// them with another node's. `complete` says that neither grants nor emergencies are among them: it is false of an earlier
/// state, and under --trust-node, where nothing is proven.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd query access 5d86… --prove
  careledgerd query access 5d86… --prove --at-time 2027-01-31T12:00:00Z")]
pub struct Access {
    /// The subject.
    subject: SubjectId,
}

impl Access {
    /// Every grant and emergency that was there, proven at one height.
    pub async fn run(&self, client: &Client, prover: &mut Prover<'_>, at: At) -> Result<Value> {
        let (subject, proven) = prover.prove(keys::subject(&self.subject).as_bytes(), at).await?;
        if subject.is_none() {
            return Err(Failure::new("the ledger has no such subject; its absence is proven"));
        }
        let height = proven["state_height"].as_u64().expect("a proof says its height");
        let counts = self.counts(prover, subject.as_deref(), height).await?;
        let time = match at {
            At::Time(UnixTime(time)) => Some(time),
            At::Newest => Some(now()),
            // Of a height alone no time is known.
            At::Height(_) => None,
        };
        let asked = Asked { client, height, time };
        let subject = &self.subject;
        let grants = keys::consents_of(subject);
        let grants = asked.proven(prover, &grants, |id: &GrantId| keys::consent(subject, id)).await?;
        let emergencies = keys::emergencies_of(subject);
        let emergencies = asked.proven(prover, &emergencies, |id: &EmergencyId| keys::emergency(subject, id)).await?;
        let guardians = keys::guardianships_of(subject);
        let guardians = asked.proven(prover, &guardians, |id: &Address| keys::guardianship(subject, id)).await?;
        if let Some(counts) = &counts {
            check_complete("grants", grants.len(), counts.grants)?;
            check_complete("emergencies", emergencies.len(), counts.emergencies)?;
        }
        let is_complete = prover.is_verifying() && counts.is_some();
        if !prover.is_verifying() {
            eprintln!("note: under --trust-node all of this is the node's word, also that nothing is missing");
        } else if counts.is_none() {
            eprintln!(
                "note: the state of height {height} does not count grants, so that none is missing is the node's word: \
                 compare with another node's. From the upgrade to state version {COUNTED_SINCE} on it is proven"
            );
        }
        let uncounted: &[&str] = if is_complete { &["guardians"] } else { &["grants", "emergencies", "guardians"] };
        Ok(json!({
            "subject": self.subject,
            "grants": grants,
            "emergencies": emergencies,
            "guardians": guardians,
            "complete": is_complete,
            "may_lack": uncounted,
            "proven": proven,
        }))
    }

    /// The subject as it was proven at a height, where the state of that height counts; the format is proven too.
    async fn counts(&self, prover: &mut Prover<'_>, subject: Option<&[u8]>, height: u64) -> Result<Option<Subject>> {
        let (parameters, _) = prover.prove(keys::parameters().as_bytes(), At::Height(height)).await?;
        let parameters = parameters.as_deref().map(Parameters::decode).transpose().map_err(|_| unreadable())?;
        let version = parameters.and_then(|parameters| parameters.governance).unwrap_or_default().state_version;
        if version < COUNTED_SINCE {
            return Ok(None);
        }
        subject.map(Subject::decode).transpose().map_err(|_| unreadable())
    }
}

/// A value that opens something to somebody for some time.
trait Opens: Describe {
    fn is_in_force(&self, time: i64) -> bool;
}

impl Opens for Grant {
    fn is_in_force(&self, time: i64) -> bool {
        out_of_force(self, time).is_none()
    }
}

impl Opens for Emergency {
    fn is_in_force(&self, time: i64) -> bool {
        self.opened_at <= time && time < self.expires_at
    }
}

impl Opens for Guardianship {
    fn is_in_force(&self, time: i64) -> bool {
        out_of_power(Some(self), time).is_none()
    }
}

/// Of which state it is asked, and of what time; of a height alone no time is known.
struct Asked<'a> {
    client: &'a Client,
    height: u64,
    time: Option<i64>,
}

impl Asked<'_> {
    /// Every value below a prefix that the node shows and that was there at the height, each proven.
    async fn proven<I, V>(
        &self,
        prover: &mut Prover<'_>,
        prefix: &[u8],
        key: impl Fn(&I) -> Key<V>,
    ) -> Result<Map<String, Value>>
    where
        I: for<'b> TryFrom<&'b [u8]> + Display,
        V: Opens,
    {
        let mut found = Map::new();
        for listed in listed(self.client, prefix).await? {
            let id = listed.strip_prefix(prefix).and_then(|id| I::try_from(id).ok()).ok_or_else(unreadable)?;
            let (value, _) = prover.prove(key(&id).as_bytes(), At::Height(self.height)).await?;
            if let Some(value) = value {
                let value = V::decode(&*value).map_err(|_| unreadable())?;
                let mut shown = value.describe();
                shown["in_force"] = json!(self.time.map(|time| value.is_in_force(time)));
                found.insert(id.to_string(), shown);
            }
        }
        Ok(found)
    }
}

/// As many were proven as the subject counts, each of them another.
fn check_complete(what: &str, proven: usize, counted: u64) -> Result<()> {
    if proven as u64 == counted {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the list is not complete: the ledger counts {counted} {what} of this subject, the node showed {proven}"
    ))
    .next("ask another node with --node: this one leaves something out"))
}

/// Every key below a prefix in the newest state. None is ever removed, so they are also all there ever were.
async fn listed(client: &Client, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
    Ok(client.list(prefix, None, LISTED_BYTES_MAX).await?.into_iter().map(|(key, _)| key).collect())
}

fn unreadable() -> Failure {
    Failure::new("the node's answer cannot be read").next("see that the node is a CareLedger node of this version")
}
