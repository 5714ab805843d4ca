//! The embedded ledger's JSON-RPC, as CometBFT 0.38 serves it: enough for an unmodified CosmJS
//! `SigningStargateClient`, for `careledgerd`, and for another gateway in `comet` mode.
//! docs/adr/0011-embedded-ledger-rpc.md says what it does not serve.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Weak, mpsc::Sender},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    web::{self, Bytes, Data, Path, Query},
};
use serde_json::{Map, Value, json};

use self::params::Params;
use super::{OpenError, embedded::Shared};

pub mod answers;
pub mod methods;
pub mod params;

/// Largest request body in bytes: a transaction of the largest size in base64, with room.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Calls in one batch.
const BATCH_MAX: usize = 100;
/// Threads that answer.
const WORKERS: usize = 2;

/// Why a call was not answered, as JSON-RPC 2.0 numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// JSON-RPC error code.
    pub code: i32,
    /// What is wrong, for the caller.
    pub problem: String,
}

impl CallError {
    /// A parameter that is missing or wrong.
    pub fn params(problem: impl Into<String>) -> Self {
        Self { code: -32602, problem: problem.into() }
    }

    /// Something that is not there or cannot be done now.
    pub fn internal(problem: impl Into<String>) -> Self {
        Self { code: -32603, problem: problem.into() }
    }

    fn to_json(&self) -> Value {
        let message = match self.code {
            -32700 => "Parse error",
            -32600 => "Invalid Request",
            -32601 => "Method not found",
            -32602 => "Invalid params",
            _ => "Internal error",
        };
        json!({"code": self.code, "message": message, "data": self.problem})
    }
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    /// Listens on `listen`; answers from `ledger` as long as it is there.
    pub fn start(listen: SocketAddr, ledger: Weak<Shared>) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::Listen { address: listen.to_string(), reason };
        // Bound here, so that a port that is taken is told to the caller.
        let listener = TcpListener::bind(listen).map_err(|error| failed(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let serve = move || actix_web::rt::System::new().block_on(serve(listener, ledger, sender));
        let thread = std::thread::Builder::new().name("ledger-rpc".to_owned()).spawn(serve);
        thread.map_err(|error| failed(error.to_string()))?;
        let handle = receiver.recv().map_err(|error| failed(error.to_string()))?;
        Ok(Self { address, handle })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it. The signal is sent at once; nobody waits for its end.
    pub fn stop(&self) {
        drop(self.handle.stop(false));
    }
}

/// Serves until the handle that it sends is told to stop.
async fn serve(listener: TcpListener, ledger: Weak<Shared>, started: Sender<ServerHandle>) {
    let ledger = Data::new(ledger);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ledger.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("/", web::post().to(post))
            .route("/", web::get().to(list))
            .route("/{method}", web::get().to(get))
    });
    let server = server.workers(WORKERS).disable_signals().shutdown_timeout(1).listen(listener);
    let server = match server {
        Ok(server) => server.run(),
        Err(error) => return tracing::error!(%error, "the ledger's RPC cannot listen"),
    };
    // Where nobody waits for it any more, nobody needs the server.
    if started.send(server.handle()).is_err() {
        return;
    }
    if let Err(error) = server.await {
        tracing::error!(%error, "the ledger's RPC stopped");
    }
}

/// JSON-RPC over POST: one call or a batch.
async fn post(ledger: Data<Weak<Shared>>, body: Bytes) -> HttpResponse {
    let answer = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > BATCH_MAX => {
            envelope(&Value::Null, Err(CallError { code: -32600, problem: "a batch has 1 to 100 calls".to_owned() }))
        }
        Ok(Value::Array(calls)) => Value::Array(calls.iter().map(|call| answer_call(&ledger, call)).collect()),
        Ok(call) => answer_call(&ledger, &call),
        Err(_) => envelope(&Value::Null, Err(CallError { code: -32700, problem: "not JSON".to_owned() })),
    };
    HttpResponse::Ok().json(answer)
}

/// A call in the URI: `GET /status`, `GET /abci_query?path="…"&data=0x…`.
async fn get(
    ledger: Data<Weak<Shared>>,
    method: Path<String>,
    query: Query<Vec<(String, String)>>,
    request: HttpRequest,
) -> HttpResponse {
    tracing::trace!(path = request.path(), "call in the URI");
    let params = Params::from_uri(query.into_inner());
    let result = call(&ledger, &method, &params);
    let is_error = result.is_err();
    let answer = envelope(&json!(-1), result);
    if is_error { HttpResponse::InternalServerError().json(answer) } else { HttpResponse::Ok().json(answer) }
}

async fn list() -> HttpResponse {
    let names: Vec<&str> = methods::METHODS.iter().map(|(name, _)| *name).collect();
    HttpResponse::Ok().json(json!({"methods": names}))
}

fn answer_call(ledger: &Weak<Shared>, request: &Value) -> Value {
    let id = request.get("id").unwrap_or(&Value::Null);
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return envelope(id, Err(CallError { code: -32600, problem: "no method".to_owned() }));
    };
    let params = match request.get("params") {
        None | Some(Value::Null) => Params::from_json(Map::new()),
        Some(Value::Object(named)) => Params::from_json(named.clone()),
        Some(Value::Array(list)) if list.is_empty() => Params::from_json(Map::new()),
        Some(_) => return envelope(id, Err(CallError::params("parameters must be named"))),
    };
    envelope(id, call(ledger, method, &params))
}

fn call(ledger: &Weak<Shared>, method: &str, params: &Params) -> Result<Value, CallError> {
    let ledger = ledger.upgrade().ok_or_else(|| CallError::internal("the ledger is stopping"))?;
    let known = methods::METHODS.iter().find(|(name, _)| *name == method);
    let (_, answer) = known.ok_or(CallError { code: -32601, problem: format!("`{}`", method.escape_default()) })?;
    answer(&ledger, params)
}

fn envelope(id: &Value, result: Result<Value, CallError>) -> Value {
    match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error.to_json()}),
    }
}
