//! What an operator's tools ask for, on an address of its own: is the process alive, can it serve,
//! what has it done. docs/OPERATORS.md
//!
//! Labels are from closed sets: no path, client, patient or resource stands in a metric.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    http::{Method, StatusCode},
    web,
};
use careledger_app::keys;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{organization::Organization, server::Gateway, work::Work};

/// Content type of the text that Prometheus reads (OpenMetrics 1.0).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long the ledger may take to answer a gateway that calls itself ready.
const READY_DEADLINE: Duration = Duration::from_secs(2);
/// Upper bounds of the histogram, in seconds: from a read in memory to a write that waits for blocks.
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Notified {
    outcome: &'static str,
}

/// What came of the notifications of Subscriptions, of all organizations together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Arrived.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Subscriptions that failed too often.
    pub given_up: u64,
    /// Versions that were lost, and passed over.
    pub lost: u64,
}

/// What the process counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram>,
    notifications: Family<Notified, Counter>,
    block_time: Gauge,
    looked_up: LookedUp,
}

/// What was looked up and written, as far as it was told to a scrape.
#[derive(Default)]
struct LookedUp {
    told: Mutex<Work>,
    vault_reads: Counter,
    vault_bytes: Counter,
    vault_writes: Counter,
    index_reads: Counter,
    comparisons: Counter,
    ledger_reads: Counter,
}

impl LookedUp {
    fn register(&self, registry: &mut Registry) {
        registry.register("vault_reads", "Times that the vault was asked", self.vault_reads.clone());
        registry.register("vault_bytes", "Bytes that the vault gave", self.vault_bytes.clone());
        registry.register("vault_writes", "Batches that the vault was given", self.vault_writes.clone());
        registry.register("index_reads", "Times that the index was asked", self.index_reads.clone());
        let help = "Times that resources were compared with criteria in memory";
        registry.register("comparisons", help, self.comparisons.clone());
        registry.register("ledger_reads", "Times that the ledger was asked", self.ledger_reads.clone());
    }

    fn tell(&self, work: impl FnOnce() -> Work) {
        let mut told = self.told.lock();
        // Looked at one after the other, so that no count is less than what was told.
        let work = work();
        let since = work - std::mem::replace(&mut *told, work);
        self.vault_reads.inc_by(since.vault_reads);
        self.vault_bytes.inc_by(since.vault_bytes);
        self.vault_writes.inc_by(since.vault_writes);
        self.index_reads.inc_by(since.index_reads);
        self.comparisons.inc_by(since.comparisons);
        self.ledger_reads.inc_by(since.ledger_reads);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("careledger_gateway");
        let requests = Family::default();
        let seconds = Family::<Asked, Histogram>::new_with_constructor(|| Histogram::new(SECONDS));
        let notifications = Family::default();
        let block_time = Gauge::default();
        registry.register("requests", "Requests that were answered", requests.clone());
        registry.register("request_seconds", "Time to the answer", seconds.clone());
        registry.register("notifications", "Notifications of Subscriptions", notifications.clone());
        registry.register("ledger_block_time_seconds", "Time of the last block, Unix seconds", block_time.clone());
        let looked_up = LookedUp::default();
        looked_up.register(&mut registry);
        Self { registry, requests, seconds, notifications, block_time, looked_up }
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn count(&self, method: &Method, status: StatusCode, took: Duration) {
        let method = named(method);
        self.requests.get_or_create(&Answered { method, status: status.as_u16() }).inc();
        self.seconds.get_or_create(&Asked { method }).observe(took.as_secs_f64());
    }

    fn text(&self, block_time: i64, notifications: Notifications, work: impl FnOnce() -> Work) -> String {
        self.block_time.set(block_time);
        self.looked_up.tell(work);
        let Notifications { delivered, failed, given_up, lost } = notifications;
        let counts = [("delivered", delivered), ("failed", failed), ("given-up", given_up), ("lost", lost)];
        for (outcome, count) in counts {
            let counter = self.notifications.get_or_create(&Notified { outcome });
            // Counted where it happens, which is not here.
            counter.inner().store(count, Ordering::Relaxed);
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes every text");
        text
    }
}

/// A method's name; of those that FHIR does not use, one for all.
fn named(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Listens on `address`: `/health`, `/ready` and `/metrics`.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(gateway: Arc<Gateway>, address: SocketAddr) -> std::io::Result<Server> {
    let app = move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&gateway)))
            .route("/health", web::get().to(health))
            .route("/ready", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
    };
    Ok(HttpServer::new(app).workers(1).bind(address)?.run())
}

/// The process answers.
async fn health() -> HttpResponse {
    HttpResponse::Ok().body("alive\n")
}

/// Every organization's ledger answers in time; else which does not.
async fn ready(gateway: web::Data<Gateway>) -> HttpResponse {
    for organization in gateway.organizations() {
        let key = keys::organization(&organization.address());
        let asked = tokio::time::timeout(READY_DEADLINE, organization.ledger.get(&key)).await;
        if !matches!(asked, Ok(Ok(_))) {
            return HttpResponse::ServiceUnavailable()
                .body(format!("{}: the ledger does not answer\n", organization.name));
        }
    }
    HttpResponse::Ok().body("ready\n")
}

async fn metrics(gateway: web::Data<Gateway>) -> HttpResponse {
    let block_time = gateway.organizations().map(|organization| organization.ledger.time()).max().unwrap_or_default();
    let mut notifications = Notifications::default();
    for counts in gateway.organizations().map(|organization| &organization.subscriptions.counts) {
        notifications.delivered += counts.delivered.load(Ordering::Relaxed);
        notifications.failed += counts.failed.load(Ordering::Relaxed);
        notifications.given_up += counts.given_up.load(Ordering::Relaxed);
        notifications.lost += counts.lost.load(Ordering::Relaxed);
    }
    let work = || gateway.organizations().map(Organization::work).fold(Work::default(), Work::and);
    HttpResponse::Ok().content_type(OPENMETRICS).body(gateway.metrics.text(block_time, notifications, work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_method_and_status_and_by_nothing_else() {
        let metrics = Metrics::default();
        let brew = Method::from_bytes(b"BREW").unwrap();
        for (method, status) in [(Method::GET, 200), (Method::GET, 200), (Method::GET, 404), (brew, 405)] {
            metrics.count(&method, StatusCode::from_u16(status).unwrap(), Duration::from_millis(3));
        }
        let notifications = || Notifications { delivered: 5, failed: 2, given_up: 1, lost: 3 };
        let work = |vault_reads| Work { vault_reads, vault_bytes: 70, index_reads: 2, ..Work::default() };
        metrics.text(1_700_000_000, notifications(), || work(3));
        let text = metrics.text(1_800_000_000, notifications(), || work(5));
        for line in [
            "careledger_gateway_requests_total{method=\"GET\",status=\"200\"} 2",
            "careledger_gateway_requests_total{method=\"GET\",status=\"404\"} 1",
            "careledger_gateway_requests_total{method=\"other\",status=\"405\"} 1",
            "careledger_gateway_request_seconds_bucket{le=\"0.005\",method=\"GET\"} 3",
            "careledger_gateway_request_seconds_count{method=\"GET\"} 3",
            "careledger_gateway_notifications_total{outcome=\"delivered\"} 5",
            "careledger_gateway_notifications_total{outcome=\"given-up\"} 1",
            "careledger_gateway_notifications_total{outcome=\"lost\"} 3",
            "careledger_gateway_ledger_block_time_seconds 1800000000",
            "careledger_gateway_vault_reads_total 5",
            "careledger_gateway_vault_bytes_total 70",
            "careledger_gateway_index_reads_total 2",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }
}
