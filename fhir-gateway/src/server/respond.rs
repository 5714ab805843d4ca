//! Answers of interactions as HTTP.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};

use crate::{
    format::Wanted,
    interactions::{Answer, Body},
    outcome::Refusal,
};

/// An answer as HTTP.
pub fn respond(answer: Answer, wanted: Wanted) -> Result<HttpResponse, Refusal> {
    let mut response = HttpResponse::build(answer.status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(version) = answer.version {
        response.insert_header((header::ETAG, format!("W/\"{version}\"")));
    }
    if let Some(seconds) = answer.last_modified.and_then(|seconds| u64::try_from(seconds).ok()) {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        response.insert_header(header::LastModified(time.into()));
    }
    if let Some(location) = answer.location {
        response.insert_header((header::LOCATION, location.clone()));
        if answer.status != StatusCode::CREATED {
            response.insert_header((header::CONTENT_LOCATION, location));
        }
    }
    Ok(match answer.body {
        None => response.finish(),
        Some(Body { content_type: Some(own), bytes, security_context }) => {
            // A Binary in FHIR may refer by any text: no header says what is none.
            if let Some(about) = security_context.and_then(|about| HeaderValue::from_str(&about).ok()) {
                response.insert_header(("x-security-context", about));
            }
            response.insert_header((header::CONTENT_TYPE, own)).body(bytes)
        }
        Some(Body { content_type: None, bytes, .. }) => {
            let bytes = wanted.written(bytes)?;
            response.insert_header((header::CONTENT_TYPE, wanted.content_type())).body(bytes)
        }
    })
}
