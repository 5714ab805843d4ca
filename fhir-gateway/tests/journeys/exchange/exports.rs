//! Bulk exports that hold documents of another custodian.

use serde_json::{Value, json};

use super::world::{World, id, until};
use crate::site::Reply;

/// A finished export at B, once it is there.
async fn exported_at_b(world: &World, path: &str) -> Value {
    let status = world.b.export(path).await;
    until(async || match world.b.get(&status).await {
        Reply { status: 202, .. } => None,
        reply => Some(reply.expect(200)),
    })
    .await
}

/// Paths of the files of a list of a manifest.
fn files(manifest: &Value, list: &str) -> Vec<String> {
    let files = manifest[list].as_array().unwrap().iter();
    files.map(|file| file["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_export_holds_what_is_still_open_when_it_is_fetched() {
    let world = World::new().await;
    let grant = world.opened().await;
    let at_b = json!({
        "resourceType": "DocumentReference", "status": "current", "subject": {"reference": format!("Patient/{}", world.at_b)},
        "content": [{"attachment": {"title": "own"}}],
    });
    let own = id(world.b.post("/DocumentReference", &at_b).await.expect(201));
    // An export of the organization's own records is no disclosure of others'.
    let system = exported_at_b(&world, "/$export?_type=DocumentReference").await;
    assert_eq!(files(&system, "output").len(), 1);

    let manifest = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    assert_eq!(manifest["error"], json!([]));
    let files_at_b = files(&manifest, "output");
    assert_eq!(files_at_b.len(), 2, "{manifest}");
    let local = world.b.get(&files_at_b[0]).await.expect(200);
    assert_eq!(local["id"], json!(own));
    let remote = world.b.get(&files_at_b[1]).await.expect(200);
    assert_eq!(remote["id"], json!(world.shown_id(&grant, &world.document).await));
    let events = world.b.get(&format!("/AuditEvent?patient=Patient/{}", world.at_b)).await.expect(200);
    assert!(events.to_string().contains("$export"), "the patient sees the export");

    world.revoke(&grant).await;
    let after = world.b.get(&files_at_b[1]).await;
    assert_eq!((after.status, after.bytes), (200, Vec::new()), "what was closed is in no file");
    assert_eq!(world.b.get(&files_at_b[0]).await.expect(200)["id"], json!(own));
    let later = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    assert_eq!(files(&later, "output").len(), 1, "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_names_the_custodian_that_did_not_answer() {
    let world = World::new().await;
    world.opened().await;
    let before = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    let file = files(&before, "output").remove(0);
    world.b.get(&file).await.expect(200);
    world.a.stop().await;
    assert_eq!(world.b.get(&file).await.status, 503, "half a file is none");
    let after = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    assert_eq!(after["output"], json!([]));
    let said = world.b.get(&files(&after, "error")[0]).await.expect(200);
    let custodian = world.a.organization.address().to_string();
    assert!(said["resourceType"] == "OperationOutcome" && said.to_string().contains(&custodian), "{said}");
    assert!(!said.to_string().contains(&world.at_b), "it names no patient");
}
