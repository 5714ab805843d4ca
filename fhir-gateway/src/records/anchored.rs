//! What the ledger has of an organization's records, and whether the vault's current version is that.

use std::collections::HashMap;

use careledger_app::keys;
use careledger_wire::{ids::RecordId, proto::state};
use prost::Message as _;

use super::{Core, entry};
use crate::{outcome::Refusal, vault::Space};

impl Core {
    /// Whether the version that is current in the vault is what the ledger has. While the caller holds the journal, others
    /// write on: the ledger may have the next version already, and the vault that as one which is not visible yet. Then
    /// the current one is what everybody sees.
    pub(super) fn is_anchored(
        &self,
        record: &RecordId,
        version: u32,
        on_ledger: Option<&state::Record>,
    ) -> Result<bool, Refusal> {
        let (Some(entry), Some(on_ledger)) = (self.entry(record, version)?, on_ledger) else { return Ok(false) };
        if version.checked_add(1) == Some(on_ledger.version) {
            return self.is_to_be_published(record, on_ledger);
        }
        Ok(version == on_ledger.version && entry.commitment(version).as_bytes().as_slice() == on_ledger.commitment)
    }

    /// Whether the vault has the version that the ledger has as one that waits to become visible.
    pub(super) fn is_to_be_published(&self, record: &RecordId, on_ledger: &state::Record) -> Result<bool, Refusal> {
        let version = on_ledger.version;
        if self.store.get(Space::Pending, &entry::key(record, version))?.is_none() {
            return Ok(false);
        }
        let commitment = self.entry(record, version)?.map(|entry| entry.commitment(version).to_vec());
        Ok(commitment.as_ref() == Some(&on_ledger.commitment))
    }

    /// Every record of this organization on the ledger.
    pub(super) async fn anchored(&self) -> Result<HashMap<RecordId, state::Record>, Refusal> {
        let organization = self.keys.signer.address();
        let mut prefix = keys::record(&organization, &RecordId::new([0; 32])).into_bytes();
        prefix.truncate(prefix.len() - RecordId::LENGTH);
        let fault = || Refusal::Internal("a record on the ledger does not decode");
        let pairs = self.ledger.scan(&prefix).await?;
        let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
            let record = key.get(prefix.len()..).and_then(|id| RecordId::try_from(id).ok()).ok_or_else(fault)?;
            Ok((record, state::Record::decode(value.as_slice()).map_err(|_| fault())?))
        };
        pairs.into_iter().map(decode).collect()
    }
}
