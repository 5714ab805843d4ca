//! What an endpoint may do to the gateway and to others.

use super::{patients, put, quick, subscribed, subscription, until_is};
use crate::support::{
    endpoint::{Behaviour, Endpoint},
    opened_with,
};

#[actix_web::test]
async fn an_endpoint_that_redirects_hangs_or_never_ends_harms_nobody() {
    let [redirecting, silent, endless, elsewhere, good] = [(); 5].map(|()| Endpoint::start());
    let (world, ..) = opened_with(|config| {
        quick(config, &[&redirecting, &silent, &endless, &elsewhere, &good]);
        config.subscriptions.delivery_seconds = 1;
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    redirecting.behave(Behaviour::Redirects(elsewhere.url()));
    silent.behave(Behaviour::Silent);
    endless.behave(Behaviour::Endless);
    let json = Some("application/fhir+json");
    let body = subscription("Observation", "https://localhost/hook", json);
    let inside = ehr.post("/Subscription", body.to_string()).await.expect(201).id();
    let redirected = subscribed(&ehr, "Observation", &redirecting, json).await;
    let unanswered = subscribed(&ehr, "Observation", &silent, json).await;
    let swamped = subscribed(&ehr, "Observation", &endless, json).await;
    let well = subscribed(&ehr, "Observation", &good, json).await;
    for n in 0..3 {
        put(&ehr, &format!("o{n}"), "p1", "x").await;
    }
    until_is(&ehr, &well, ("active", 3, None)).await;
    // Its status is all that is taken of an answer.
    until_is(&ehr, &swamped, ("active", 3, None)).await;
    until_is(&ehr, &redirected, ("error", 0, Some("the endpoint answered with status 307"))).await;
    until_is(&ehr, &unanswered, ("error", 0, Some("the endpoint did not answer in time"))).await;
    until_is(&ehr, &inside, ("error", 0, Some("the endpoint cannot be connected to"))).await;
    assert!(elsewhere.received().is_empty(), "no redirect is followed");
    assert!(redirecting.lines().iter().all(|line| line.ends_with("/o0")), "nothing goes before what waits");
}

/// All room could be taken by what one endpoint does not answer, and the turns of those who read by what waited for it.
#[actix_web::test]
async fn an_endpoint_that_takes_its_time_keeps_neither_room_nor_turns_of_others() {
    let (slow, good) = (Endpoint::start(), Endpoint::start());
    let (world, ..) = opened_with(|config| {
        quick(config, &[&slow, &good]);
        // Room for six of these notifications, and no end of waiting.
        (config.subscriptions.bytes_in_flight_max, config.subscriptions.delivery_seconds) = (1_600, 3_600);
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    slow.behave(Behaviour::Silent);
    let json = Some("application/fhir+json");
    for _ in 0..12 {
        subscribed(&ehr, "Observation", &slow, json).await;
    }
    put(&ehr, "before", "p1", "x").await;
    slow.until(1).await;
    let well = subscribed(&ehr, "Observation", &good, json).await;
    for id in ["one", "two", "three"] {
        put(&ehr, id, "p1", "x").await;
    }
    until_is(&ehr, &well, ("active", 3, None)).await;
    assert_eq!(slow.lines(), ["PUT /hook/Observation/before"], "its share is one of these");
}

/// The three were told apart, so that a client could ask for the names and addresses of the gateway's network.
#[actix_web::test]
async fn an_error_tells_no_name_that_is_not_there_from_one_inside_or_a_port_that_is_closed() {
    let good = Endpoint::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let origin = format!("http://{closed}");
    let (world, ..) = opened_with(|config| {
        quick(config, &[&good]);
        config.subscriptions.trusted_endpoints.push(origin.clone());
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    let mut made = Vec::new();
    // No name has a part of more than 63 letters.
    let nowhere = format!("https://{}.example/hook", "a".repeat(70));
    for endpoint in ["https://localhost/hook", &nowhere, &origin] {
        let body = subscription("Observation", endpoint, None).to_string();
        made.push(ehr.post("/Subscription", body).await.expect(201).id());
    }
    put(&ehr, "one", "p1", "x").await;
    for id in made {
        until_is(&ehr, &id, ("error", 0, Some("the endpoint cannot be connected to"))).await;
    }
}
