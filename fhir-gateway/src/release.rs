//! What a custodian answers to another organization's gateway. docs/api/exchange.md
//!
//! `POST /{organization}/peer/v1/{search,read,access-requests}`: the request is signed by the
//! asker's account key ([`signed`]), decided from proven ledger state ([`answer`]), logged, and
//! answered sealed to the asker's registered key ([`messages`]).
//!
//! Absent on purpose: tokens. Another organization is not a client; its account key is who it is.

use actix_web::{HttpRequest, HttpResponse, web::Bytes};
use careledger_app::{accounts, keys};
use careledger_wire::signing::PublicKey;
use serde::{Serialize, de::DeserializeOwned};

use self::{
    messages::Sealed,
    signed::{Headers, Request, SignatureError},
};
use crate::{ledger, organization::Organization, outcome::Refusal, server::headers::origin};

pub mod answer;
pub mod messages;
pub mod requests;
pub mod signed;

/// Largest request body in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Answers one request of another organization's gateway to `organization`; the body has at most
/// [`BODY_BYTES_MAX`].
///
/// # Errors
/// [`Refusal::Unauthorized`] where the signature does not hold; [`Refusal::NotFound`] for another
/// operation; [`Refusal::BadRequest`] for a body that does not parse.
pub async fn handle(
    organization: &Organization,
    operation: &str,
    request: &HttpRequest,
    body: &Bytes,
) -> Result<HttpResponse, Refusal> {
    let headers = Headers::read(|name| request.headers().get(name)?.to_str().ok()).map_err(unauthorized)?;
    let own = organization.address();
    let signed = Request { chain_id: organization.ledger.chain_id(), recipient: &own, path: request.path(), body };
    let (acceptance, now) = (organization.network.acceptance(), ledger::clock());
    let (address, exchange) = acceptance.verify(&signed, &headers, now).map_err(unauthorized)?;
    let asker = answer::asker(organization, address, origin(request)).await?;
    let asker = asker.ok_or(Refusal::Unauthorized("the signing organization is not registered on the ledger"))?;
    let account = organization.ledger.get(&keys::account(&address)).await?;
    let key = PublicKey::Secp256k1(headers.key);
    if account.and_then(|account| accounts::authority(&address, &account, &key)).is_none() {
        return Err(Refusal::Unauthorized("the signing key is no longer the organization's"));
    }
    acceptance.remember(&exchange, headers.time, now).await?.map_err(unauthorized)?;
    organization.network.rates().check(&asker.address.to_string())?;
    let answer = match operation {
        "search" => answer::search(organization, &asker, &parse(body)?, &answer::BOUNDS).await?,
        "read" => answer::read(organization, &asker, &parse(body)?).await?,
        "access-requests" => {
            requests::take(organization, &asker, &parse(body)?).await?;
            return Ok(HttpResponse::Accepted().finish());
        }
        _ => return Err(Refusal::NotFound),
    };
    let sealed = Sealed::answer(&answer, &asker.key, &exchange);
    json(&sealed.map_err(|_| Refusal::Rule("the asker's registered encryption key is not usable".to_owned()))?)
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::BadRequest("the body is not such a request".to_owned()))
}

fn json<T: Serialize>(answer: &T) -> Result<HttpResponse, Refusal> {
    let body = serde_json::to_vec(answer).map_err(|_| Refusal::Internal("an answer does not serialise"))?;
    Ok(HttpResponse::Ok().content_type("application/json").insert_header(("cache-control", "no-store")).body(body))
}

fn unauthorized(error: SignatureError) -> Refusal {
    match error {
        SignatureError::Busy => Refusal::TooMany { retry_after: signed::WINDOW_SECONDS.unsigned_abs() },
        SignatureError::Headers => Refusal::Unauthorized("the request is not signed"),
        SignatureError::Time => Refusal::Unauthorized("the request was not signed within a minute of now"),
        SignatureError::Signature => Refusal::Unauthorized("the signature does not hold"),
        SignatureError::Replayed => Refusal::Unauthorized("the request was accepted before"),
    }
}
