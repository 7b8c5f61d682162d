//! The official schema of OpenAPI 3.1 allows the document, and so does the dialect that its schemas are written in.

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use super::tests::{both, document, secured};
use crate::Settings;

/// What documents are held against; it needs the others.
const BASE: &str = "https://spec.openapis.org/oas/3.1/schema-base/2022-10-07";
const RESOURCES: [&str; 4] = [
    include_str!("official/schema-base.json"),
    include_str!("official/schema.json"),
    include_str!("official/dialect.json"),
    include_str!("official/meta.json"),
];

/// What the official schema has against a document.
fn refused(document: &Value) -> Option<String> {
    let mut compiler = Compiler::new();
    for resource in RESOURCES {
        let resource: Value = serde_json::from_str(resource).unwrap();
        let id = resource["$id"].as_str().unwrap().to_owned();
        compiler.add_resource(&id, resource).unwrap();
    }
    let mut schemas = Schemas::new();
    let base = compiler.compile(BASE, &mut schemas).unwrap();
    let validated = schemas.validate(document, base);
    validated.err().map(|error| format!("{error:#}"))
}

#[tokio::test]
async fn the_official_schema_allows_the_document() {
    let (gateway, _shop, _desk) = both(Settings::exporting(["shop", "desk"]).unwrap()).await;
    let open = document(&gateway).await;
    assert_eq!(refused(&open), None);
    assert_eq!(refused(&secured().await), None);
}

#[tokio::test]
async fn what_it_does_not_allow_would_be_noticed() {
    let document = secured().await;
    for (pointer, bad) in [
        ("/info/title", json!(7)),
        ("/openapi", json!("3.0.3")),
        ("/paths", json!({ "no/slash": {} })),
        ("/paths/~1shop~1shop~1look/get/parameters/0/in", json!("nowhere")),
        (
            "/paths/~1shop~1shop~1look/get/responses/200",
            json!({ "content": {} }),
        ),
        (
            "/paths/~1shop~1shop~1look/get/parameters/0/schema/type",
            json!("text"),
        ),
        ("/components/schemas/shop.OrderReply/properties", json!([])),
        ("/components/securitySchemes/bearer/type", json!("token")),
    ] {
        let mut changed = document.clone();
        let there = changed.pointer_mut(pointer);
        *there.unwrap_or_else(|| panic!("{pointer} leads nowhere")) = bad;
        assert!(refused(&changed).is_some(), "{pointer}");
    }
}
