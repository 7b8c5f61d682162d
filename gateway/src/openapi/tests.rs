//! The document holds, and everything in it can be called as it says.

use std::{collections::BTreeSet, sync::Arc};

use http::{Request, header};
use micro_dynamic::fake::{Fake, Reflection};
use serde_json::{Map, Value, json};

use crate::{
    Gateway, Settings,
    tests::support::{Shop, gateway, send},
};

/// The shop and the desk behind one gateway.
pub(super) async fn both(settings: Settings) -> (Gateway, Fake, Fake) {
    let (shop, desk) = (
        Fake::start(Reflection::V1).await.unwrap(),
        Fake::start_desk().await.unwrap(),
    );
    let registry: micro::registry::Static = format!("shop={},desk={}", shop.address(), desk.address())
        .parse()
        .unwrap();
    (gateway(Arc::new(registry), settings), shop, desk)
}

pub(super) async fn document(gateway: &Gateway) -> Value {
    let answer = send(gateway, Request::get("/openapi.json"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn at<'a>(document: &'a Value, reference: &str) -> &'a Value {
    let pointer = reference.strip_prefix('#').expect("references are local");
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Follows a reference, where it is one.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"]
        .as_str()
        .map_or(value, |reference| at(document, reference))
}

fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (path, method, operation))
        })
        .collect()
}

/// A value that fits a schema, with every field once; nothing for what holds itself.
fn example(document: &Value, schema: &Value, depth: usize) -> Option<Value> {
    if depth == 0 {
        return None;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return example(document, at(document, reference), depth - 1);
    }
    if let Some(first) = schema["enum"].as_array() {
        return first.last().cloned();
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return example(document, &any[0], depth);
    }
    Some(match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("object"), _) => {
            let excluded = schema["not"]["anyOf"].as_array().into_iter().flatten();
            let excluded: BTreeSet<&str> = excluded.filter_map(|pair| pair["required"][1].as_str()).collect();
            let properties = schema["properties"].as_object().into_iter().flatten();
            let fields = properties.filter(|(name, _)| !excluded.contains(name.as_str()));
            Value::Object(
                fields
                    .filter_map(|(name, schema)| Some((name.clone(), example(document, schema, depth - 1)?)))
                    .collect::<Map<_, _>>(),
            )
        }
        (Some("array"), _) => Value::Array(
            example(document, &schema["items"], depth - 1)
                .into_iter()
                .collect(),
        ),
        (Some("string"), Some("date-time")) => json!("2030-01-01T12:00:00Z"),
        (Some("string"), Some("int64" | "uint64")) => json!("7"),
        (Some("string"), _) if schema["contentEncoding"] == "base64" => json!("AQ=="),
        (Some("string"), _) => json!("text"),
        (Some("integer" | "number"), _) => json!(7),
        (Some("boolean"), _) => json!(true),
        other => panic!("no example of {other:?}"),
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value is as its schema says; every name is one of the schema.
fn check(document: &Value, schema: &Value, value: &Value) {
    let schema = resolved(document, schema);
    match schema["type"].as_str() {
        Some("object") => {
            for (name, value) in value
                .as_object()
                .unwrap_or_else(|| panic!("{value} is no object"))
            {
                if let Some(schema) = schema["properties"].get(name) {
                    check(document, schema, value);
                } else {
                    assert_ne!(schema["additionalProperties"], false, "{name} is not in {schema}");
                }
            }
        }
        Some("string") => assert!(value.is_string(), "{value}: {schema}"),
        Some("integer") => assert!(value.is_i64(), "{value}: {schema}"),
        Some("array") => assert!(value.is_array(), "{value}: {schema}"),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_can_be_called_as_the_document_says() {
    let (gateway, shop, desk) = both(Settings::exporting(["shop", "desk"]).unwrap()).await;
    let document = document(&gateway).await;
    let mut called = 0;
    for (path, method, operation) in operations(&document) {
        let (mut path, mut query) = (path.clone(), Vec::new());
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = resolved(&document, parameter);
            let name = parameter["name"].as_str().unwrap();
            let value = example(&document, &parameter["schema"], 8).unwrap();
            match parameter["in"].as_str().unwrap() {
                "path" => path = path.replace(&format!("{{{name}}}"), &text(&value)),
                // Of fields that exclude each other one is enough.
                "query" if name.contains("locker") => {}
                "query" => query.extend(
                    value
                        .as_array()
                        .map_or_else(|| vec![text(&value)], |list| list.iter().map(text).collect())
                        .iter()
                        .map(|value| format!("{name}={value}")),
                ),
                _ => {}
            }
        }
        assert!(
            !path.contains('{'),
            "{path} has a parameter that is not described"
        );
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body = if body.is_null() {
            String::new()
        } else {
            example(&document, body, 5).unwrap().to_string()
        };
        let uri = if query.is_empty() {
            path.clone()
        } else {
            format!("{path}?{}", query.join("&"))
        };
        let request = Request::builder()
            .method(method.to_ascii_uppercase().as_str())
            .uri(uri);
        let answer = send(&gateway, request, &body).await;
        // Described, but not served.
        if path.contains("archive/") {
            assert_eq!(answer.status, 501, "{method} {path}: {}", answer.text);
            let error = at(&document, "#/components/responses/Error");
            check(
                &document,
                &error["content"]["application/json"]["schema"],
                &answer.json(),
            );
        } else {
            assert_eq!(
                answer.status, 200,
                "{method} {path} {query:?} {body}: {}",
                answer.text
            );
            let kind = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
            let schema = &operation["responses"]["200"]["content"][kind]["schema"];
            assert!(!schema.is_null(), "{kind} is not described: {operation}");
            for line in answer.text.lines() {
                check(&document, schema, &serde_json::from_str(line).unwrap());
            }
        }
        called += 1;
    }
    assert!(called >= 20, "{called} operations");
    assert!(
        shop.calls() > 3 && desk.calls() > 12,
        "{} and {}",
        shop.calls(),
        desk.calls()
    );
}

#[tokio::test]
async fn the_document_is_sound() {
    let (gateway, _shop, _desk) = both(Settings::exporting(["shop", "desk"]).unwrap()).await;
    let document = document(&gateway).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let mut shapes = BTreeSet::new();
    for path in document["paths"].as_object().unwrap().keys() {
        let after_braces = |part: &str| {
            part.split_once('}')
                .map_or_else(|| part.to_owned(), |(_, after)| format!("{{}}{after}"))
        };
        let shape: Vec<_> = path.split('/').map(after_braces).collect();
        assert!(
            shapes.insert(shape.join("/")),
            "{path} is there under other names"
        );
    }
    for (path, method, operation) in operations(&document) {
        assert!(
            ["get", "put", "post", "delete", "patch"].contains(&method.as_str()),
            "{method}"
        );
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{operation}"
        );
        let parameters = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| resolved(&document, parameter));
        let mut names = BTreeSet::new();
        for parameter in parameters {
            let (name, place) = (
                parameter["name"].as_str().unwrap(),
                parameter["in"].as_str().unwrap(),
            );
            assert!(names.insert((place, name)), "{name} comes twice in {path}");
            assert!(
                place != "path" || path.contains(&format!("{{{name}}}")) && parameter["required"] == true
            );
            assert!(parameter["schema"].is_object());
        }
        assert!(operation["responses"]["200"]["description"].is_string());
    }
    references(&document, &document);
    let order = &document["components"]["schemas"]["shop.OrderRequest"];
    assert_eq!(order["properties"]["streetName"], json!({ "type": "string" }));
    assert_eq!(
        order["not"],
        json!({ "anyOf": [{ "required": ["streetName", "locker"] }] })
    );
    assert_eq!(
        order["properties"]["byShop"]["additionalProperties"],
        json!({ "$ref": "#/components/schemas/money.Money" })
    );
    assert_eq!(order["properties"]["at"]["format"], "date-time");
    assert_eq!(
        document["components"]["schemas"]["money.Money"]["properties"]["units"]["type"],
        "string"
    );
    assert!(!document.to_string().contains("grpc.health") && !document.to_string().contains("Total"));
    let paths = document["paths"].as_object().unwrap();
    assert!(
        paths.contains_key("/shop/shop/order") && paths.contains_key("/v1/shelves/{name_2}/books/{name_4}"),
        "{:?}",
        paths.keys()
    );
}

#[tokio::test]
async fn it_says_what_the_proto_files_say() {
    let (gateway, _shop, _desk) = both(Settings::exporting(["shop", "desk"]).unwrap()).await;
    let document = document(&gateway).await;
    let order = "Orders once.\n\nWhat was ordered twice comes twice:\n  both are paid.";
    for (pointer, expected) in [
        ("/paths/~1shop~1shop~1order/post", order),
        ("/paths/~1v1~1books~1{id}/get", "Finds a book."),
        (
            "/paths/~1v1~1books~1{id}/get/parameters/0",
            "What it is known by.",
        ),
        (
            "/paths/~1v1~1files~1{name}/get/parameters/0",
            "Where it stands.\n\nMay have several segments, with `/` between them.",
        ),
        ("/paths/~1shop~1shop~1look/get/parameters/0", "Who orders."),
        (
            "/components/schemas/shop.OrderRequest",
            "What is ordered, and where it is brought.",
        ),
        (
            "/components/schemas/shop.OrderRequest/properties/locker",
            "The number on its door.",
        ),
        ("/components/schemas/shop.Size", "How large a thing is."),
    ] {
        let described = document
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} leads nowhere"));
        assert_eq!(described["description"], expected, "{described}");
    }
    assert!(!document.to_string().contains("nobody likes"));
    // Where nothing is said, nothing is made up.
    assert_eq!(
        document["paths"]["/shop/shop/look"]["get"]["description"],
        Value::Null
    );
}

fn references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                at(document, reference);
            }
            fields.values().for_each(|value| references(document, value));
        }
        Value::Array(list) => list.iter().for_each(|value| references(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn only_what_is_exported_is_in_it_and_it_can_be_turned_off() {
    let shop = Shop::exporting(&["shop/Shop/Order"]).await;
    let document = document(&shop.gateway).await;
    assert_eq!(
        document["paths"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["/shop/shop/order"]
    );
    let settings: Settings = toml::from_str("export = ['shop']\nopenapi = false").unwrap();
    assert_eq!(Shop::with(settings).await.get("/openapi.json").await.status, 404);
}

/// The document of a shop whose methods need a token, of which one is open.
pub(super) async fn secured() -> Value {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/keys/ec.pub.pem");
    let table = format!(
        "export = ['shop']\n[tokens]\nkeys = '{keys}'\nopen = ['shop/Shop/Look']\nscopes = {{ shop = 'a' }}"
    );
    let settings: Settings = toml::from_str(&table).unwrap();
    let shop = Shop::with(settings.clone()).await;
    assert_eq!(shop.get("/openapi.json").await.status, 401);
    let registry: micro::registry::Static = format!("shop={}", shop.fake.address()).parse().unwrap();
    let client = micro::Client::builder(Arc::new(registry)).build().unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let overview = crate::site::Site::new(settings.exports(), &client)
        .overview(deadline)
        .await;
    super::document::document(&overview, &settings)
}

#[tokio::test]
async fn it_says_which_operations_need_a_token() {
    let document = secured().await;
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    assert_eq!(document["paths"]["/shop/shop/look"]["get"]["security"], json!([]));
    assert_eq!(
        document["paths"]["/shop/shop/order"]["post"]["security"],
        json!([{ "bearer": ["a"] }])
    );
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let shop = Shop::exporting(&["shop"]).await;
    let first = shop.get("/openapi.json").await;
    let tag = first.headers[header::ETAG].clone();
    for known in [
        tag.clone(),
        "*".parse().unwrap(),
        format!("\"x\", W/{}", tag.to_str().unwrap()).parse().unwrap(),
    ] {
        let request = Request::get("/openapi.json").header("if-none-match", known);
        let again = send(&shop.gateway, request, "").await;
        assert_eq!(
            (
                again.status.as_u16(),
                again.text.as_str(),
                &again.headers[header::ETAG]
            ),
            (304, "", &tag)
        );
    }
    let request = Request::get("/openapi.json").header("if-none-match", "\"other\"");
    assert_eq!(send(&shop.gateway, request, "").await.status, 200);
    assert_eq!(shop.post("/openapi.json", "").await.status, 405);
    assert_eq!(shop.fake.reflections(), 1);
}
