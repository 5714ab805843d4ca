//! How an endpoint is told: one request, bounded in time, that follows nothing and reads no answer.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::address::{self, NotPublic, PublicOnly};
use crate::{
    config,
    format::{Format, Wanted},
    http_client::{self, Trust},
};

/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest that an unused connection is kept: less than after which servers close theirs.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// Why a notification did not arrive, as its owner and the operator may know it: nothing of an answer, a name or a
/// resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The endpoint's name leads to no public address.
    #[error("the endpoint's name leads to no public address")]
    Address,
    /// Nobody answers there.
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
    /// Whether trying again could help without anybody changing something.
    pub fn may_pass(self) -> bool {
        !matches!(self, Self::NotInXml | Self::NotAllowed | Self::Scope)
    }

    fn of(error: &reqwest::Error) -> Self {
        match error {
            error if NotPublic::is_behind(error) => Self::Address,
            error if error.is_timeout() => Self::Time,
            _ => Self::Connection,
        }
    }
}

/// One request to an endpoint.
pub struct Notification {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Room for the body, as long as it is on its way.
    _room: OwnedSemaphorePermit,
}

/// What calls endpoints.
pub struct Channel {
    /// For any public address.
    public: Client,
    /// For the origins that the operator named.
    trusted: Client,
    origins: Vec<String>,
    /// Bytes that may still be on their way.
    room: Arc<Semaphore>,
    room_bytes: u32,
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
            room: Arc::new(Semaphore::new(settings.bytes_in_flight_max as usize)),
            room_bytes: settings.bytes_in_flight_max,
        })
    }

    /// The origins that the operator named.
    pub fn trusted(&self) -> &[String] {
        &self.origins
    }

    /// The notification that there is something new, without saying what. It is `POST`ed.
    pub async fn ping(&self, endpoint: &Url, headers: &HeaderMap) -> Notification {
        let room = self.room_for(0).await;
        let (url, headers) = (endpoint.clone(), headers.clone());
        Notification { method: Method::POST, url, headers, body: Vec::new(), _room: room }
    }

    /// The notification that holds a resource, FHIR JSON: an update below the endpoint, which is the base of a FHIR
    /// server then (FHIR R4, subscription-channel-type). Waits until there is room for it.
    ///
    /// # Errors
    /// [`Failure::NotInXml`].
    pub async fn update(
        &self,
        endpoint: &Url,
        headers: &HeaderMap,
        format: Format,
        (resource_type, id, json): (&str, &str, Vec<u8>),
    ) -> Result<Notification, Failure> {
        let wanted = Wanted::of(format);
        let body = wanted.written(json).map_err(|_| Failure::NotInXml)?;
        let room = self.room_for(body.len()).await;
        let (mut url, mut headers) = (endpoint.clone(), headers.clone());
        url.path_segments_mut().map_err(|()| Failure::NotAllowed)?.pop_if_empty().push(resource_type).push(id);
        let media_type = HeaderValue::from_str(&wanted.content_type()).map_err(|_| Failure::Server)?;
        headers.insert(CONTENT_TYPE, media_type);
        Ok(Notification { method: Method::PUT, url, headers, body, _room: room })
    }

    /// Sends it. Any status of success will do; what else is in the answer is not read.
    ///
    /// # Errors
    /// Why it cannot be taken for delivered.
    pub async fn send(&self, notification: Notification) -> Result<(), Failure> {
        let Notification { method, url, headers, body, _room } = notification;
        // Also where the configuration changed since the endpoint was accepted.
        address::check(&url, &self.origins).map_err(|_| Failure::NotAllowed)?;
        let client = if address::is_trusted(&url, &self.origins) { &self.trusted } else { &self.public };
        let response = client.request(method, url).headers(headers).body(body).send().await;
        let status = response.map_err(|error| Failure::of(&error))?.status();
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
    }

    /// One larger than all of the room takes all of it.
    async fn room_for(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.room_bytes);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.expect("the room is never closed")
    }
}
