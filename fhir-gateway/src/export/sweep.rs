//! What is removed of exports, and what is left of them.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Exports,
    rows::{BEGUN, EARLIER, ORDER, OWN, PARTS, STATE, key, long_over},
};
use crate::{
    outcome::Refusal,
    vault::{Batch, Durability, Space},
};

/// Keys that one page of a removal holds.
const KEYS_PER_PAGE: usize = 1_000;

impl Exports {
    /// Removes an export and all of its files.
    pub(super) async fn forget(self: &Arc<Self>, id: &str, client: &str) -> Result<(), Refusal> {
        self.forget_rows(vec![self.own_key(id, client)]).await?;
        self.sweep(id).await
    }

    /// Removes rows of clients: their exports are not there any more.
    async fn forget_rows(self: &Arc<Self>, own_keys: Vec<Vec<u8>>) -> Result<(), Refusal> {
        let _changing = self.changing().await?;
        let mut batch = Batch::default();
        own_keys.into_iter().for_each(|own| batch.delete(Space::Export, own));
        Ok(self.store.commit(batch, Durability::Synced).await?)
    }

    /// Removes what is left of exports that are not there any more, and all of those that an earlier build kept.
    pub(super) async fn sweep_orphans(self: &Arc<Self>) -> Result<(), Refusal> {
        let mut earlier = 0;
        for prefix in EARLIER {
            earlier += self.sweep_below(prefix.to_owned()).await?;
        }
        if earlier > 0 {
            tracing::warn!(rows = earlier, "the exports of an earlier careledger-gateway were removed");
        }
        self.sweep_rows().await?;
        let orphans = |exports: &Self| {
            let mut ids = BTreeSet::new();
            for prefix in [BEGUN, ORDER, STATE].into_iter().chain(PARTS) {
                exports.ids_below(prefix, &mut ids)?;
            }
            // Read after them: what was begun meanwhile is none.
            let kept = exports.kept()?;
            // Of whom a row is that does not open is not known: what is left of others waits until that has gone.
            ids.retain(|id| kept.are_all && !kept.ids.contains(id));
            Ok(ids)
        };
        for id in self.asking(orphans).await? {
            self.sweep(&id).await?;
        }
        Ok(())
    }

    /// Removes the rows of clients whose exports are not there, and those of exports whose longest time is over, whether
    /// or not they open.
    async fn sweep_rows(self: &Arc<Self>) -> Result<(), Refusal> {
        let rows = |exports: &Self| {
            let mut rows = Vec::new();
            for (_, value) in exports.store.scan(Space::Export, BEGUN.as_bytes(), None, usize::MAX)? {
                rows.extend(long_over(&value));
            }
            for (own, sealed) in exports.store.scan(Space::Export, OWN.as_bytes(), None, usize::MAX)? {
                // They are put down together, and the client's row is removed first.
                let Ok(id) = exports.opened::<String>(&own, &sealed) else { continue };
                if exports.store.get(Space::Export, &key(STATE, id))?.is_none() {
                    rows.push(own);
                }
            }
            Ok(rows)
        };
        let rows = self.asking(rows).await?;
        if rows.is_empty() { Ok(()) } else { self.forget_rows(rows).await }
    }

    /// Removes all of an export but its client's row.
    async fn sweep(self: &Arc<Self>, id: &str) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.delete(Space::Export, key(STATE, id));
        batch.delete(Space::Export, key(ORDER, id));
        batch.delete(Space::Export, key(BEGUN, id));
        self.store.commit(batch, Durability::Ordered).await?;
        for prefix in PARTS {
            self.sweep_below(format!("{prefix}{id}/")).await?;
        }
        Ok(())
    }

    /// Removes all rows below a prefix; gives how many these were.
    async fn sweep_below(self: &Arc<Self>, prefix: String) -> Result<usize, Refusal> {
        let mut removed = 0;
        loop {
            let below = prefix.clone();
            let page =
                move |exports: &Self| Ok(exports.store.scan(Space::Export, below.as_bytes(), None, KEYS_PER_PAGE)?);
            let page = self.asking(page).await?;
            if page.is_empty() {
                return Ok(removed);
            }
            removed += page.len();
            let mut batch = Batch::default();
            page.into_iter().for_each(|(key, _)| batch.delete(Space::Export, key));
            self.store.commit(batch, Durability::Ordered).await?;
        }
    }

    /// Adds the ids that stand behind a prefix.
    fn ids_below(&self, prefix: &str, ids: &mut BTreeSet<String>) -> Result<(), Refusal> {
        let mut after: Option<Vec<u8>> = None;
        while let Some((key, _)) = self.store.scan(Space::Export, prefix.as_bytes(), after.as_deref(), 1)?.pop() {
            let mut rest = key[prefix.len()..].split(|byte| *byte == b'/');
            let id = String::from_utf8_lossy(rest.next().unwrap_or_default()).into_owned();
            // Where more of that export may follow, behind all of it: a byte that is in no key.
            after = Some(match rest.next() {
                Some(_) => [prefix.as_bytes(), id.as_bytes(), b"/\xff"].concat(),
                None => key,
            });
            ids.insert(id);
        }
        Ok(())
    }
}
