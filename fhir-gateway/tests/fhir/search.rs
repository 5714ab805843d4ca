//! Searches and their pages.

use serde_json::{Value, json};

use super::support::world;

#[actix_web::test]
async fn pages_neither_skip_nor_repeat_while_others_write() {
    let world = world().await;
    let client = world.client("ehr").await;
    let put = |id: &str, text: &str| json!({"resourceType": "Patient", "id": id, "language": text}).to_string();
    for n in 0..25 {
        client.send("PUT", &format!("/Patient/p{n:02}"), &[], put(&format!("p{n:02}"), "en")).await.expect(201);
    }
    for sort in ["", "&_sort=-_lastUpdated", "&_sort=_id", "&_sort=gender,-_id"] {
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

/// FHIR wants a `fullUrl` in each entry of a searchset (bdl-7), also where an entry tells of the search itself.
#[actix_web::test]
async fn an_entry_that_told_of_the_search_had_no_full_url() {
    let world = world().await;
    let client = world.client("ehr").await;
    let page = client.get("/Patient?color=red&shoe=9").await.expect(200).json();
    let name = page["entry"][0]["fullUrl"].as_str().unwrap();
    assert!(name.starts_with("urn:uuid:"), "{name}");
    // Who asks the same is answered the same.
    assert_eq!(client.get("/Patient?color=red&shoe=9").await.expect(200).json(), page);
    let other = client.get("/Patient?color=red").await.expect(200).json();
    assert_ne!(other["entry"][0]["fullUrl"], page["entry"][0]["fullUrl"]);
}

/// HAPI's validator takes a list in the link `self` apart before it decodes it.
#[actix_web::test]
async fn a_list_in_a_link_had_its_commas_escaped() {
    let world = world().await;
    let client = world.client("ehr").await;
    let page = client.get("/Patient?gender=male,female&name=a%5C%2Cb").await.expect(200).json();
    let link = page["link"][0]["url"].as_str().unwrap();
    assert!(link.ends_with("/Patient?gender=male,female&name=a%5C,b"), "{link}");
}

/// Ids of the entries of a page, in their order.
fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned)).collect()
}

#[actix_web::test]
async fn searches_are_sorted_by_any_parameter_and_by_several() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (id, family, birth) in [("a", "Ärzt", "1970"), ("b", "Berg", "1960"), ("c", "aal", "1960"), ("d", "", "")] {
        let mut patient = json!({"resourceType": "Patient", "id": id});
        if !family.is_empty() {
            patient["name"] = json!([{"family": family, "given": ["Zoe"]}]);
            patient["birthDate"] = json!(birth);
        }
        client.send("PUT", &format!("/Patient/{id}"), &[], patient.to_string()).await.expect(201);
    }
    for (sort, expected) in [
        ("family", ["c", "a", "b", "d"]),
        ("-family", ["b", "a", "c", "d"]),
        ("birthdate,-family", ["b", "c", "a", "d"]),
        ("-birthdate,_id", ["a", "b", "c", "d"]),
        ("-_id", ["d", "c", "b", "a"]),
    ] {
        let page = client.get(&format!("/Patient?_sort={sort}")).await.expect(200).json();
        assert_eq!(ids(&page), expected, "{sort}");
        // The same, two at a time.
        let mut path = format!("/Patient?_count=2&_sort={sort}");
        let mut seen = Vec::new();
        while !path.is_empty() {
            let page = client.get(&path).await.expect(200).json();
            assert_eq!(page["total"], 4);
            seen.extend(ids(&page));
            let next = page["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next").cloned();
            path = next
                .map_or(String::new(), |next| next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned());
        }
        assert_eq!(seen, expected, "{sort}, in pages");
    }
}

#[actix_web::test]
async fn a_part_of_each_match_is_marked_as_such() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], r#"{"resourceType":"Patient","id":"p1","active":true,"photo":[{"title":"x"}],"text":{"status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">said</div>"}}"#).await.expect(201);
    for (query, has, has_not) in [
        ("_elements=active", vec!["active"], vec!["photo", "text"]),
        ("_summary=true", vec!["active"], vec!["photo", "text"]),
        ("_summary=text", vec!["text"], vec!["active", "photo"]),
        ("_summary=data", vec!["active", "photo"], vec!["text"]),
    ] {
        let found = client.get(&format!("/Patient?{query}")).await.expect(200).json();
        let resource = &found["entry"][0]["resource"];
        assert_eq!(resource["meta"]["tag"][0]["code"], "SUBSETTED", "{query}");
        assert!(has.iter().all(|name| !resource[name].is_null()), "{query}: {resource}");
        assert!(has_not.iter().all(|name| resource[name].is_null()), "{query}: {resource}");
    }
    let read = client.get("/Patient/p1?_elements=active").await.expect(200).json();
    assert_eq!((&read["active"], &read["photo"]), (&json!(true), &Value::Null));
    client.get("/Patient/p1?_summary=maybe").await.expect(400);
    let whole = client.get("/Patient?_summary=false").await.expect(200).json();
    assert!(whole["entry"][0]["resource"]["meta"]["tag"].is_null());
    for count in ["_count=0", "_summary=count"] {
        let counted = client.get(&format!("/Patient?{count}")).await.expect(200).json();
        assert_eq!((&counted["total"], &counted["entry"]), (&json!(1), &Value::Null));
    }
    assert!(client.get("/Patient?_total=none").await.expect(200).json()["total"].is_null());
}

#[actix_web::test]
async fn a_cursor_says_nothing_and_is_good_for_its_client_and_address_alone() {
    let (_world, ehr, portal) = super::two_patients().await;
    let next = |bundle: &Value| {
        let link = bundle["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next").unwrap().clone();
        link["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned()
    };
    let of_ehr = next(&ehr.get("/Condition?_count=1").await.expect(200).json());
    ehr.get(&of_ehr).await.expect(200);
    portal.get(&of_ehr).await.expect(400);
    ehr.get(&of_ehr.replace("/Condition", "/Patient")).await.expect(400);
    for made_up in ["4-1", "AAAA", ""] {
        ehr.get(&format!("/Condition?_cursor={made_up}")).await.expect(400);
    }
}

/// An answer says again what was asked: so what is asked is bounded before anything is done with it.
#[actix_web::test]
async fn parameters_are_bounded_in_number_and_each_that_is_unknown_is_told_once() {
    let (_world, ehr, portal) = super::two_patients().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let many = |count: usize| (0..count).map(|at| format!("x{at}=a")).collect::<Vec<_>>().join("&");
    let parameters = |count: usize| {
        let parameter: Vec<Value> = (0..count).map(|at| json!({"name": format!("x{at}"), "valueCode": "a"})).collect();
        json!({"resourceType": "Parameters", "parameter": parameter}).to_string()
    };
    for (count, status) in [(200, 200), (201, 400), (100_000, 400)] {
        for client in [&ehr, &portal] {
            let searched = client.send("POST", "/Condition/_search", &form, many(count)).await;
            assert_eq!(searched.status, status, "{count}");
            let everything = client.post("/Patient/p1/$everything", parameters(count)).await;
            assert_eq!(everything.status, status, "{count}");
        }
        if count < 1_000 {
            let entry = json!({"request": {"method": "GET", "url": format!("Condition?{}", many(count))}});
            let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]});
            let answered = ehr.post("/", batch.to_string()).await.expect(200).json();
            assert!(answered["entry"][0]["response"]["status"].as_str().unwrap().starts_with(&status.to_string()));
            assert_eq!(ehr.get(&format!("/Condition/_history?{}", many(count))).await.status, status);
        }
    }
    let told = ehr.send("POST", "/Condition/_search", &form, vec!["x=1"; 200].join("&")).await.expect(200).json();
    let outcome = told["entry"].as_array().unwrap().iter().find(|entry| entry["search"]["mode"] == "outcome").unwrap();
    assert_eq!(outcome["resource"]["issue"].as_array().unwrap().len(), 1, "{outcome}");
    let elements = |count: usize| format!("_elements={}", vec!["code"; count].join(","));
    ehr.send("POST", "/Condition/_search", &form, elements(200)).await.expect(200);
    ehr.send("POST", "/Condition/_search", &form, elements(201)).await.expect(400);
}
