//! Searches and their pages.

use serde_json::json;

use super::support::world;

#[actix_web::test]
async fn pages_neither_skip_nor_repeat_while_others_write() {
    let world = world().await;
    let client = world.client("ehr").await;
    let put = |id: &str, text: &str| json!({"resourceType": "Patient", "id": id, "language": text}).to_string();
    for n in 0..25 {
        client.send("PUT", &format!("/Patient/p{n:02}"), &[], put(&format!("p{n:02}"), "en")).await.expect(201);
    }
    for sort in ["", "&_sort=-_lastUpdated", "&_sort=_id"] {
        let mut path = format!("/Patient?_count=4{sort}&language:missing=true");
        let mut seen = Vec::new();
        let mut page = 0;
        loop {
            let bundle = client.get(&path).await.expect(200).json();
            let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
            seen.extend(entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()));
            let changed = format!("p{:02}", (page * 7) % 25);
            let (update, create) = (put(&changed, "fr"), r#"{"resourceType":"Patient"}"#);
            let path_of_changed = format!("/Patient/{changed}");
            let (updated, created) =
                futures::join!(client.send("PUT", &path_of_changed, &[], update), client.post("/Patient", create));
            updated.expect(200);
            client.send("DELETE", &format!("/Patient/{}", created.expect(201).id()), &[], "").await.expect(204);
            page += 1;
            let links = bundle["link"].as_array().unwrap();
            match links.iter().find(|link| link["relation"] == "next") {
                Some(next) => path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned(),
                None => break,
            }
        }
        seen.sort();
        assert_eq!(seen, (0..25).map(|n| format!("p{n:02}")).collect::<Vec<_>>(), "{sort}");
    }
}

#[actix_web::test]
async fn searches_by_post_and_by_get_are_one() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.post("/Patient", r#"{"resourceType":"Patient","gender":"male"}"#).await.expect(201);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let by_post = client.send("POST", "/Patient/_search", &form, "gender=male&color=red").await.expect(200).json();
    let by_get = client.get("/Patient?gender=male&color=red").await.expect(200).json();
    assert_eq!(by_post["entry"], by_get["entry"]);
    assert_eq!(by_get["total"], 1);
    assert_eq!(by_get["entry"][1]["search"]["mode"], "outcome");
    assert!(!by_get["link"][0]["url"].as_str().unwrap().contains("color"));
}
