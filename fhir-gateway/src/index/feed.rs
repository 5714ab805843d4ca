//! What the write pipeline tells the index.

use std::sync::Arc;

use super::{
    Entry, Index, Indexed,
    database::{Answer, Connection},
    history, i64_of, schema, write,
};
use crate::{
    json::Document,
    outcome::Refusal,
    records::{Content, Feed, Listed, Rebuilt, Stored},
};

impl Feed for Index {
    fn applied(&self) -> Result<u64, Refusal> {
        Ok(u64::try_from(self.with_reader(schema::applied)?).unwrap_or_default())
    }

    fn apply(&self, through: u64, listed: &[Listed], versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        let documents = parsed(versions);
        self.write(|connection, context| {
            write::apply(connection, context, &entries(versions, &documents))?;
            finish(connection, through, listed)
        })
    }

    fn apply_after(
        &self,
        before: u64,
        through: u64,
        listed: &[Listed],
        versions: &[Arc<Stored>],
    ) -> Result<bool, Refusal> {
        Ok(self.tables.put_after(before, through, listed, versions)?)
    }

    fn list(&self, versions: &[Listed]) -> Result<(), Refusal> {
        self.write(|connection, _| history::list(connection, versions))
    }

    fn clear(&self) -> Result<(), Refusal> {
        Ok(self.tables.clear()?)
    }

    fn rebuilt(&self) -> Result<Option<Rebuilt>, Refusal> {
        // Changes that wait are some since: and tables that refuse these can be emptied all the same.
        let rebuilt = if self.tables.has_waiting() { None } else { self.with_reader(schema::rebuilt)? };
        let Some((after, damaged)) = rebuilt else { return Ok(None) };
        let after = hex::decode(after).map_err(|_| Refusal::Internal("the mark of a rebuild is no record"))?;
        Ok(Some(Rebuilt { after, damaged }))
    }

    fn rebuild(&self, rebuilt: &Rebuilt, versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        let (documents, after) = (parsed(versions), hex::encode(&rebuilt.after));
        self.write(|connection, context| {
            write::apply(connection, context, &entries(versions, &documents))?;
            schema::set_rebuilt(connection, &after, rebuilt.damaged)
        })
    }
}

/// What a write of versions ends with.
pub(super) fn finish(connection: &Connection, through: u64, listed: &[Listed]) -> Answer<()> {
    history::list(connection, listed)?;
    schema::set_applied(connection, i64_of(through))
}

pub(super) fn entries<'a>(versions: &'a [Arc<Stored>], documents: &'a [Option<Document>]) -> Vec<Entry<'a>> {
    let entry = |(stored, document): (&'a Arc<Stored>, &'a Option<Document>)| Entry {
        resource_type: &stored.resource_type,
        id: &stored.id,
        version: stored.version,
        last_updated: stored.last_updated,
        patient: stored.patient.as_deref(),
        content: match (document, &stored.content) {
            (Some(document), _) => Indexed::Resource(document),
            (None, Content::Deleted) => Indexed::Deleted,
            (None, _) => Indexed::Opaque,
        },
    };
    versions.iter().zip(documents).map(entry).collect()
}

/// The JSON of versions. One that does not parse is found by id only: a single damaged body must
/// not keep everything after it out of the index.
pub(super) fn parsed(versions: &[Arc<Stored>]) -> Vec<Option<Document>> {
    let parsed = |stored: &Arc<Stored>| {
        let Content::Json(bytes) = &stored.content else { return None };
        let document = Document::parse(bytes.clone());
        if document.is_err() {
            let (resource_type, version) = (&stored.resource_type, stored.version);
            tracing::error!(resource_type, version, "a kept resource does not parse and is indexed by its id alone");
        }
        document.ok()
    };
    versions.iter().map(parsed).collect()
}
