//! Which servers are measured: a gateway of our own, another server beside it, or any that answers at an address.

use std::any::Any;

use super::hapi::Hapi;
use crate::failure::Failure;
use crate::lone::Lone;
use crate::places::Places;
use crate::watched::Watched;

/// The organization that our own gateway serves.
const ORGANIZATION: &str = "fhirload";
/// A token is good for longer than the run, and the limits of a client are not what is measured.
const SETTINGS: [(&str, &str); 4] = [
    ("token_seconds", "86400"),
    ("requests_per_second", "1000000"),
    ("request_burst", "1000000"),
    ("token_requests_per_second", "1000"),
];

/// A server that is started here, to be measured beside our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Other {
    /// HAPI FHIR JPA, by Maven, on a PostgreSQL of its own.
    Hapi,
}

/// Which servers are measured.
#[derive(Clone, Debug)]
pub enum Which {
    /// A gateway of our own, for each number of patients anew; and another beside it.
    Own(Option<Other>),
    /// One that runs already.
    At {
        /// Its FHIR endpoint.
        url: String,
        /// A bearer token for it.
        token: Option<String>,
        /// Its processes.
        processes: Vec<u32>,
    },
}

/// A running server. One that was started here ends with this value.
pub struct Server {
    /// What the figures call it.
    pub name: String,
    /// Its FHIR endpoint, without a slash at its end.
    pub base_url: String,
    /// Sent to it as a bearer token.
    pub token: Option<String>,
    /// Its processes.
    pub watched: Watched,
    _running: Box<dyn Any>,
}

impl Which {
    /// Starts those that do not run yet.
    ///
    /// # Errors
    /// [`Failure::Needs`] where what another server is made of cannot be had.
    pub fn start(&self, places: &Places) -> Result<Vec<Server>, Failure> {
        match self {
            Self::At { url, token, processes } => Ok(vec![Server {
                name: url.clone(),
                base_url: url.trim_end_matches('/').to_owned(),
                token: token.clone(),
                watched: Watched::new(processes.clone()),
                _running: Box::new(()),
            }]),
            Self::Own(None) => Ok(vec![own(places)?]),
            Self::Own(Some(Other::Hapi)) => Ok(vec![own(places)?, hapi(places)?]),
        }
    }
}

fn own(places: &Places) -> Result<Server, Failure> {
    let gateway = Lone::start(places, ORGANIZATION, &SETTINGS)?;
    Ok(Server {
        name: "CareLedger".into(),
        base_url: gateway.fhir_url(),
        token: Some(gateway.token(places)?),
        watched: gateway.watched(),
        _running: Box::new(gateway),
    })
}

fn hapi(places: &Places) -> Result<Server, Failure> {
    let hapi = Hapi::start(places)?;
    Ok(Server {
        name: "HAPI".into(),
        base_url: hapi.fhir_url(),
        token: None,
        watched: hapi.watched()?,
        _running: Box::new(hapi),
    })
}
