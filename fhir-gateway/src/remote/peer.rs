//! Asking a custodian's gateway: signed, bounded, with a deadline. Answers open with this
//! organization's key alone.

use std::time::Duration;

use careledger_wire::ids::{Address, Digest};
use serde::Serialize;

use crate::{
    http_client::{self, Trust},
    organization::Organization,
    release::{
        messages::{AccessRequest, Answer, Read, Sealed, Search},
        signed::Request,
    },
};

/// Longest wait for a custodian.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for its connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Longest that an unused connection is kept: less than after which servers close theirs, so that a
/// request, which is signed for one use, does not meet a closing one.
const IDLE_MAX: Duration = Duration::from_secs(3);
/// Largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Why a custodian did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The configuration names no address for it.
    #[error("no address is configured for this custodian")]
    Unknown,
    /// Nobody answers, or not in time.
    #[error("the custodian does not answer")]
    Unreachable,
    /// It answered with another status.
    #[error("the custodian refused the request with status {0}")]
    Status(u16),
    /// Its answer does not open.
    #[error("the custodian's answer cannot be opened")]
    Answer,
}

pub(super) fn client(trust: &Trust) -> reqwest::Result<reqwest::Client> {
    let client = || {
        let builder = reqwest::Client::builder().timeout(DEADLINE).connect_timeout(CONNECT_DEADLINE);
        builder.pool_idle_timeout(IDLE_MAX).redirect(reqwest::redirect::Policy::none()).no_proxy()
    };
    http_client::build(client, trust)
}

/// What `custodian` releases of one type.
pub async fn search(organization: &Organization, custodian: &Address, search: &Search) -> Result<Answer, PeerError> {
    ask(organization, custodian, "search", search).await
}

/// What `custodian` releases of one resource.
pub async fn read(organization: &Organization, custodian: &Address, read: &Read) -> Result<Answer, PeerError> {
    ask(organization, custodian, "read", read).await
}

/// Hands an access request to its custodian; whether it acknowledged it.
pub async fn deliver(organization: &Organization, custodian: &Address, request: &AccessRequest) -> bool {
    match post(organization, custodian, "access-requests", request).await {
        Ok(_) => true,
        Err(error) => {
            tracing::info!(%error, %custodian, "an access request was not delivered and is tried again");
            false
        }
    }
}

async fn ask<T: Serialize>(
    organization: &Organization,
    custodian: &Address,
    operation: &str,
    body: &T,
) -> Result<Answer, PeerError> {
    let (bytes, exchange) = post(organization, custodian, operation, body).await?;
    let sealed: Sealed = serde_json::from_slice(&bytes).map_err(|_| PeerError::Answer)?;
    sealed.open_answer(&organization.keys.encryption, &exchange).map_err(|_| PeerError::Answer)
}

async fn post<T: Serialize>(
    organization: &Organization,
    custodian: &Address,
    operation: &str,
    body: &T,
) -> Result<(Vec<u8>, Digest), PeerError> {
    let base = organization.network.peer(custodian).ok_or(PeerError::Unknown)?;
    let url = format!("{}/peer/v1/{operation}", base.as_str().trim_end_matches('/'));
    let url: url::Url = url.parse().map_err(|_| PeerError::Unknown)?;
    let body = serde_json::to_vec(body).map_err(|_| PeerError::Answer)?;
    let request =
        Request { chain_id: organization.ledger.chain_id(), recipient: custodian, path: url.path(), body: &body };
    let (headers, exchange) = request.sign(&organization.keys.signer, crate::ledger::clock());
    let mut call = organization.network.client().post(url.clone()).header("content-type", "application/json");
    for (name, value) in headers.write() {
        call = call.header(name, value);
    }
    let mut response = call.body(body).send().await.map_err(|_| PeerError::Unreachable)?;
    if !response.status().is_success() {
        return Err(PeerError::Status(response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| PeerError::Unreachable)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(PeerError::Answer);
        }
    }
    Ok((bytes, exchange))
}
