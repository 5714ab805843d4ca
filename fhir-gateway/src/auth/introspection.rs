//! Token introspection (RFC 7662) of this process's tokens, for registered clients: a service that gets
//! a token from a client of ours learns what it allows, without reading it.

use actix_web::{HttpRequest, HttpResponse, http::header};
use serde_json::{Value, json};

use super::{
    Authority, clock,
    routes::{OAuthError, field},
};

impl Authority {
    /// Where tokens are introspected.
    pub fn introspection_url(&self) -> String {
        let base = self.token_url().trim_end_matches("token");
        format!("{base}introspect")
    }

    /// `POST /{organization}/auth/introspect` with a form as its body.
    pub async fn introspect(&self, request: &HttpRequest, body: &[u8]) -> HttpResponse {
        let answer = match self.within_rate(request) {
            Ok(()) => self.introspected(body, clock()).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(answer),
            Err(error) => error.response(),
        }
    }

    /// What a token allows. One that is not valid, or not of this organization, is inactive, and nothing more
    /// is said. `now` in Unix seconds.
    ///
    /// # Errors
    /// Where the request is none, or not from a client that proves itself.
    pub async fn introspected(&self, body: &[u8], now: i64) -> Result<Value, OAuthError> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
        let token = field(&pairs, "token")?;
        let (kind, assertion) = (field(&pairs, "client_assertion_type")?, field(&pairs, "client_assertion")?);
        self.proven(&kind, &assertion, now).await?;
        let Ok(caller) = self.token_key.open(&token, now) else {
            return Ok(json!({"active": false}));
        };
        // A client that was taken out of the configuration loses its tokens with it.
        if !self.clients.contains_key(&caller.client) {
            return Ok(json!({"active": false}));
        }
        let mut answer = json!({
            "active": true,
            "client_id": caller.client,
            "scope": caller.scopes.to_string(),
            "token_type": "bearer",
            "exp": caller.expires_at,
        });
        if let Some(patient) = caller.patient {
            answer["patient"] = json!(patient);
        }
        Ok(answer)
    }
}
