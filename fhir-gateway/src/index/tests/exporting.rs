//! What an export reads of an index that is emptied and filled meanwhile.

use super::*;
use crate::index::export::{Wanted, Which, Whom};

const PATIENT: &str = r#"{"resourceType":"Patient"}"#;

fn wanted(through: u64) -> Wanted {
    let query = Query::all(resource("Patient").expect("kept"));
    Wanted { query, which: Which::Live, whom: Whom::Anybody, since: None, after: String::new(), count: 10, through }
}

impl Fixture {
    fn exported(&self, through: u64) -> Option<usize> {
        self.index.export(&wanted(through)).expect("reads").map(|rows| rows.len())
    }

    fn put_through(&self, through: u64, id: &str) {
        self.put(id, 1, 0, PATIENT);
        self.index.put(through, &[]).expect("applies");
    }
}

/// What it had so far was taken for all there is.
#[test]
fn an_export_reads_no_part_of_an_index_that_lacks_what_it_must_have() {
    let fixture = fixture();
    assert_eq!(fixture.exported(0), Some(0), "nothing is missing where nothing was written");
    assert_eq!(fixture.exported(1), None);
    fixture.put_through(2, "a");
    assert_eq!([1, 2, 3].map(|through| fixture.exported(through)), [Some(1), Some(1), None]);
    // Made anew: emptied, filled in part, and whole again.
    fixture.index.clear().expect("empties");
    assert_eq!(fixture.exported(2), None);
    fixture.index.rebuild(&Rebuilt { after: vec![1], damaged: 0 }, &[]).expect("begins");
    fixture.put("a", 1, 0, PATIENT);
    assert_eq!(fixture.exported(2), None);
    fixture.put_through(3, "b");
    assert_eq!(fixture.exported(2), Some(2));
}
