//! How an endpoint is told: one request, bounded in time, that follows nothing and reads no answer.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use reqwest::{
    Client, Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    address::{self, NotPublic, PublicOnly, Unknown},
    room::{Room, Rooms, Whose},
};
use crate::{
    config,
    format::{Format, Wanted},
    http_client::{self, Trust},
};

/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest that an unused connection is kept: less than after which servers close theirs.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// Why a notification did not arrive, as its owner may know it: nothing of an answer, a name or a resource. What an
/// owner is told must not show what names and addresses there are where the gateway stands, so two kinds have
/// one sentence; the operator's log has the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The endpoint's name leads to no public address.
    #[error("the endpoint cannot be connected to")]
    Address,
    /// Nobody answers there, or its name is not known.
    #[error("the endpoint cannot be connected to")]
    Connection,
    /// It does not answer in time.
    #[error("the endpoint did not answer in time")]
    Time,
    /// It answered with something else than success. Redirects are not followed.
    #[error("the endpoint answered with status {0}")]
    Status(u16),
    /// The resource has no XML form.
    #[error("a resource cannot be written as XML; take application/fhir+json as channel.payload")]
    NotInXml,
    /// What was asked for is not allowed any more: the configuration changed.
    #[error("this server would not accept the Subscription any more; send it again to see why")]
    NotAllowed,
    /// The client may not read or search the type any more.
    #[error("the client may no longer read and search what criteria names")]
    Scope,
    /// A fault of this server; its log names it.
    #[error("this server failed; its log names the fault")]
    Server,
}

impl Failure {
    /// Whether trying again could help without its owner changing something. What this process does not allow may
    /// be allowed by the next one, where one after the other gets another configuration.
    pub fn may_pass(self) -> bool {
        self != Self::NotInXml
    }
}

/// A notification that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// What its owner is told.
    pub failure: Failure,
    /// What the operator is told besides: never an address.
    pub reason: &'static str,
}

impl From<Failure> for Undelivered {
    fn from(failure: Failure) -> Self {
        Self { failure, reason: "" }
    }
}

impl Undelivered {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Failure::Time.into();
        }
        if is_behind::<NotPublic>(error) {
            return Self { failure: Failure::Address, reason: "the name leads to no public address" };
        }
        let reason = if is_behind::<Unknown>(error) {
            "the name leads nowhere"
        } else if source::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            "the connection was refused"
        } else {
            "the connection could not be made, or ended before an answer"
        };
        Self { failure: Failure::Connection, reason }
    }
}

fn is_behind<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    source::<T>(error).is_some()
}

/// The first error of a type behind another.
fn source<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What is to be told to an endpoint.
pub struct Draft {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Draft {
    /// Bytes that it needs room for.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// What is sent, once there is room for it.
    pub fn within(self, room: Room) -> Notification {
        Notification { draft: self, room }
    }
}

/// One request to an endpoint.
pub struct Notification {
    draft: Draft,
    /// Room for the body, as long as it is on its way.
    room: Room,
}

/// What calls endpoints.
pub struct Channel {
    /// For any public address.
    public: Client,
    /// For the origins that the operator named.
    trusted: Client,
    origins: Vec<String>,
    rooms: Rooms,
}

impl Channel {
    /// A channel as configured, which trusts `trust`'s authorities besides those of the system.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(settings: &config::Subscriptions, trust: &Trust) -> reqwest::Result<Self> {
        let deadline = Duration::from_secs(settings.delivery_seconds.into());
        let trusted = || {
            let builder = Client::builder().timeout(deadline).connect_timeout(CONNECT_DEADLINE.min(deadline));
            builder.pool_idle_timeout(IDLE_MAX).redirect(redirect::Policy::none()).no_proxy().referer(false)
        };
        let public = || trusted().https_only(true).dns_resolver(PublicOnly);
        Ok(Self {
            public: http_client::build(public, trust)?,
            trusted: http_client::build(trusted, trust)?,
            origins: settings.trusted_endpoints.clone(),
            rooms: Rooms::new(settings),
        })
    }

    /// The origins that the operator named.
    pub fn trusted(&self) -> &[String] {
        &self.origins
    }

    /// Room for what is on its way.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Sends it. Any status of success will do; what else is in the answer is not read.
    ///
    /// # Errors
    /// Why it cannot be taken for delivered.
    pub async fn send(&self, notification: Notification) -> Result<(), Undelivered> {
        let Notification { draft: Draft { method, url, headers, body }, room } = notification;
        // Also where the configuration changed since the endpoint was accepted.
        address::check(&url, &self.origins).map_err(|_| Failure::NotAllowed)?;
        let client = if address::is_trusted(&url, &self.origins) { &self.trusted } else { &self.public };
        let began = Instant::now();
        let response = client.request(method, url).headers(headers).body(body).send().await;
        room.answered(began.elapsed());
        let status = response.map_err(|error| Undelivered::of(&error))?.status();
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16()).into()) }
    }
}

/// Whose room is taken by what goes to an endpoint.
pub fn whose(client: &str, endpoint: &Url) -> Whose {
    Whose { client: client.to_owned(), origin: endpoint.origin().ascii_serialization() }
}

/// The notification that there is something new, without saying what. It is `POST`ed.
pub fn ping(endpoint: &Url, headers: &HeaderMap) -> Draft {
    Draft { method: Method::POST, url: endpoint.clone(), headers: headers.clone(), body: Vec::new() }
}

/// The notification that holds a resource, FHIR JSON: an update below the endpoint, which is the base of a FHIR
/// server then (FHIR R4, subscription-channel-type).
///
/// # Errors
/// [`Failure::NotInXml`].
pub fn update(
    endpoint: &Url,
    headers: &HeaderMap,
    format: Format,
    (resource_type, id, json): (&str, &str, Vec<u8>),
) -> Result<Draft, Failure> {
    let wanted = Wanted::of(format);
    let body = wanted.written(json).map_err(|_| Failure::NotInXml)?;
    let (mut url, mut headers) = (endpoint.clone(), headers.clone());
    url.path_segments_mut().map_err(|()| Failure::NotAllowed)?.pop_if_empty().push(resource_type).push(id);
    let media_type = HeaderValue::from_str(&wanted.content_type()).map_err(|_| Failure::Server)?;
    headers.insert(CONTENT_TYPE, media_type);
    Ok(Draft { method: Method::PUT, url, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with causes, as those of a client are.
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Box<dyn Error + 'static>);

    fn behind(error: impl Error + 'static) -> Outer {
        Outer(Box::new(Outer(Box::new(error))))
    }

    #[test]
    fn a_cause_is_found_however_deep_it_is() {
        assert!(is_behind::<NotPublic>(&behind(NotPublic)) && !is_behind::<NotPublic>(&behind(Unknown)));
        let refused = behind(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(source::<io::Error>(&refused).map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn what_this_process_does_not_allow_may_be_allowed_by_the_next() {
        for failure in [Failure::Scope, Failure::NotAllowed, Failure::Server, Failure::Address, Failure::Status(404)] {
            assert!(failure.may_pass(), "{failure:?}");
        }
        assert!(!Failure::NotInXml.may_pass());
    }
}
