//! Who calls, and what they may do: SMART Backend Services (HL7 SMART App Launch 2.2, "Backend
//! Services"), with the token endpoint in this process.
//!
//! - A registered client proves itself with a signed assertion ([`assertion`]), once.
//! - It gets an access token for five minutes by default ([`tokens`]) with scopes ([`scopes`]).
//! - Tokens of an identity provider that the organization trusts are taken too ([`issuer`]).
//! - Every request carries the token; [`Authority::authenticate`] gives the [`Caller`]. Whether it may do
//!   something with a type at all says [`Caller::may`]; with which resources of it, [`Caller::reach`].
//!
//! Absent on purpose: a way to call without a token, shared secrets, and trust in any header that
//! says who is behind a proxy.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{HttpRequest, http::header};
use careledger_wire::ids::Address;

use crate::{
    config,
    http_client::Trust,
    keys::OrganizationKeys,
    outcome::Refusal,
    vault::{Store, StoreError},
};

pub mod assertion;
mod introspection;
pub mod issuer;
pub mod rates;
pub mod reach;
pub mod routes;
pub mod scopes;
pub mod tokens;

use assertion::{ClientKeys, SeenAssertions};
use issuer::Issuer;
use rates::Rates;
use reach::{Part, Reach};
use scopes::{Interaction, Level, Scopes};
use tokens::TokenKey;

/// Seconds by which another machine's clock may differ from this one's.
pub const CLOCK_SKEW_SECONDS: i64 = 10;

/// Why an organization's clients could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key file cannot be read.
    #[error("keys of client {client}: {source}")]
    File {
        /// Client id.
        client: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The keys or scopes are not usable.
    #[error("client {client}: {problem}")]
    Unusable {
        /// Client id.
        client: String,
        /// What is wrong.
        problem: String,
    },
    /// An issuer is not usable.
    #[error("issuer {issuer}: {problem}")]
    Issuer {
        /// Its name.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
    /// The assertions that were seen before cannot be read.
    #[error(transparent)]
    Vault(#[from] StoreError),
}

/// A registered client.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its public keys.
    pub keys: ClientKeys,
    /// What it may ask for.
    pub scopes: Scopes,
    /// The one Patient that its `patient/` scopes are about.
    pub patient: Option<String>,
}

/// Who makes a request. A registered client by its id; a caller with a token of an issuer by the issuer,
/// the client and the person behind it, as [`issuer`] writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Client id.
    pub client: String,
    /// What the token allows.
    pub scopes: Scopes,
    /// The one Patient that `patient/` scopes are about.
    pub patient: Option<String>,
    /// When the token ends, Unix seconds; [`NEVER`] for work that needs none.
    pub expires_at: i64,
    /// The person in front of an app.
    pub person: Option<Person>,
}

/// Who is in front of an app, which is what `user/` scopes are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// Whom the token names (`fhirUser`). That reaches nothing yet.
    Named(String),
    /// A practitioner whom the ledger says that this organization has enrolled, by account.
    Enrolled(Address),
}

/// When work ends that a client once asked for and that goes on without a token.
pub const NEVER: i64 = i64::MAX;

impl Caller {
    /// Whether the token allows this interaction with this resource type.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] with the scope that is missing.
    pub fn may(&self, interaction: Interaction, resource_type: &str) -> Result<(), Refusal> {
        let own = self.patient.is_some() && self.scopes.allow(Level::Patient, interaction, resource_type);
        if self.reaches_others(interaction, resource_type) || own {
            return Ok(());
        }
        Err(Refusal::Forbidden(format!("system/{resource_type}.{}", interaction.letter())))
    }

    /// Whether some scope is about more than one patient.
    fn reaches_others(&self, interaction: Interaction, resource_type: &str) -> bool {
        let allow = |level| self.scopes.allow(level, interaction, resource_type);
        allow(Level::System) || (self.as_practitioner(interaction, resource_type).is_some() && allow(Level::User))
    }

    /// The account of the practitioner in front of the app, where it counts for this interaction. Who is enrolled
    /// follows from what Practitioners say, which is no practitioner's own word.
    fn as_practitioner(&self, interaction: Interaction, resource_type: &str) -> Option<&Address> {
        let is_reading = matches!(interaction, Interaction::Read | Interaction::Search);
        self.enrolled().filter(|_| is_reading || resource_type != "Practitioner")
    }

    /// The account of the practitioner in front of the app, where one is enrolled.
    fn enrolled(&self) -> Option<&Address> {
        match &self.person {
            Some(Person::Enrolled(account)) => Some(account),
            Some(Person::Named(_)) | None => None,
        }
    }

    /// The practitioner by whose own approved requests alone the caller reaches what other organizations hold;
    /// none where it is by those of everybody here.
    pub fn on_behalf_of(&self, interaction: Interaction, resource_type: &str) -> Option<&Address> {
        let allow = |level| self.scopes.allow(level, interaction, resource_type);
        self.enrolled().filter(|_| allow(Level::User) && !allow(Level::System))
    }

    /// The Patient whose compartment the caller is limited to for this interaction; `None` for
    /// callers whose scopes are about the whole system, or about some resources of it.
    pub fn compartment(&self, interaction: Interaction, resource_type: &str) -> Option<&str> {
        if self.reaches_others(interaction, resource_type) { None } else { self.patient.as_deref() }
    }

    /// What of a type the caller's scopes reach for this interaction.
    pub fn reach(&self, interaction: Interaction, resource_type: &str) -> Reach<'_> {
        let of_level = |level| self.scopes.constraints(level, interaction, resource_type);
        let users = self.as_practitioner(interaction, resource_type).into_iter().flat_map(|_| of_level(Level::User));
        let others = of_level(Level::System).chain(users).map(|constraint| Part { patient: None, constraint });
        let own = self.patient.as_deref().into_iter().flat_map(|patient| {
            of_level(Level::Patient).map(move |constraint| Part { patient: Some(patient), constraint })
        });
        Reach::of(others.chain(own))
    }
}

/// Issues and checks the tokens of one organization.
pub struct Authority {
    clients: HashMap<String, Client>,
    issuers: HashMap<String, Issuer>,
    /// The issuer that apps are sent to.
    announced: Option<String>,
    token_url: String,
    token_seconds: i64,
    token_key: TokenKey,
    seen: SeenAssertions,
    rates: Rates,
    token_rates: Rates,
}

impl Authority {
    /// The authority of one organization, with its registered clients.
    pub fn open(
        organization: &config::Organization,
        settings: &config::Auth,
        token_url: String,
        trust: &Trust,
        keys: &OrganizationKeys,
        store: Arc<dyn Store>,
    ) -> Result<Self, ClientError> {
        let clients = organization.clients.iter().map(read_client).collect::<Result<Vec<_>, _>>()?;
        let issuers =
            organization.issuers.iter().map(|issuer| open_issuer(issuer, trust)).collect::<Result<Vec<_>, _>>()?;
        let announced = organization.issuers.iter().find(|issuer| issuer.announced);
        Ok(Self {
            announced: announced.map(|issuer| issuer.issuer.clone()),
            issuers: issuers.into_iter().map(|issuer| (issuer.name().to_owned(), issuer)).collect(),
            clients: clients.into_iter().map(|client| (client.id.clone(), client)).collect(),
            token_key: TokenKey::new(keys, &token_url),
            token_url,
            token_seconds: settings.token_seconds.into(),
            seen: SeenAssertions::open(store, clock())?,
            rates: Rates::new(settings.requests_per_second, settings.request_burst),
            token_rates: Rates::new(settings.token_requests_per_second, settings.token_requests_per_second),
        })
    }

    /// Where tokens are asked for; the audience of every assertion.
    pub fn token_url(&self) -> &str {
        &self.token_url
    }

    /// The caller of a request, from its `Authorization` header, within the client's rate.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`], [`Refusal::TooMany`], [`Refusal::IssuerUnavailable`].
    pub async fn authenticate(&self, request: &HttpRequest) -> Result<Caller, Refusal> {
        let header = request.headers().get(header::AUTHORIZATION);
        let header = header.ok_or(Refusal::Unauthorized("send an access token as Authorization: Bearer"))?;
        let text = header.to_str().ok().and_then(|text| text.split_once(' '));
        let (scheme, token) =
            text.ok_or(Refusal::Unauthorized("the Authorization header is not Bearer and a token"))?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Unauthorized("the Authorization header is not Bearer and a token"));
        }
        let token = token.trim();
        match issuer::claimed(token).and_then(|name| self.issuers.get(&name)) {
            None => self.caller(token, clock()),
            Some(issuer) => {
                let caller = issuer.caller(token, clock()).await?;
                self.rates.check(&caller.client)?;
                Ok(caller)
            }
        }
    }

    /// A client as it may act now under scopes that it was given before, for work that outlives its token;
    /// `None` where it is registered no more, or for none of them.
    pub fn acting(&self, client: &str, scopes: &str) -> Option<Caller> {
        let client = self.clients.get(client)?;
        let scopes = Scopes::granted(&client.scopes, scopes).ok()?;
        let patient = client.patient.clone();
        let caller = Caller { client: client.id.clone(), scopes, patient, expires_at: NEVER, person: None };
        (!caller.scopes.is_empty()).then_some(caller)
    }

    /// The caller that a token was issued to. `now` in Unix seconds.
    pub fn caller(&self, token: &str, now: i64) -> Result<Caller, Refusal> {
        let caller = self.token_key.open(token, now)?;
        // A client that was taken out of the configuration loses its tokens with it.
        if !self.clients.contains_key(&caller.client) {
            return Err(Refusal::Unauthorized("the client is not registered any more"));
        }
        self.rates.check(&caller.client)?;
        Ok(caller)
    }
}

/// Reads the clients' keys and scopes, and the issuers, as a start would; how many clients there are. No
/// issuer is asked.
///
/// # Errors
/// As a start would refuse them.
pub fn check_clients(organization: &config::Organization) -> Result<usize, ClientError> {
    organization.issuers.iter().try_for_each(|issuer| open_issuer(issuer, &Trust::default()).map(drop))?;
    organization.clients.iter().map(read_client).collect::<Result<Vec<_>, _>>().map(|clients| clients.len())
}

fn open_issuer(settings: &config::Issuer, trust: &Trust) -> Result<Issuer, ClientError> {
    let issuer = settings.issuer.clone();
    Issuer::open(settings, trust).map_err(|problem| ClientError::Issuer { issuer, problem })
}

fn read_client(client: &config::Client) -> Result<Client, ClientError> {
    let text = std::fs::read(&client.jwks).map_err(|source| ClientError::File { client: client.id.clone(), source })?;
    let unusable = |problem: String| ClientError::Unusable { client: client.id.clone(), problem };
    let keys = ClientKeys::parse(&text).map_err(unusable)?;
    let scopes = Scopes::parse(&client.scopes).map_err(|error| unusable(error.to_string()))?;
    if scopes.has_level(Level::User) {
        return Err(unusable("user/ scopes need a person, whom only a token of an issuer names".to_owned()));
    }
    if scopes.has_level(Level::Patient) && client.patient.is_none() {
        return Err(unusable("patient/ scopes need `patient`, the id of one Patient".to_owned()));
    }
    Ok(Client { id: client.id.clone(), keys, scopes, patient: client.patient.clone() })
}

/// This machine's clock, Unix seconds.
pub(crate) fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
