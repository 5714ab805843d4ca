//! HTTP: routes, limits, authentication, request ids. docs/api/http.md
//!
//! One handler takes every request, so that the order of checks is one and the same: who asks,
//! then what ([`route`]), then the body up to its route's limit, then the interaction.
//!
//! Absent on purpose: the content or the query of requests in logs.

mod body;
mod export;
pub mod headers;
pub mod protection;
mod respond;
pub mod route;
pub mod tls;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{Method, header},
    middleware::Compress,
    web::{self, Bytes},
};

use crate::{
    auth::routes::{OAuthError, TOKEN_REQUEST_BYTES_MAX},
    config,
    format::{Format, Wanted},
    in_work::InWork,
    interactions::{self, Answer, Context, capabilities, condition::Locks, openapi, operation::Sent},
    json::Document,
    operations::Metrics,
    organization::Organization,
    outcome::Refusal,
    release, search,
};
use body::read;
use protection::Protection;
use respond::respond;
use route::Route;

/// How long a client may take for the head of a request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a client may take for the handshake of TLS.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// What the process serves.
pub struct Gateway {
    organizations: HashMap<String, Served>,
    body_bytes_max: usize,
    in_work: InWork,
    protection: Protection,
    /// What was answered.
    pub metrics: Metrics,
}

/// One organization and what its conditional writes lock.
struct Served {
    organization: Arc<Organization>,
    conditions: Locks,
}

impl Gateway {
    /// Serves these organizations, each at `/{name}/fhir`; bodies of at most `body_bytes_max`.
    pub fn new(organizations: impl IntoIterator<Item = Arc<Organization>>, body_bytes_max: usize) -> Self {
        let served = |organization: Arc<Organization>| {
            let conditions = Locks::of(organization.records.clone());
            (organization.name.clone(), Served { organization, conditions })
        };
        let organizations: HashMap<_, _> = organizations.into_iter().map(served).collect();
        let is_https = organizations.values().any(|served| served.organization.base_url.starts_with("https://"));
        let protection = Protection { origins: Vec::new(), is_https };
        let in_work = InWork::of(config::Memory::default().bodies_bytes_max);
        Self { organizations, body_bytes_max, in_work, protection, metrics: Metrics::default() }
    }

    /// The same, which works on bodies of so many bytes at the same time.
    #[must_use]
    pub fn with_bodies_in_work(mut self, bytes: usize) -> Self {
        self.in_work = InWork::of(bytes);
        self
    }

    /// The same, which pages of these origins may call.
    #[must_use]
    pub fn with_origins(mut self, origins: Vec<String>) -> Self {
        self.protection.origins = origins;
        self
    }

    /// Whom it serves.
    pub fn organizations(&self) -> impl Iterator<Item = &Organization> {
        self.organizations.values().map(|served| served.organization.as_ref())
    }

    fn served(&self, name: &str) -> Result<&Served, Refusal> {
        self.organizations.get(name).ok_or(Refusal::NotFound)
    }
}

/// Adds the gateway to an actix application: for the server below and for tests.
pub fn configure(config: &mut web::ServiceConfig, gateway: &Arc<Gateway>) {
    config.app_data(web::Data::from(Arc::clone(gateway))).default_service(web::to(handle));
}

/// Listens on `address` with `workers` threads, with TLS where it is set up.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(
    gateway: impl Into<Arc<Gateway>>,
    address: std::net::SocketAddr,
    workers: usize,
    tls: Option<rustls::ServerConfig>,
) -> std::io::Result<Server> {
    let gateway = gateway.into();
    let app = move || {
        let gateway = Arc::clone(&gateway);
        App::new().wrap(Compress::default()).configure(move |config| configure(config, &gateway))
    };
    let server = HttpServer::new(app).workers(workers);
    let server = server.client_request_timeout(HEAD_TIME_MAX).tls_handshake_timeout(HANDSHAKE_TIME_MAX);
    let bound = match tls {
        None => server.bind(address)?,
        Some(tls) => server.bind_rustls_0_23(address, tls)?,
    };
    Ok(bound.run())
}

async fn handle(request: HttpRequest, payload: web::Payload, gateway: web::Data<Gateway>) -> HttpResponse {
    let began = Instant::now();
    let id = headers::request_id(&request);
    request.extensions_mut().insert(headers::RequestId(id.clone()));
    let gateway = gateway.into_inner();
    let mut response = match answer(&request, payload, &gateway).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(headers::wanted_of_errors(&request)),
    };
    let value = header::HeaderValue::from_str(&id).expect("a request id is checked to be a header value");
    response.headers_mut().insert(header::HeaderName::from_static("x-request-id"), value);
    gateway.protection.add(&request, response.headers_mut());
    let took = began.elapsed();
    gateway.metrics.count(request.method(), response.status(), took);
    let milliseconds = took.as_millis();
    tracing::info!(id, method = %request.method(), status = response.status().as_u16(), milliseconds, "request");
    response
}

async fn answer(request: &HttpRequest, payload: web::Payload, gateway: &Arc<Gateway>) -> Result<HttpResponse, Refusal> {
    let path = route::decoded(request.path())?;
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match *segments.as_slice() {
        [name, "peer", "v1", operation] if request.method() == Method::POST => {
            let served = gateway.served(name)?;
            let body = read(request, payload, release::BODY_BYTES_MAX).await?;
            release::handle(&served.organization, operation, request, &body).await
        }
        [name, "auth", endpoint @ ("token" | "introspect")] if request.method() == Method::POST => {
            let authority = &gateway.served(name)?.organization.authority;
            match (read(request, payload, TOKEN_REQUEST_BYTES_MAX).await, endpoint) {
                (Ok(body), "token") => Ok(authority.token(request, &body).await),
                (Ok(body), _) => Ok(authority.introspect(request, &body).await),
                (Err(unread), _) => Ok(OAuthError::invalid_request(&unread.to_string()).response()),
            }
        }
        [name, "auth", "token" | "introspect"] | [name, "peer", "v1", _] => {
            gateway.served(name)?;
            options(request, "POST, OPTIONS")
        }
        [name, "fhir", ref rest @ ..] if request.method() == Method::OPTIONS => {
            gateway.served(name)?;
            options(request, route::allowed(rest)?)
        }
        [name, "fhir", ".well-known", "smart-configuration"]
            if matches!(*request.method(), Method::GET | Method::HEAD) =>
        {
            gateway.served(name)?.organization.authority.smart_configuration().await
        }
        [name, "fhir", "metadata"] if matches!(*request.method(), Method::GET | Method::HEAD) => {
            let organization = &gateway.served(name)?.organization;
            let accept = headers::accept(request, &headers::pairs(request.query_string()))?;
            let origins = &gateway.protection.origins;
            respond(
                capabilities::capabilities(&organization.base_url, origins),
                headers::wanted(request, accept.as_deref())?,
            )
        }
        [name, "fhir", "openapi.json"] if matches!(*request.method(), Method::GET | Method::HEAD) => {
            let organization = &gateway.served(name)?.organization;
            respond(openapi::openapi(&organization.base_url), Wanted::of(Format::Json))
        }
        [name, "fhir", "metadata" | "openapi.json"] | [name, "fhir", ".well-known", "smart-configuration"] => {
            gateway.served(name)?;
            Err(Refusal::MethodNotAllowed { allow: interactions::READ_ONLY })
        }
        [name, "fhir", ref rest @ ..] => fhir(request, payload, gateway, name, rest).await,
        _ => Err(Refusal::NotFound),
    }
}

/// What may be done at an address; anything else is refused there.
fn options(request: &HttpRequest, allow: &'static str) -> Result<HttpResponse, Refusal> {
    if request.method() != Method::OPTIONS {
        return Err(Refusal::MethodNotAllowed { allow });
    }
    Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish())
}

async fn fhir(
    request: &HttpRequest,
    payload: web::Payload,
    gateway: &Arc<Gateway>,
    name: &str,
    rest: &[&str],
) -> Result<HttpResponse, Refusal> {
    let (gateway, request, name) = (Arc::clone(gateway), request.clone(), name.to_owned());
    let path: Vec<String> = rest.iter().map(|&segment| segment.to_owned()).collect();
    // In a task of its own: a client that hangs up stops nothing between a patient's transaction
    // that was relayed and the line of the access log that says so.
    let task = actix_web::rt::spawn(async move {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        interact(&request, payload, &gateway, &name, &segments).await
    });
    task.await.map_err(|_| Refusal::Internal("an interaction was interrupted"))?
}

/// Who asks, then what, then the body, then the interaction.
async fn interact(
    request: &HttpRequest,
    payload: web::Payload,
    gateway: &Gateway,
    name: &str,
    segments: &[&str],
) -> Result<HttpResponse, Refusal> {
    let Served { organization, conditions } = gateway.served(name)?;
    let caller = organization.authority.authenticate(request).await?;
    let caller = interactions::person::admitted(organization, caller).await?;
    let route = Route::of(request.method(), segments)?;
    if route.is_of_exports() {
        let (prefer, key, value_sets) = (headers::prefer(request), None, None);
        let origin = &headers::origin(request);
        let context = Context { organization, conditions, caller: &caller, prefer, key, origin, value_sets };
        let body = read(request, payload, gateway.body_bytes_max).await?;
        let answered = export::answer(&context, organization, route, request, &body).await;
        return match answered {
            Ok(response) => Ok(response),
            Err(refusal) => {
                let (action, resource_type, id) = route.audited();
                Err(interactions::refused(&context, action, resource_type, id, refusal).await)
            }
        };
    }
    let is_binary =
        matches!(route, Route::Read { resource_type: "Binary", .. } | Route::Vread { resource_type: "Binary", .. });
    let mut pairs = headers::pairs(request.query_string());
    let mut accept = headers::accept(request, &pairs)?;
    let has_form = route.has_form();
    if !is_binary && !has_form {
        headers::wanted(request, accept.as_deref())?;
    }
    let body = read(request, payload, gateway.body_bytes_max).await?;
    let _in_work = gateway.in_work.admit(body.len()).await;
    if has_form {
        pairs.extend(headers::form(request, &body)?);
        accept = headers::accept(request, &pairs)?;
    }
    let accept = accept.as_deref();
    // A file is sent as what it is; where FHIR is named beside it, as that.
    let wanted = match headers::wanted(request, accept) {
        Err(Refusal::NotAcceptable) if is_binary => headers::wanted(request, None)?,
        wanted => wanted?,
    };
    let (prefer, key) = (headers::prefer(request), headers::idempotency_key(request)?);
    let origin = &headers::origin(request);
    let value_sets = Some(&interactions::search::value_sets::Lookups::default());
    let context = Context { organization, conditions, caller: &caller, prefer, key, origin, value_sets };
    match run(&context, route, request, &pairs, accept, &body).await {
        Ok(answer) => respond(answer, wanted),
        Err(refusal) => {
            let (action, resource_type, id) = route.audited();
            Err(interactions::refused(&context, action, resource_type, id, refusal).await)
        }
    }
}

async fn run(
    context: &Context<'_>,
    route: Route<'_>,
    request: &HttpRequest,
    pairs: &[(String, String)],
    accept: Option<&str>,
    body: &Bytes,
) -> Result<Answer, Refusal> {
    search::are_few(pairs)?;
    let if_match = headers::version(request, header::IF_MATCH.as_str())?;
    let shape = headers::shape(&route, pairs)?;
    let wanted = interactions::read::Wanted {
        accept,
        if_none_match: headers::deciding(request, header::IF_NONE_MATCH.as_str())?,
        if_modified_since: headers::modified_since(request),
        shape: Some(&shape),
    };
    if !route.reads_parameters() {
        headers::without_parameters(request, &route, context.prefer.handling)?;
    }
    match route {
        Route::Bundle => bundle(context, &headers::document(request, body)?).await,
        Route::Search { resource_type } | Route::SearchByPost { resource_type } => {
            interactions::search::search(context, resource_type, pairs).await
        }
        Route::Compartment { id } => interactions::everything::compartment(context, id, pairs).await,
        Route::SearchCompartment { id, resource_type } | Route::SearchCompartmentByPost { id, resource_type } => {
            interactions::search::search_compartment(context, id, resource_type, pairs).await
        }
        Route::Create { resource_type } => {
            interactions::sendable(resource_type)?;
            let incoming = headers::incoming(request, resource_type, body)?;
            let if_none_exist = headers::if_none_exist(request)?;
            interactions::create::create(context, resource_type, &incoming, if_none_exist).await
        }
        Route::Read { resource_type, id } => interactions::read::read(context, resource_type, id, wanted).await,
        Route::Vread { resource_type, id, version } => {
            interactions::vread::vread(context, resource_type, id, version, wanted).await
        }
        Route::Update { resource_type, id } => {
            interactions::sendable(resource_type)?;
            let incoming = headers::incoming(request, resource_type, body)?;
            let preconditions = headers::preconditions(request)?;
            interactions::update::update(context, resource_type, id, &incoming, preconditions).await
        }
        Route::Patch { resource_type, id } => {
            interactions::sendable(resource_type)?;
            let patch = headers::patch(request, body)?;
            interactions::patch::patch(context, resource_type, id, &patch, if_match).await
        }
        Route::Delete { resource_type, id } => interactions::delete::delete(context, resource_type, id, if_match).await,
        Route::UpdateByCondition { .. } | Route::PatchByCondition { .. } | Route::DeleteByCondition { .. } => {
            by_condition(context, route, request, body).await
        }
        Route::History { of } => interactions::history::history(context, of, pairs).await,
        Route::Export { .. } | Route::ExportStatus { .. } | Route::ExportFile { .. } => {
            Err(Refusal::Internal("a route of exports has answers of its own"))
        }
        Route::Operation { resource_type, id, name } => {
            let document = || headers::document(request, body);
            let sent = Sent { is_empty: body.is_empty(), document: &document, pairs };
            interactions::operation::run(context, resource_type, id, name, &sent).await
        }
    }
}

async fn bundle(context: &Context<'_>, bundle: &Document) -> Result<Answer, Refusal> {
    match bundle.root().text("type") {
        _ if bundle.resource_type() != Some("Bundle") => {
            Err(Refusal::invalid("Bundle", "must be a Bundle of type transaction or batch"))
        }
        Some("transaction") => interactions::transaction::transaction(context, bundle).await,
        Some("batch") => interactions::batch::batch(context, bundle).await,
        _ => Err(Refusal::invalid("Bundle.type", "must be transaction or batch")),
    }
}

/// A write to whatever meets the condition in the query.
async fn by_condition(
    context: &Context<'_>,
    route: Route<'_>,
    request: &HttpRequest,
    body: &Bytes,
) -> Result<Answer, Refusal> {
    let condition = request.query_string();
    let preconditions = headers::preconditions(request)?;
    match route {
        Route::UpdateByCondition { resource_type } => {
            interactions::writable(resource_type)?;
            let incoming = headers::incoming(request, resource_type, body)?;
            interactions::update::update_by_condition(context, resource_type, condition, &incoming, preconditions).await
        }
        Route::PatchByCondition { resource_type } => {
            interactions::writable(resource_type)?;
            let patch = headers::patch(request, body)?;
            let if_match = preconditions.if_match;
            interactions::patch::patch_by_condition(context, resource_type, condition, &patch, if_match).await
        }
        Route::DeleteByCondition { resource_type } => {
            let if_match = preconditions.if_match;
            interactions::delete::delete_by_condition(context, resource_type, condition, if_match).await
        }
        _ => Err(Refusal::Internal("a route without a condition")),
    }
}
