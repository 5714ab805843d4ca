//! What was acknowledged must be in the vault. A vault that went back to an earlier time (a restored
//! backup, a disk that lost writes) would forget records, reuse their versions and number the access
//! log anew; so it is compared with what else remembers: the search index, resource by resource, and
//! the ledger, which counts the anchored batches of the access log.

use crate::{audit::AuditLog, index::Index, outcome::Refusal, records::Records};

/// Resources of the index that are compared at once.
const RESOURCES_PER_PAGE: u32 = 1_000;

/// What a vault lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Resources that the index has in a version that the vault does not have.
    pub resources: u64,
    /// Changes that the index, or the one that an earlier program had made, applied after the vault's last one.
    pub changes: u64,
    /// Batches of the access log that the ledger has.
    pub batches: u64,
}

impl Lacking {
    /// Compares. Every resource of the index is looked up, a page at a time; but not where both are in one
    /// database, which goes back to an earlier time as a whole.
    pub async fn of(records: &Records, index: &Index, audit: &AuditLog) -> Result<Self, Refusal> {
        let mut lacking = Self { batches: audit.lacking().await?, ..Self::default() };
        lacking.changes = index.last_known()?.saturating_sub(records.last_change().await?);
        if records.are_shared() {
            return Ok(lacking);
        }
        let mut after = 0;
        loop {
            let page = index.known(after, RESOURCES_PER_PAGE)?;
            let Some(last) = page.last() else { return Ok(lacking) };
            after = last.number;
            for known in &page {
                lacking.resources += u64::from(!records.has(&known.resource_type, &known.id, known.version)?);
            }
        }
    }

    /// Whether it lacks nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resources, changes, batches } = self;
        write!(
            formatter,
            "lacks what was acknowledged: {resources} resources and {changes} changes that the search index has, and \
             {batches} batches of the access log that the ledger has"
        )
    }
}
