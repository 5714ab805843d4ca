//! Searches over an index that is written meanwhile.

mod behind;
mod exporting;
mod finding;
mod pages;
mod value_sets;
mod writing;

use super::*;
use crate::{
    records::{Content, Listed, Rebuilt, Stored},
    resources::resource,
    search::{Handling, Query},
};

const BASE: &str = "http://here/fhir";
const ORGANIZATION: Address = Address::new([7; 20]);

struct Fixture {
    _directory: tempfile::TempDir,
    index: Index,
}

/// In a file; or, where a server is named, in a schema of its own there.
fn fixture() -> Fixture {
    let Some(settings) = crate::postgres::Settings::for_test() else { return in_a_file() };
    let postgres = Postgres::open(settings).expect("opens");
    postgres.make_schema().expect("a schema");
    let index = Index::on(postgres, BASE, ORGANIZATION);
    assert_eq!(index.is_prepared(), Ok(false));
    index.prepare().expect("tables");
    assert_eq!(index.is_prepared(), Ok(true));
    Fixture { _directory: tempfile::tempdir().expect("a directory"), index }
}

fn in_a_file() -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let index = Index::open(&directory.path().join("index.db"), &[3; 32], BASE, ORGANIZATION).expect("opens");
    Fixture { _directory: directory, index }
}

impl Fixture {
    fn put(&self, id: &str, version: u32, last_updated: i64, json: &str) {
        let document = Document::parse(json.as_bytes().to_vec()).expect("JSON");
        let resource_type = document.resource_type().expect("typed").to_string();
        let content = Indexed::Resource(&document);
        let entry = Entry { resource_type: &resource_type, id, version, last_updated, patient: None, content };
        self.index.put(0, &[entry]).expect("applies");
    }

    fn delete(&self, resource_type: &str, id: &str, version: u32) {
        let content = Indexed::Deleted;
        let entry = Entry { resource_type, id, version, last_updated: 0, patient: None, content };
        self.index.put(0, &[entry]).expect("applies");
    }

    /// The newest version that the index knows of a resource; deletions count.
    fn version(&self, resource_type: &str, id: &str) -> Option<u32> {
        let sql = "SELECT version FROM resource WHERE type = $1 AND id = $2";
        let found = self.index.with_reader(|reader| {
            let rows = reader.query(sql, vec![resource_type.into(), id.into()])?;
            rows.first().map(|row| row.count(0)).transpose()
        });
        found.expect("reads")
    }

    fn page(&self, kind: &str, query: &str) -> (Vec<String>, Option<u64>, Option<String>) {
        let page = self.index.search(&parse(kind, query)).expect("searches");
        let ids = page.hits.into_iter().map(|hit| hit.id).collect();
        (ids, page.total, page.next.map(|next| format!("{query}&_cursor={next}")))
    }

    fn ids(&self, kind: &str, query: &str) -> Vec<String> {
        self.page(kind, query).0
    }
}

fn parse(kind: &str, query: &str) -> Query {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Query::parse(resource(kind).expect("kept"), &pairs, Handling::Strict, BASE).expect("a valid query")
}

/// The first version of a Task.
fn stored(id: &str, body: &str) -> Arc<Stored> {
    Arc::new(Stored {
        resource_type: "Task".to_owned(),
        id: id.to_owned(),
        version: 1,
        last_updated: 1,
        content: Content::Json(body.as_bytes().to_vec().into()),
        patient: None,
        subject: None,
        salt: [0; 32],
        address: careledger_wire::ids::Digest::new([0; 32]),
    })
}
