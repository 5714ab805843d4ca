//! Where exports are in the vault, and how they are sealed.
//!
//! A row that an earlier build does not know stands below a prefix of its own: that build begins, and sees none of it.

use careledger_wire::ids::RecordId;

use super::{
    Exports,
    job::{Job, KEPT_SECONDS, RUNNING_SECONDS_MAX},
};
use crate::{auth::clock, outcome::Refusal};

/// Prefix of the rows by which clients find their exports.
pub const OWN: &str = "own/";
/// Prefix of what was asked for.
pub const ORDER: &str = "order/";
/// Prefix of how far that is.
pub const STATE: &str = "state/";
/// Prefix of when each was begun, and of its client's row: in clear, for what does not open.
pub const BEGUN: &str = "begun/";
/// Prefix of what is in files.
const LINES: &str = "lines/";
/// Prefix of the Patients of whom the access log says that they are in an export.
const LOGGED: &str = "logged/";
/// Prefix of the steps that are made.
const STEP: &str = "step/";
/// Prefixes of all that an export has several rows of.
pub const PARTS: [&str; 3] = [LINES, LOGGED, STEP];
/// Prefixes of an earlier build, whose exports are removed. Never used again.
pub const EARLIER: [&str; 3] = ["job/", "part/", "seen/"];
/// Row that is another after each kick-off.
pub const STAMP: &[u8] = b"stamp";

impl Exports {
    /// The key shows no client.
    pub(super) fn own_key(&self, id: &str, client: &str) -> Vec<u8> {
        key(OWN, self.names.record_id("careledger/export-of-client", &format!("{client}/{id}")))
    }

    /// The key shows no patient.
    pub(super) fn logged_key(&self, id: &str, patient: &str) -> Vec<u8> {
        let name: RecordId = self.names.record_id("careledger/export-of", patient);
        format!("{LOGGED}{id}/{name}").into_bytes()
    }

    pub(super) fn sealed(&self, key: &[u8], value: &impl serde::Serialize) -> Vec<u8> {
        let json = serde_json::to_vec(value).expect("text always serialises");
        self.key.seal(&json, key)
    }

    pub(super) fn opened<T: serde::de::DeserializeOwned>(&self, key: &[u8], sealed: &[u8]) -> Result<T, Refusal> {
        let fault = Refusal::Internal("what is kept of an export does not open");
        let json = self.key.open(sealed, key).map_err(|_| fault.clone())?;
        serde_json::from_slice(&json).map_err(|_| fault)
    }
}

/// The only row below a prefix that an export has.
pub fn key(prefix: &str, name: impl std::fmt::Display) -> Vec<u8> {
    format!("{prefix}{name}").into_bytes()
}

/// A step, or another change of how far an export is, by the number of those before it.
pub fn step_key(id: &str, revision: u32) -> Vec<u8> {
    format!("{STEP}{id}/{revision:010}").into_bytes()
}

/// A part of a file.
pub fn lines_key(id: &str, file: u32, part: u32) -> Vec<u8> {
    format!("{LINES}{id}/{file:010}/{part:010}").into_bytes()
}

/// When an export was begun, Unix seconds, and the key of its client's row, which shows no client.
pub fn begun_value(began: i64, own_key: &[u8]) -> Vec<u8> {
    [began.to_be_bytes().as_slice(), own_key].concat()
}

/// The key of the client's row out of what [`begun_value`] wrote, where the longest time of any export is over.
pub fn long_over(value: &[u8]) -> Option<Vec<u8>> {
    let (began, own_key) = value.split_first_chunk::<8>()?;
    let until = i64::from_be_bytes(*began).saturating_add(RUNNING_SECONDS_MAX + KEPT_SECONDS);
    (until <= clock() && own_key.starts_with(OWN.as_bytes())).then(|| own_key.to_vec())
}

/// Whether its time is up.
pub fn is_over(job: &Job) -> bool {
    job.expires_at() <= clock()
}
