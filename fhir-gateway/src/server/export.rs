//! Bulk exports over HTTP: what is special about their headers and bodies. docs/api/export.md

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
    web::Bytes,
};
use futures::stream;

use super::{headers, route::Route};
use crate::{
    export::{job::Kind, lines::Reading},
    interactions::{
        Context,
        export::{self, Status},
        operation::Sent,
    },
    organization::Organization,
    outcome::Refusal,
    search,
};

/// The media type of a file.
const NDJSON: &str = "application/fhir+ndjson";
/// Media ranges that take one.
const TAKES_NDJSON: [&str; 6] =
    [NDJSON, "application/ndjson", "application/x-ndjson", "application/*", "*/*", "ndjson"];

/// Answers a request for one of the addresses of exports.
///
/// # Errors
/// As the interactions refuse.
pub async fn answer(
    context: &Context<'_>,
    organization: &Arc<Organization>,
    route: Route<'_>,
    request: &HttpRequest,
    body: &Bytes,
) -> Result<HttpResponse, Refusal> {
    match route {
        Route::Export { of } => begin(context, of, request, body).await,
        Route::ExportStatus { job } if *request.method() == Method::DELETE => {
            export::remove(context, job).await?;
            Ok(plain(StatusCode::ACCEPTED).finish())
        }
        Route::ExportStatus { job } => status(context, job).await,
        Route::ExportFile { job, file } => send(context, organization, request, job, file).await,
        _ => Err(Refusal::Internal("a route that is not of exports")),
    }
}

async fn begin(
    context: &Context<'_>,
    of: export::Of<'_>,
    request: &HttpRequest,
    body: &Bytes,
) -> Result<HttpResponse, Refusal> {
    if !headers::is_async(request) {
        let problem = "an export is made in the background: send Prefer: respond-async";
        return Err(Refusal::BadRequest(problem.to_owned()));
    }
    let pairs = headers::pairs(request.query_string());
    search::are_few(&pairs)?;
    let document = || headers::document(request, body);
    let sent = Sent { is_empty: body.is_empty(), document: &document, pairs: &pairs };
    let base_url = &context.organization.base_url;
    let path = match of {
        export::Of::System => "$export".to_owned(),
        export::Of::Patients => "Patient/$export".to_owned(),
        export::Of::Group(id) => format!("Group/{id}/$export"),
    };
    let query = request.query_string();
    let mark = if query.is_empty() { "" } else { "?" };
    let id = export::begin(context, of, &sent, &format!("{base_url}/{path}{mark}{query}")).await?;
    let location = format!("{base_url}/bulk/{id}");
    Ok(plain(StatusCode::ACCEPTED).insert_header((header::CONTENT_LOCATION, location)).finish())
}

async fn status(context: &Context<'_>, job: &str) -> Result<HttpResponse, Refusal> {
    match export::status(context, job).await? {
        Status::Running { progress, retry_after } => Ok(plain(StatusCode::ACCEPTED)
            .insert_header(("x-progress", progress))
            .insert_header((header::RETRY_AFTER, retry_after.to_string()))
            .finish()),
        Status::Complete { manifest, expires_at } => {
            let expires = UNIX_EPOCH + Duration::from_secs(u64::try_from(expires_at).unwrap_or_default());
            Ok(plain(StatusCode::OK).insert_header(header::Expires(expires.into())).json(manifest))
        }
    }
}

async fn send(
    context: &Context<'_>,
    organization: &Arc<Organization>,
    request: &HttpRequest,
    job: &str,
    file: &str,
) -> Result<HttpResponse, Refusal> {
    let accept = headers::text(request, header::ACCEPT.as_str()).unwrap_or("*/*");
    let takes = |range: &str| TAKES_NDJSON.contains(&range.split(';').next().unwrap_or_default().trim());
    if !accept.split(',').any(takes) {
        return Err(Refusal::NotAcceptable);
    }
    let (export, number) = export::file(context, job, file).await?;
    let reading = Reading::begin(organization, context.caller, export, number)?;
    let mut response = plain(StatusCode::OK);
    response.insert_header((header::CONTENT_TYPE, NDJSON));
    if reading.about()?.kind == Kind::Elsewhere {
        // All of it before the first byte: a custodian that does not answer is a status, not half a file.
        return Ok(response.body(reading.whole().await?));
    }
    let chunks = stream::try_unfold(reading, |mut reading| async move {
        match reading.next().await {
            Ok(Some(bytes)) => Ok(Some((Bytes::from(bytes), reading))),
            Ok(None) => Ok(None),
            Err(refusal) => {
                // The status is sent: the connection ends before the file does, which no client takes for whole.
                tracing::error!(%refusal, "a file of an export broke off");
                Err(std::io::Error::other("the file broke off"))
            }
        }
    });
    Ok(response.streaming(chunks))
}

/// An answer that nobody keeps.
fn plain(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}
