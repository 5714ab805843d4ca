use super::*;

fn subscription(status: &str) -> Subscription {
    let resource = format!(
        r#"{{"resourceType":"Subscription","id":"s","status":"{status}","error":"made up","reason":"r",
            "criteria":"Observation","channel":{{"type":"rest-hook","endpoint":"https://example.org"}}}}"#
    );
    Subscription::new("s".to_owned(), "ehr", "system/*.rs".to_owned(), resource, 7)
}

fn shown(subscription: &Subscription) -> (String, Option<String>, String) {
    let served: serde_json::Value = serde_json::from_slice(&subscription.served().unwrap()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    (text(&served["status"]).unwrap(), text(&served["error"]), text(&served["meta"]["versionId"]).unwrap())
}

#[test]
fn status_and_error_are_the_servers_words_and_each_change_of_them_is_a_version() {
    let mut subscription = subscription("active");
    let version = |number: u32| number.to_string();
    assert_eq!(shown(&subscription), ("requested".to_owned(), None, version(1)));
    subscription.state.revision = 1;
    subscription.state.turn(Status::Active, None);
    assert_eq!(shown(&subscription), ("active".to_owned(), None, version(2)));
    subscription.state.turn(Status::Active, None);
    assert_eq!(subscription.version(), 2, "nothing changed");
    subscription.state.turn(Status::Error, Some(Failure::Status(500)));
    let said = "the endpoint answered with status 500";
    assert_eq!(shown(&subscription), ("error".to_owned(), Some(said.to_owned()), version(3)));
    subscription.state.turn(Status::Off, Some(Failure::Status(500)));
    assert_eq!(shown(&subscription), ("off".to_owned(), Some(said.to_owned()), version(4)));
    // Written anew by its owner.
    subscription.asked.revision = 2;
    assert_eq!(shown(&subscription), ("requested".to_owned(), None, version(5)));
}

#[test]
fn one_that_its_owner_switched_off_is_off_whatever_the_worker_made_of_it() {
    let mut subscription = subscription("off");
    assert_eq!(subscription.status(), Status::Off);
    subscription.state.revision = 1;
    subscription.state.turn(Status::Active, None);
    assert_eq!(subscription.status(), Status::Off);
}
