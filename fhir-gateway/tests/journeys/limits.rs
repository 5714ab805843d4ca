//! Bounds on what the two endpoints take that are not FHIR.

use careledger_gateway::{
    keys::{OrganizationKeys, OrganizationSigner},
    ledger::{Ledger, clock},
    release::{self, signed::Request},
};
use careledger_wire::proto::identity::OrganizationKind;
use serde_json::{Value, json};

use super::{
    chain,
    site::{self, Site},
};

struct World {
    _folder: tempfile::TempDir,
    _ledger: Ledger,
    site: Site,
    peer: OrganizationKeys,
    http: reqwest::Client,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registrar = OrganizationSigner::random();
        let (ledger, _) = chain::embedded(&folder.path().join("ledger"), &registrar);
        let (own, peer) = (OrganizationKeys::random(), OrganizationKeys::random());
        for keys in [&own, &peer] {
            chain::register(&ledger, &registrar, keys, OrganizationKind::Provider).await.unwrap();
        }
        let site = Site::start(folder.path(), "north", &own, ledger.clone(), site::free_address(), &[]).await;
        Self { _folder: folder, _ledger: ledger, site, peer, http: reqwest::Client::new() }
    }

    /// A request of the other organization, signed: its status, and what `Retry-After` says.
    async fn ask(&self, body: &[u8]) -> (u16, Option<String>) {
        self.ask_to("read", body).await
    }

    /// As [`Self::ask`], for any operation.
    async fn ask_to(&self, operation: &str, body: &[u8]) -> (u16, Option<String>) {
        let path = format!("/north/peer/v1/{operation}");
        let recipient = self.site.organization.address();
        let request = Request { chain_id: chain::CHAIN, recipient: &recipient, path: &path, body };
        let (headers, _) = request.sign(&self.peer.signer, clock());
        let call = self.http.post(format!("{}{path}", self.site.url)).body(body.to_vec());
        let call = headers.write().into_iter().fold(call, |call, (name, value)| call.header(name, value));
        let answer = call.send().await.unwrap();
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), retry)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_is_bounded_in_bytes_and_in_rate() {
    let world = World::new().await;
    assert_eq!(world.ask(&vec![b' '; release::BODY_BYTES_MAX + 1]).await, (413, None));
    assert_eq!(world.ask(b"{}").await, (400, None), "signed, and no such request");
    let read = world.http.get(format!("{}/north/peer/v1/read", world.site.url)).send().await.unwrap();
    assert_eq!(read.status().as_u16(), 405);
    // More than may come at once, faster than they may come over time.
    let asked = futures::future::join_all((0..400).map(|_| world.ask(b"{}"))).await;
    let refused: Vec<_> = asked.iter().filter(|(status, _)| *status == 429).collect();
    assert!(!refused.is_empty(), "400 requests at once were all taken");
    assert!(refused.iter().all(|(_, retry)| retry.as_deref().is_some_and(|seconds| seconds.parse::<u64>().is_ok())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plain_word_of_a_request_is_refused_and_never_in_the_access_log() {
    let world = World::new().await;
    let lines = async || world.site.get("/AuditEvent?_summary=count").await.expect(200)["total"].as_u64().unwrap();
    let body = |purpose: &str, resource_type: &str, id: Option<&str>| {
        let right = json!({
            "grant": "01".repeat(32), "subject": "02".repeat(32), "purpose": purpose,
            "practitioner": world.peer.signer.address(),
        });
        let mut body = json!({"right": right, "resource_type": resource_type});
        if let Some(id) = id {
            body["id"] = json!(id);
        }
        body.to_string().into_bytes()
    };
    let before = lines().await;
    for (operation, body) in [
        ("search", body("<b>", "Condition", None)),
        ("search", body("TREAT", "Spaceship", None)),
        ("read", body("<b>", "Condition", Some("a"))),
        ("read", body("TREAT", "Spaceship", Some("a"))),
        ("read", body("TREAT", "Condition", Some("a/b"))),
    ] {
        let answer = world.ask_to(operation, &body).await;
        assert_eq!(answer, (400, None), "{operation} {}", String::from_utf8_lossy(&body));
    }
    assert_eq!(lines().await, before);
    for (operation, body) in
        [("search", body("TREAT", "Condition", None)), ("read", body("TREAT", "Condition", Some("a")))]
    {
        assert_eq!(world.ask_to(operation, &body).await, (200, None), "{operation}");
    }
    assert_eq!(lines().await, before + 2, "what is plain is a line, though nothing is opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_answers_in_oauths_words_whatever_comes() {
    let world = World::new().await;
    let url = format!("{}/north/auth/token", world.site.url);
    let form = |length: usize| format!("grant_type=client_credentials&scope={}", "x".repeat(length));
    for length in [10, 40_000] {
        let call = world.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(form(length));
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["error"], "invalid_request", "{answer}");
    }
    assert_eq!(world.http.get(&url).send().await.unwrap().status().as_u16(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_half_sent_leaves_nothing_and_holds_up_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    let address = world.site.url.trim_start_matches("http://");
    let token = world.site.token_of("ehr").await;
    let bodies = [
        ("application/fhir+json", r#"{"resourceType":"Patient"}"#),
        ("application/fhir+xml", "<Patient xmlns='http://hl7.org/fhir'/>"),
    ];
    for (content_type, body) in bodies {
        // A whole resource, of which more was promised than comes.
        for promised in [format!("content-length: {}", body.len() + 1), "transfer-encoding: chunked".to_owned()] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let chunk =
                if promised.contains("chunked") { format!("{:x}\r\n{body}\r\n", body.len()) } else { body.to_owned() };
            let head = format!(
                "POST /north/fhir/Patient HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
                 content-type: {content_type}\r\n{promised}\r\n\r\n"
            );
            stream.write_all(format!("{head}{chunk}").as_bytes()).await.unwrap();
            // Others are served meanwhile.
            world.site.get("/Patient?_summary=count").await.expect(200);
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{promised}: {answer}");
        }
    }
    assert_eq!(world.site.get("/Patient?_summary=count").await.expect(200)["total"], 0);
}
