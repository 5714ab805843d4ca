//! `query access`: who may see what of a subject.

use careledger_app::{client::Client, keys, subject_counts::COUNTED_SINCE};
use careledger_wire::{
    decision::out_of_force,
    ids::{EmergencyId, GrantId, SubjectId},
    proto::state::{Emergency, Grant, Parameters, Subject},
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

/// Who may see what of a subject: every grant and every view without consent, each proven as it stood.
///
/// `in_force` says whether a grant opened anything at --at-time, or now: also the grantee's good
/// standing, and for a delegate the grant it came from, decide. Purpose, scope and actor are
/// commitments: the FHIR Consent says them.
///
/// That no grant and no emergency is missing is proven too (a guardian needs neither): they are never removed, and from state version 3 on the
/// subject says how many it has. A node that leaves one out is found, and nothing is printed. Of an earlier state
/// `complete` is false: there it is the node's word; compare with another node's.
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
        let mut grants = Map::new();
        for key in listed(client, &keys::consents_of(&self.subject)).await? {
            let id = name::<GrantId>(&key)?;
            let key = keys::consent(&self.subject, &id);
            if let (Some(value), _) = prover.prove(key.as_bytes(), At::Height(height)).await? {
                let grant = Grant::decode(&*value).map_err(|_| unreadable())?;
                let mut shown = grant.describe();
                shown["in_force"] = json!(time.map(|time| out_of_force(&grant, time).is_none()));
                grants.insert(id.to_string(), shown);
            }
        }
        let mut emergencies = Map::new();
        for key in listed(client, &keys::emergencies_of(&self.subject)).await? {
            let id = name::<EmergencyId>(&key)?;
            let key = keys::emergency(&self.subject, &id);
            if let (Some(value), _) = prover.prove(key.as_bytes(), At::Height(height)).await? {
                let emergency = Emergency::decode(&*value).map_err(|_| unreadable())?;
                let mut shown = emergency.describe();
                let is_open = |time| emergency.opened_at <= time && time < emergency.expires_at;
                shown["in_force"] = json!(time.map(is_open));
                emergencies.insert(id.to_string(), shown);
            }
        }
        if let Some(counts) = &counts {
            check_complete("grants", grants.len(), counts.grants)?;
            check_complete("emergencies", emergencies.len(), counts.emergencies)?;
        } else {
            eprintln!(
                "note: the state of height {height} does not count grants, so that none is missing is the node's word: \
                 compare with another node's. From the upgrade to state version {COUNTED_SINCE} on it is proven"
            );
        }
        Ok(json!({
            "subject": self.subject,
            "grants": grants,
            "emergencies": emergencies,
            "complete": counts.is_some(),
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
    Ok(client.list(prefix, usize::MAX).await?.into_iter().map(|(key, _)| key).collect())
}

/// The id at the end of a key.
fn name<I: for<'a> TryFrom<&'a [u8]>>(key: &[u8]) -> Result<I> {
    let bytes = key.last_chunk::<32>().ok_or_else(unreadable)?;
    I::try_from(bytes.as_slice()).map_err(|_| unreadable())
}

fn unreadable() -> Failure {
    Failure::new("the node's answer cannot be read").next("see that the node is a CareLedger node of this version")
}
