//! A Subscription: what its owner asked for, and how far it is.

use serde::{Deserialize, Serialize};

use super::channel::Failure;
use crate::{
    auth::clock,
    json::{Document, Serving, Tree, quoted},
    outcome::Refusal,
    resources::resource,
};

/// What an owner asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its id: nobody can guess it.
    pub id: String,
    /// Its place in the order in which Subscriptions were made.
    pub number: u64,
    /// The client that owns it, which alone knows of it.
    pub client: String,
    /// The scopes of the token with which it was written last.
    pub scopes: String,
    /// How often its owner wrote it.
    pub revision: u32,
    /// When, Unix seconds.
    pub written_at: i64,
    /// What.
    pub wish: Wish,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The resource, as accepted.
    pub resource: String,
    /// When it is removed, Unix seconds.
    pub end: Option<i64>,
    /// Whether its owner switched it off.
    pub is_off: bool,
}

/// R4's `Subscription.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The worker did not look at it yet.
    Requested,
    /// It is told.
    Active,
    /// The last notification failed, and is tried again.
    Error,
    /// Nothing is sent: its owner said so, or it failed too often.
    Off,
}

impl Status {
    /// Its code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Error => "error",
            Self::Off => "off",
        }
    }
}

/// How far a Subscription is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The owner's revision that this is about.
    pub revision: u32,
    /// What the worker made of it.
    pub status: Status,
    /// How often that changed.
    pub changes: u32,
    /// When it changed last, Unix seconds.
    pub changed_at: i64,
    /// Everything up to this change was told, or is none of its business.
    pub cursor: u64,
    /// Up to this change the access log says what is sent.
    pub logged: u64,
    /// Notifications that arrived.
    pub delivered: u64,
    /// Attempts at the next notification that failed.
    pub failures: u32,
    /// Why the last one did.
    pub error: Option<Failure>,
    /// Versions that it may have been about and that the vault had no more, as far as its owner may know.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
}

/// Processes of earlier versions that read a row know no such number.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A Subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What its owner asked for.
    pub asked: Asked,
    /// How far it is.
    pub state: State,
}

impl State {
    /// The status of the owner's revision that is so far.
    pub fn status_of(&self, revision: u32, is_off: bool) -> Status {
        match (self.revision == revision, self.status) {
            _ if is_off => Status::Off,
            (true, status) => status,
            (false, _) => Status::Requested,
        }
    }

    /// What the worker makes of it from now on.
    pub fn turn(&mut self, status: Status, error: Option<Failure>) {
        if (self.status, self.error) != (status, error) {
            (self.status, self.error) = (status, error);
            self.changes = self.changes.saturating_add(1);
            self.changed_at = clock();
        }
    }
}

impl Subscription {
    /// A new one of `client`, which is told of what becomes visible after the change `cursor`.
    pub fn new(id: String, client: &str, scopes: String, wish: Wish, cursor: u64) -> Self {
        let now = clock();
        let asked = Asked { id, number: 0, client: client.to_owned(), scopes, revision: 1, written_at: now, wish };
        let state = State {
            revision: 0,
            status: Status::Requested,
            changes: 0,
            changed_at: now,
            cursor,
            logged: 0,
            delivered: 0,
            failures: 0,
            error: None,
            lost: 0,
        };
        Self { asked, state }
    }

    /// The resource as its owner wrote it.
    pub fn document(&self) -> Result<Document, Refusal> {
        Document::parse(self.asked.wish.resource.clone())
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.state.status_of(self.asked.revision, self.asked.wish.is_off)
    }

    /// The type that it is about.
    pub fn about(&self) -> Option<&'static str> {
        let document = self.document().ok()?;
        let criteria = document.root().text("criteria")?;
        Some(resource(criteria.split('?').next()?)?.name)
    }

    /// Why the last notification failed, as long as that is so.
    pub fn error(&self) -> Option<Failure> {
        self.state.error.filter(|_| matches!(self.status(), Status::Error | Status::Off))
    }

    /// Its version: it changes with what is asked for and with the status.
    pub fn version(&self) -> u32 {
        self.asked.revision.saturating_add(self.state.changes)
    }

    /// When it changed last, Unix seconds.
    pub fn last_updated(&self) -> i64 {
        self.asked.written_at.max(self.state.changed_at)
    }

    /// The resource as its owner sees it: as it was written, with the status and the last error.
    pub fn served(&self) -> Result<Vec<u8>, Refusal> {
        let document = self.document()?;
        let mut tree = Tree::of(&document);
        tree.set("status", Tree::Made(quoted(self.status().code())));
        tree.remove("error");
        if let Some(error) = self.error() {
            tree.set("error", Tree::Made(quoted(&error.to_string())));
        }
        let serving = Serving { version: self.version(), last_updated: self.last_updated(), source: None };
        Ok(Document::parse(tree.print())?.served(&serving))
    }

    /// Whether its time has passed.
    pub fn is_over(&self, now: i64) -> bool {
        self.asked.wish.end.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(status: &str) -> Subscription {
        let resource = format!(
            r#"{{"resourceType":"Subscription","id":"s","status":"{status}","error":"made up","reason":"r",
                "criteria":"Observation","channel":{{"type":"rest-hook","endpoint":"https://example.org"}}}}"#
        );
        let wish = Wish { resource, end: None, is_off: status == "off" };
        Subscription::new("s".to_owned(), "ehr", "system/*.rs".to_owned(), wish, 7)
    }

    fn shown(subscription: &Subscription) -> (String, Option<String>, String) {
        let served: serde_json::Value = serde_json::from_slice(&subscription.served().unwrap()).unwrap();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        (text(&served["status"]).unwrap(), text(&served["error"]), text(&served["meta"]["versionId"]).unwrap())
    }

    #[test]
    fn status_and_error_are_the_servers_words_and_each_change_of_them_is_a_version() {
        let mut subscription = subscription("active");
        let version = |number: u32| number.to_string();
        assert_eq!(shown(&subscription), ("requested".to_owned(), None, version(1)));
        subscription.state.revision = 1;
        subscription.state.turn(Status::Active, None);
        assert_eq!(shown(&subscription), ("active".to_owned(), None, version(2)));
        subscription.state.turn(Status::Active, None);
        assert_eq!(subscription.version(), 2, "nothing changed");
        subscription.state.turn(Status::Error, Some(Failure::Status(500)));
        let said = "the endpoint answered with status 500";
        assert_eq!(shown(&subscription), ("error".to_owned(), Some(said.to_owned()), version(3)));
        subscription.state.turn(Status::Off, Some(Failure::Status(500)));
        assert_eq!(shown(&subscription), ("off".to_owned(), Some(said.to_owned()), version(4)));
        // Written anew by its owner.
        subscription.asked.revision = 2;
        assert_eq!(shown(&subscription), ("requested".to_owned(), None, version(5)));
    }

    #[test]
    fn one_that_its_owner_switched_off_is_off_whatever_the_worker_made_of_it() {
        let mut subscription = subscription("off");
        assert_eq!(subscription.status(), Status::Off);
        subscription.state.revision = 1;
        subscription.state.turn(Status::Active, None);
        assert_eq!(subscription.status(), Status::Off);
    }
}
