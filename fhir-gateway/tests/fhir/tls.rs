//! The gateway over TLS, met by a client that checks certificates.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::dev::ServerHandle;
use careledger_gateway::{
    config::{ClientCertificates, Tls},
    http_client::{self, Trust},
    server,
};
use reqwest::{Certificate, Identity, tls::Version};

use super::support::{FHIR, World, world};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);
/// Longer than a client may take for the head of a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// Test certificates, made with OpenSSL for tests only.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/testdata").join(name)
}

fn authority(name: &str) -> Certificate {
    Certificate::from_pem(&std::fs::read(file(name)).unwrap()).unwrap()
}

fn holder(name: &str) -> Identity {
    let read = |kind: &str| std::fs::read(file(&format!("{name}.{kind}"))).unwrap();
    Identity::from_pem(&[read("key"), read("pem")].concat()).unwrap()
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([authority("authority.pem")])
}

/// Servers of one gateway. To be stopped: a thread that lets go of a database while the process ends aborts it.
struct Servers {
    world: World,
    handles: Vec<ServerHandle>,
}

impl Servers {
    async fn new() -> Self {
        Self { world: world().await, handles: Vec::new() }
    }

    fn serve(&mut self, tls: Option<ClientCertificates>, with_tls: &str) -> SocketAddr {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Tls {
            certificate: file("server.pem"),
            key: file("server.key"),
            client_authority: tls.map(|_| file("authority.pem")),
            client_certificates: tls,
        };
        let tls = (with_tls == "https").then(|| server::tls::open(&settings).unwrap().0);
        let server = server::serve(Arc::clone(&self.world.gateway), address, 1, tls).unwrap();
        self.handles.push(server.handle());
        actix_web::rt::spawn(server);
        address
    }

    /// Stops them, and waits until nobody else has the gateway.
    async fn stop(self) {
        for handle in &self.handles {
            handle.stop(false).await;
        }
        let deadline = Instant::now() + PATIENCE;
        while Arc::strong_count(&self.world.gateway) > 1 {
            assert!(Instant::now() < deadline, "a server does not stop");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The status of `/metadata`; none where no connection comes about.
async fn asked(client: reqwest::ClientBuilder, scheme: &str, address: SocketAddr) -> Option<u16> {
    let url = format!("{scheme}://{address}{FHIR}/metadata");
    client.build().unwrap().get(url).send().await.ok().map(|answer| answer.status().as_u16())
}

#[actix_web::test]
async fn over_tls_the_gateway_is_who_its_certificate_says_and_speaks_nothing_else() {
    let mut servers = Servers::new().await;
    let address = servers.serve(None, "https");
    assert_eq!(asked(client(), "https", address).await, Some(200));
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        assert_eq!(
            asked(client().max_tls_version(version).min_tls_version(version), "https", address).await,
            Some(200)
        );
    }
    let elsewhere = reqwest::Client::builder().no_proxy().tls_certs_only([authority("other-authority.pem")]);
    assert_eq!(asked(elsewhere, "https", address).await, None);
    assert_eq!(asked(client(), "http", address).await, None);
    servers.stop().await;
}

/// The clients that peers and identity providers are called with.
#[actix_web::test]
async fn a_peer_is_trusted_by_the_authorities_that_are_configured() {
    let mut servers = Servers::new().await;
    let url = format!("https://{}{FHIR}/metadata", servers.serve(None, "https"));
    let is_trusted = async |trust: &Trust| {
        let client = http_client::build(|| reqwest::Client::builder().no_proxy(), trust).unwrap();
        client.get(&url).send().await.is_ok()
    };
    let trust = |name: &str| Trust::read(Some(&file(name)));
    assert!(is_trusted(&trust("authority.pem").unwrap()).await);
    assert!(!is_trusted(&trust("other-authority.pem").unwrap()).await);
    assert!(!is_trusted(&Trust::read(None).unwrap()).await);
    for unusable in ["none.pem", "server.key"] {
        let problem = trust(unusable).unwrap_err();
        assert!(problem.starts_with("trusted_authorities") && problem.contains(unusable), "{problem}");
    }
    servers.stop().await;
}

#[actix_web::test]
async fn client_certificates_are_checked_and_demanded_as_configured() {
    let mut servers = Servers::new().await;
    let required = servers.serve(Some(ClientCertificates::Required), "https");
    assert_eq!(asked(client(), "https", required).await, None);
    assert_eq!(asked(client().identity(holder("stranger")), "https", required).await, None);
    assert_eq!(asked(client().identity(holder("client")), "https", required).await, Some(200));
    let optional = servers.serve(Some(ClientCertificates::Optional), "https");
    assert_eq!(asked(client(), "https", optional).await, Some(200));
    assert_eq!(asked(client().identity(holder("stranger")), "https", optional).await, None);
    assert_eq!(asked(client().identity(holder("client")), "https", optional).await, Some(200));
    servers.stop().await;
}

#[actix_web::test]
async fn a_client_that_never_ends_its_request_is_let_go_and_holds_up_nobody() {
    let mut servers = Servers::new().await;
    let address = servers.serve(None, "http");
    let connected = |sent: String| {
        let mut slow = TcpStream::connect(address).unwrap();
        slow.set_read_timeout(Some(PATIENCE)).unwrap();
        slow.write_all(sent.as_bytes()).unwrap();
        slow
    };
    let in_its_head = connected(format!("GET {FHIR}/metadata HTTP/1.1\r\nhost: {address}\r\nx: "));
    let token = servers.world.token("ehr").await;
    let in_its_body = connected(format!(
        "POST {FHIR}/Patient HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/fhir+json\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{{\"resourceType\""
    ));
    assert_eq!(asked(client(), "http", address).await, Some(200));
    let began = Instant::now();
    let said = |mut slow: TcpStream| async {
        let read = move || {
            let mut said = String::new();
            slow.read_to_string(&mut said).map(|_| said)
        };
        actix_web::rt::task::spawn_blocking(read).await.unwrap().expect("the connection is closed")
    };
    let (of_head, of_body) = futures::future::join(said(in_its_head), said(in_its_body)).await;
    assert!(began.elapsed() < PATIENCE);
    assert!(of_head.is_empty() || of_head.starts_with("HTTP/1.1 408"), "{of_head}");
    assert!(of_body.starts_with("HTTP/1.1 408") && of_body.contains("OperationOutcome"), "{of_body}");
    assert_eq!(servers.world.client("ehr").await.get("/Patient").await.expect(200).json()["total"], 0);
    servers.stop().await;
}
