//! Bodies that no honest client sends: each gets its status, and leaves nothing behind.

use std::io::Write as _;

use super::support::world;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[actix_web::test]
async fn hostile_bodies_get_their_status_and_leave_nothing() {
    let world = world().await;
    let client = world.client("ehr").await;
    let (json, xml) = ("application/fhir+json", "application/fhir+xml");
    let patient = |inner: &str| format!("{{\"resourceType\":\"Patient\"{inner}}}").into_bytes();
    let in_xml = |inner: &str| format!("<Patient xmlns=\"http://hl7.org/fhir\">{inner}</Patient>").into_bytes();
    let laughs: String = (1..64).map(|at| format!("<!ENTITY l{at} \"&l{0};&l{0};&l{0};&l{0};\">", at - 1)).collect();
    let laughs = format!("<!DOCTYPE Patient [<!ENTITY l0 \"lol\">{laughs}]>");
    let doctype = |declared: &str, value: &str| {
        [declared.as_bytes(), &in_xml(&format!("<language value=\"{value}\"/>"))].concat()
    };
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let extensions = deep("<extension url=\"urn:x\">", "</extension>", 50_000);
    let divs = deep("<div>", "</div>", 50_000);
    let narrative =
        format!("<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\">{divs}</div></text>");
    let cases: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        ("deep JSON", json, patient(&format!(",\"extension\":{}", deep("[", "]", 100_000))), 400),
        ("open JSON", json, "[".repeat(1_000_000).into_bytes(), 400),
        ("deep objects", json, patient(&format!(",\"name\":{}1{}", "{\"a\":".repeat(100), "}".repeat(100))), 400),
        ("a key twice", json, patient(",\"active\":true,\"active\":false"), 400),
        ("a key twice, escaped", json, patient(",\"active\":true,\"\\u0061ctive\":false"), 400),
        ("no UTF-8", json, [&b"{\"resourceType\":\"Patient\",\"language\":\"\xff\xfe\"}"[..]].concat(), 400),
        ("an overlong slash", json, [&b"{\"resourceType\":\"Patient\",\"language\":\"\xc0\xaf\"}"[..]].concat(), 400),
        ("UTF-16", json, "{\0\"\0}\0".as_bytes().to_vec(), 400),
        ("a byte order mark", json, [&b"\xef\xbb\xbf"[..], &patient("")].concat(), 400),
        ("half a surrogate", json, patient(",\"language\":\"\\ud800\""), 400),
        ("a null character", json, patient(",\"language\":\"\\u0000\""), 400),
        ("a bell", json, patient(",\"language\":\"\\u0007\""), 422),
        ("NaN", json, patient(",\"multipleBirthInteger\":NaN"), 400),
        ("a huge integer", json, patient(&format!(",\"multipleBirthInteger\":{}", "9".repeat(100_000))), 422),
        ("a huge exponent for an integer", json, patient(",\"multipleBirthInteger\":1e999999999"), 422),
        ("billion laughs", xml, doctype(&laughs, "&l63;"), 400),
        ("a file as an entity", xml, doctype("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", "&x;"), 400),
        ("a DTD elsewhere", xml, doctype("<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/a.dtd\">", "en"), 400),
        ("a parameter entity", xml, doctype("<!DOCTYPE a [<!ENTITY % x SYSTEM \"file:///a\">%x;]>", "en"), 400),
        ("deep XML", xml, in_xml(&extensions), 400),
        ("open XML", xml, "<Patient xmlns=\"http://hl7.org/fhir\">".repeat(100_000).into_bytes(), 422),
        ("deep narrative", xml, in_xml(&narrative), 422),
        ("XML that is no UTF-8", xml, in_xml("<language value='").into_iter().chain([0xff]).collect(), 400),
        (
            "UTF-16 by declaration",
            xml,
            [&b"<?xml version=\"1.0\" encoding=\"UTF-16\"?>"[..], &in_xml("")].concat(),
            400,
        ),
        ("JSON as XML", xml, patient(""), 400),
        ("XML as JSON", json, in_xml(""), 400),
    ];
    for (name, content_type, body, status) in cases {
        let got = client.send("POST", "/Patient", &[("content-type", content_type), ("accept", json)], body).await;
        assert_eq!(got.status, status, "{name}: {}", got.text());
        let outcome = got.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{name}");
        assert!(outcome["issue"][0]["extension"][0]["valueInteger"].is_number(), "{name} has no line: {outcome}");
    }
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
}

#[actix_web::test]
async fn packed_bodies_are_bounded_by_what_they_unpack_to() {
    let world = world().await;
    let client = world.client("ehr").await;
    let gzipped = [("content-encoding", "gzip"), ("content-type", "application/fhir+xml")];
    let whole = b"<Patient xmlns='http://hl7.org/fhir'/>";
    // A thousandth of it is sent.
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 128 * 1024);
    client.send("POST", "/Patient", &gzipped, bomb).await.expect(413);
    let packed = gzip(whole);
    client.send("POST", "/Patient", &gzipped, packed[..packed.len() - 9].to_vec()).await.expect(400);
    client.send("POST", "/Patient", &gzipped, whole.to_vec()).await.expect(400);
    let mut damaged = packed.clone();
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    client.send("POST", "/Patient", &gzipped, damaged).await.expect(400);
    // Packed twice and said once: what is unpacked is no XML.
    client.send("POST", "/Patient", &gzipped, gzip(&packed)).await.expect(400);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
    client.send("POST", "/Patient", &gzipped, packed).await.expect(201);
}

#[actix_web::test]
async fn numbers_of_any_length_are_kept_to_the_digit_and_searched_without_harm() {
    let world = world().await;
    let client = world.client("ehr").await;
    let digits = "9".repeat(50_000);
    for (at, number) in
        ["1e999999999", "-1e-999999999", "0e99999999999999999999", "0e999999", &digits, &format!("0.{digits}")]
            .iter()
            .enumerate()
    {
        let body = format!(
            "{{\"resourceType\":\"Observation\",\"id\":\"o{at}\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}},\"valueQuantity\":{{\"value\":{number}}}}}"
        );
        client.send("PUT", &format!("/Observation/o{at}"), &[], body).await.expect(201);
        for accept in ["application/fhir+json", "application/fhir+xml"] {
            let read = client.send("GET", &format!("/Observation/o{at}"), &[("accept", accept)], "").await.expect(200);
            assert!(read.text().contains(number), "{number}");
        }
    }
    for query in ["value-quantity=5", "value-quantity=gt1e300", "value-quantity=1e999999999", "value-quantity=lt1e-999"]
    {
        let got = client.get(&format!("/Observation?{query}")).await;
        assert!(matches!(got.status, 200 | 400), "{query}: {}", got.text());
    }
}
