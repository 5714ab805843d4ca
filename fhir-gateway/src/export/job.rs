//! An export as it is kept between two steps of it: what was asked for, which never changes and may be long, and how
//! far it is, which is short.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::clock,
    outcome::Refusal,
    resources::{Resource, resource},
    search::{Handling, Query, is_about_answers},
    value_sets::{Pins, Sets},
};

/// Lines of one file.
pub const LINES_PER_FILE_MAX: u32 = 10_000;
/// Lines of one file of what other custodians hold: all of them are asked for before the first is sent.
pub const ELSEWHERE_PER_FILE_MAX: u32 = 100;
/// How long an export is kept after it has ended, in seconds.
pub const KEPT_SECONDS: i64 = 24 * 3_600;
/// How long an export may take, in seconds.
pub const RUNNING_SECONDS_MAX: i64 = 7 * 24 * 3_600;
/// The type of which other custodians hold some.
pub const ELSEWHERE: &str = "DocumentReference";

/// Whose records are exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Everything that the organization itself holds.
    System,
    /// What is about its Patients.
    Patients,
    /// What is about the members of a Group.
    Group {
        /// Its id.
        id: String,
        /// The version whose members they are.
        version: u32,
    },
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Whose records.
    pub scope: Scope,
    /// The address of the kick-off.
    pub request: String,
    /// Of which types.
    pub types: Vec<String>,
    /// Of a type, those that meet one of its filters: a type and the query of a search each.
    pub filters: Vec<(String, String)>,
    /// Written then or later, Unix seconds.
    pub since: Option<i64>,
    /// What of each; all of it if none.
    pub elements: Vec<String>,
    /// About these Patients only.
    pub patients: Option<Vec<String>>,
    /// What the value sets that the filters name meant when it was asked for.
    #[serde(default)]
    pub sets: Pins,
    /// Marks of the versions that were being written then, in hexadecimal: what becomes of them is awaited.
    pub waiting: Vec<String>,
}

/// One stretch of the way: a type is gone through by id.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// What is there of a type.
    Live(&'static Resource),
    /// What was deleted of it since.
    Deleted(&'static Resource),
    /// What consent opens at other custodians, Patient by Patient.
    Elsewhere,
}

impl Order {
    /// The whole way.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for kind in self.types.iter().filter_map(|name| resource(name)) {
            steps.push(Step::Live(kind));
            if kind.name == ELSEWHERE && self.scope != Scope::System {
                steps.push(Step::Elsewhere);
            }
            if self.since.is_some() {
                steps.push(Step::Deleted(kind));
            }
        }
        steps
    }

    /// The searches of a type of which a resource must meet one; one that all meet where none was asked for.
    ///
    /// # Errors
    /// As [`Query::parse`] under strict handling, and for parameters that are about an answer and not about resources.
    pub fn queries(&self, kind: &'static Resource, base_url: &str, sets: &Sets) -> Result<Vec<Query>, Refusal> {
        let own = self.filters.iter().filter(|(name, _)| name == kind.name);
        let queries: Vec<Query> = own.map(|(_, query)| read(kind, query, base_url, sets)).collect::<Result<_, _>>()?;
        Ok(if queries.is_empty() { vec![Query::all(kind)] } else { queries })
    }

    /// The pairs of all filters, whichever type they are for.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.filters.iter().flat_map(|(_, query)| pairs(query)).collect()
    }
}

/// The pairs of a filter's query.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn read(kind: &'static Resource, query: &str, base_url: &str, sets: &Sets) -> Result<Query, Refusal> {
    let pairs = pairs(query);
    if pairs.is_empty() || pairs.iter().any(|(name, _)| is_about_answers(name)) {
        return Err(Refusal::BadRequest(
            "_typeFilter must be a type, ? and search parameters of that type that are about resources".to_owned(),
        ));
    }
    Query::parse_among(kind, &pairs, Handling::Strict, base_url, sets)
}

/// Splits `Type?query,Type?query`; commas within a query stay.
///
/// # Errors
/// [`Refusal::BadRequest`] where no type stands first.
pub fn filters(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut found: Vec<(String, String)> = Vec::new();
    for piece in text.split(',') {
        let is_type = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_alphabetic())
        };
        match (piece.split_once('?').filter(|(name, _)| is_type(name)), found.last_mut()) {
            (Some((name, query)), _) => found.push((name.to_owned(), query.to_owned())),
            (None, Some((_, query))) => {
                query.push(',');
                query.push_str(piece);
            }
            (None, None) => {
                return Err(Refusal::BadRequest("_typeFilter must be a type, ? and a search of that type".to_owned()));
            }
        }
    }
    Ok(found)
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Resources of this organization.
    Output,
    /// Resources that other custodians hold.
    Elsewhere,
    /// What was deleted.
    Deleted,
    /// What went wrong.
    Error,
}

/// A file: a list of what is in it, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What it is for.
    pub kind: Kind,
    /// The type of its resources.
    pub resource_type: String,
    /// How many parts it has.
    pub parts: u32,
    /// How many lines they have.
    pub lines: u32,
}

/// One line of a file: where its content is, not what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// A version in the vault.
    Version(String, u32),
    /// A deletion in the vault.
    Deleted(String, u32),
    /// A resource of another custodian, by its id here.
    Elsewhere(String),
    /// What went wrong, in words that name no patient.
    Outcome(Value),
}

/// How an export ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Everything is in the files.
    Complete,
    /// It could not be finished; the log names why.
    Failed,
}

/// What an export waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// What becomes of writes that were under way when it was asked for.
    Writes,
    /// That the index has everything, as after it was emptied.
    Index,
}

/// How far an export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its id: random.
    pub id: String,
    /// The client that asked, which alone knows of it.
    pub client: String,
    /// The scopes of the token with which it asked.
    pub scopes: String,
    /// When, Unix seconds by this machine's clock.
    pub began: i64,
    /// The time of the last block then: every version up to it is exported, and none after it.
    pub transaction_time: i64,
    /// Sequence of the last change when nothing was awaited any more: no step sees an index that has less. 0 before.
    pub through: u64,
    /// What it waits for, if it does.
    pub awaits: Option<Awaited>,
    /// Steps that are done.
    pub step: usize,
    /// Last id of the step at hand.
    pub after: String,
    /// The files so far.
    pub files: Vec<File>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Before which nothing is tried again, Unix seconds.
    pub retry_at: i64,
    /// When and how it ended, if it has.
    pub end: Option<(i64, End)>,
    /// How often it was put down. Each number is used once, by one process.
    pub revision: u32,
}

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// What was asked for.
    pub order: Order,
    /// How far it is.
    pub job: Job,
}

impl Job {
    /// One that begins now, of which nothing is done. `client` asked with a token of these scopes.
    pub fn new(id: String, client: String, scopes: String, transaction_time: i64) -> Self {
        Self {
            id,
            client,
            scopes,
            began: clock(),
            transaction_time,
            through: 0,
            awaits: None,
            step: 0,
            after: String::new(),
            files: Vec::new(),
            failures: 0,
            retry_at: 0,
            end: None,
            revision: 0,
        }
    }

    /// Whether a part of the way is made.
    pub fn is_under_way(&self) -> bool {
        self.step > 0 || !self.after.is_empty()
    }

    /// When it is forgotten, Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.end.map_or(self.began + RUNNING_SECONDS_MAX, |(at, _)| at + KEPT_SECONDS)
    }

    /// Puts lines at the end of the files of their kind and type; gives each piece with the numbers of its file
    /// and its part.
    pub fn append(&mut self, kind: Kind, resource_type: &str, mut lines: Vec<Line>) -> Vec<(u32, u32, Vec<Line>)> {
        let most = if kind == Kind::Elsewhere { ELSEWHERE_PER_FILE_MAX } else { LINES_PER_FILE_MAX };
        let mut pieces = Vec::new();
        while !lines.is_empty() {
            let is_open = |file: &File| file.kind == kind && file.resource_type == resource_type && file.lines < most;
            let at = self.files.iter().rposition(is_open).unwrap_or_else(|| {
                self.files.push(File { kind, resource_type: resource_type.to_owned(), parts: 0, lines: 0 });
                self.files.len() - 1
            });
            let file = &mut self.files[at];
            let room = usize::try_from(most - file.lines).unwrap_or(usize::MAX).min(lines.len());
            let rest = lines.split_off(room);
            let number = u32::try_from(at).expect("files are bounded by the number of resources");
            pieces.push((number, file.parts, lines));
            file.parts += 1;
            file.lines += u32::try_from(room).expect("at most the lines of a file");
            lines = rest;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(scope: Scope, types: &[&str], since: Option<i64>) -> Order {
        let types = types.iter().map(|name| (*name).to_owned()).collect();
        let (request, filters, elements) = (String::new(), vec![], vec![]);
        let (sets, waiting) = (Pins::default(), vec![]);
        Order { scope, request, types, filters, since, elements, patients: None, sets, waiting }
    }

    #[test]
    fn filters_are_split_where_a_type_begins() {
        let split = |text: &str| filters(text).expect("filters");
        let pair = |name: &str, query: &str| (name.to_owned(), query.to_owned());
        assert_eq!(split("Observation?code=a,b"), [pair("Observation", "code=a,b")]);
        assert_eq!(
            split("Observation?code=a,b,Condition?code=c,d=e?f"),
            [pair("Observation", "code=a,b"), pair("Condition", "code=c,d=e?f")]
        );
        for wrong in ["", "code=a", "observation?code=a", "?code=a"] {
            assert!(filters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_are_about_resources_and_known() {
        let mut order = order(Scope::System, &["Observation"], None);
        let (kind, sets) = (resource("Observation").expect("kept"), Sets::default());
        assert_eq!(order.queries(kind, "http://here", &sets).expect("all").len(), 1);
        for wrong in ["", "_count=1", "_include=Observation:subject", "_sort=date", "color=red", "date=never"] {
            order.filters = vec![("Observation".to_owned(), wrong.to_owned())];
            assert!(order.queries(kind, "http://here", &sets).is_err(), "{wrong}");
        }
        order.filters =
            ["status=final", "code=a&date=ge2020"].map(|query| ("Observation".to_owned(), query.to_owned())).into();
        let criteria: Vec<usize> =
            order.queries(kind, "http://here", &sets).expect("two").iter().map(|query| query.criteria.len()).collect();
        assert_eq!(criteria, [1, 2]);
    }

    #[test]
    fn an_order_that_was_kept_before_filters_could_name_value_sets_is_read() {
        let mut kept = serde_json::to_value(order(Scope::System, &["Condition"], None)).expect("JSON");
        kept.as_object_mut().expect("an object").remove("sets").expect("it is kept now");
        let read: Order = serde_json::from_value(kept).expect("read");
        assert_eq!(read, order(Scope::System, &["Condition"], None));
    }

    #[test]
    fn a_way_has_every_type_once_and_what_goes_with_it() {
        let steps = |scope, since| order(scope, &["Condition", "DocumentReference"], since).steps().len();
        assert_eq!(steps(Scope::System, None), 2);
        assert_eq!(steps(Scope::Patients, None), 3);
        assert_eq!(steps(Scope::Patients, Some(1)), 5);
    }

    #[test]
    fn lines_fill_a_file_before_the_next_begins_and_none_is_lost() {
        let mut job = crate::export::tests::export("one").job;
        let lines = |count: u32| (0..count).map(|n| Line::Version(n.to_string(), 1)).collect::<Vec<_>>();
        let mut seen = 0;
        for (kind, name, count) in [
            (Kind::Output, "Patient", 6_000),
            (Kind::Output, "Condition", 1),
            (Kind::Output, "Patient", 6_000),
            (Kind::Elsewhere, "Patient", 250),
            (Kind::Output, "Patient", 1),
        ] {
            for (file, part, lines) in job.append(kind, name, lines(count)) {
                let at = &job.files[file as usize];
                assert!(at.kind == kind && at.resource_type == name && part < at.parts && !lines.is_empty());
                seen += lines.len();
            }
        }
        assert_eq!(seen, 12_252);
        let lines: Vec<u32> = job.files.iter().map(|file| file.lines).collect();
        assert_eq!(lines, [10_000, 1, 2_001, 100, 100, 50]);
    }
}
