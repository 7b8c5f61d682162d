//! The dashboard, as those who ask for its addresses get it.

use http::{Request, header, request::Builder};
use http_body_util::BodyExt;
use micro_dynamic::fake::{Fake, Reflection, pool};
use serde_json::Value;
use tonic::{body::Body, transport::server::TcpConnectInfo};

use super::support::{Shop, begin, gateway, send};
use crate::{Gateway, Settings};

const ADA: &str = r#"{"name":"Ada"}"#;

async fn shop() -> Shop {
    Shop::with(Settings::exporting(["shop"]).unwrap().dashboard(true)).await
}

/// A request of somebody at this address, to a gateway at localhost.
fn from(remote: &str, request: Builder) -> Builder {
    request.extension(TcpConnectInfo {
        local_addr: "127.0.0.1:8080".parse().ok(),
        remote_addr: remote.parse().ok(),
    })
}

fn near(request: Builder) -> Builder {
    from("127.0.0.1:5000", request)
}

/// Reads events until one of them fits.
async fn event(gateway: &Gateway, fits: impl Fn(&Value) -> bool) -> Value {
    let response = begin(gateway, near(Request::get("/dashboard.events")), "").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    until(response.into_body(), fits).await
}

async fn until(mut body: Body, fits: impl Fn(&Value) -> bool) -> Value {
    let reading = async {
        loop {
            let frame = body.frame().await.unwrap().unwrap();
            let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
            let data = text.lines().find_map(|line| line.strip_prefix("data: "));
            let sight: Value = serde_json::from_str(data.unwrap()).unwrap();
            if fits(&sight) {
                return sight;
            }
        }
    };
    let read = tokio::time::timeout(super::support::LONG, reading).await;
    read.expect("an event should fit")
}

#[tokio::test]
async fn there_is_none_unless_it_is_asked_for() {
    let shop = Shop::exporting(&["shop"]).await;
    for path in ["/dashboard", "/dashboard.js", "/dashboard.events"] {
        let answer = send(&shop.gateway, near(Request::get(path)), "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let call = near(Request::post("/shop/shop/order").header("x-micro-dashboard", "1"));
    let answer = send(&shop.gateway, call, ADA).await;
    assert!(!answer.headers.contains_key("x-micro-node"));
}

#[tokio::test]
async fn it_is_shown_on_the_machine_of_the_gateway_alone() {
    let shop = shop().await;
    for path in ["/dashboard", "/dashboard.events", "/dashboard.methods?shop"] {
        let near = begin(&shop.gateway, near(Request::get(path)), "").await;
        assert_eq!(near.status(), 200, "{path}");
        let far = from("10.0.0.9:5000", Request::get(path));
        assert_eq!(send(&shop.gateway, far, "").await.status, 403, "{path}");
        // Nobody knows where it comes from.
        assert_eq!(
            send(&shop.gateway, Request::get(path), "").await.status,
            403,
            "{path}"
        );
    }
    let other = near(Request::get("/dashboard.events").header(header::ORIGIN, "http://evil.example"));
    assert_eq!(send(&shop.gateway, other, "").await.status, 403);
    let write = near(Request::post("/dashboard"));
    assert_eq!(send(&shop.gateway, write, "").await.status, 405);
    let nothing = near(Request::get("/dashboard.nothing"));
    assert_eq!(send(&shop.gateway, nothing, "").await.status, 404);
}

#[tokio::test]
async fn its_page_may_load_nothing_and_run_nothing_but_its_own() {
    let shop = shop().await;
    let page = send(&shop.gateway, near(Request::get("/dashboard")), "").await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    for name in page.text.split('"').filter(|part| part.starts_with("dashboard.")) {
        let file = send(&shop.gateway, near(Request::get(format!("/{name}"))), "").await;
        assert_eq!(file.status, 200, "{name}");
    }
}

#[tokio::test]
async fn it_shows_services_and_nodes_as_the_client_sees_them() {
    let shop = shop().await;
    let ready = |sight: &Value| sight["services"][0]["nodes"][0]["state"] == "ready";
    let sight = event(&shop.gateway, ready).await;
    let service = &sight["services"][0];
    assert_eq!(
        (&sight["registry"], &service["name"]),
        (&"static".into(), &"shop".into())
    );
    assert!(
        service["exported"] == true && service["ageMs"].is_u64(),
        "{service}"
    );
    assert_eq!(
        service["nodes"][0]["address"].as_str().unwrap(),
        shop.fake.address().to_string()
    );
}

#[tokio::test]
async fn a_service_that_is_not_exported_is_listed_and_not_called() {
    let (shop, other) = (
        Fake::start(Reflection::V1).await.unwrap(),
        Fake::start(Reflection::V1).await.unwrap(),
    );
    let registry: micro::registry::Static = format!("shop={},other={}", shop.address(), other.address())
        .parse()
        .unwrap();
    let settings = Settings::exporting(["shop"]).unwrap().dashboard(true);
    let gateway = gateway(std::sync::Arc::new(registry), settings);
    let sight = event(&gateway, |sight| {
        sight["services"][0]["nodes"][0]["state"] == "listed"
    })
    .await;
    let names: Vec<_> = sight["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| &service["name"])
        .collect();
    assert_eq!(names, ["other", "shop"]);
    assert_eq!(sight["services"][0]["exported"], false);
    let methods = near(Request::get("/dashboard.methods?other"));
    assert_eq!(send(&gateway, methods, "").await.status, 404);
}

#[tokio::test]
async fn pages_share_one_look_and_there_may_be_so_many() {
    let shop = shop().await;
    let mut pages = Vec::new();
    for _ in 0..32 {
        let page = begin(&shop.gateway, near(Request::get("/dashboard.events")), "").await;
        assert_eq!(page.status(), 200);
        pages.push(page);
    }
    let full = send(&shop.gateway, near(Request::get("/dashboard.events")), "").await;
    assert_eq!(full.status, 503);
    let last = pages.pop().unwrap().into_body();
    drop(pages);
    until(last, |sight| sight["services"][0]["name"] == "shop").await;
    // With the last page all of it ended, and begins again.
    event(&shop.gateway, |sight| sight["services"][0]["name"] == "shop").await;
}

#[tokio::test]
async fn its_forms_tell_every_kind_of_field() {
    let shop = shop().await;
    let answer = send(&shop.gateway, near(Request::get("/dashboard.methods?shop")), "").await;
    let forms = answer.json();
    let methods = forms["methods"].as_array().unwrap();
    let order = methods
        .iter()
        .find(|method| method["path"] == "/shop/shop.Shop/Order")
        .unwrap();
    let called = send(
        &shop.gateway,
        near(Request::post(order["path"].as_str().unwrap())),
        ADA,
    )
    .await;
    assert_eq!(called.status, 200, "{}", called.text);
    for method in methods {
        let input = method["input"].as_str().unwrap();
        let described = forms["messages"][input].as_array().unwrap();
        let fields = pool().get_message_by_name(input).unwrap();
        assert_eq!(described.len(), fields.fields().len(), "{input}");
        let example: Value = serde_json::from_str(method["example"].as_str().unwrap()).unwrap();
        assert!(example.is_object());
    }
    assert!(order["description"].as_str().unwrap().starts_with("Orders once."));
    let fields = &forms["messages"]["shop.OrderRequest"];
    assert_eq!(
        (&fields[0]["description"], &fields[1]["description"]),
        (&"Who orders.".into(), &Value::Null)
    );
}

#[tokio::test]
async fn its_own_calls_are_told_the_node_and_no_others() {
    let shop = shop().await;
    let call = || Request::post("/shop/shop/order").header("x-micro-dashboard", "1");
    let told = |answer: super::support::Answer| answer.headers.contains_key("x-micro-node");
    assert!(told(send(&shop.gateway, near(call()), ADA).await));
    let refused = send(&shop.gateway, near(call()), r#"{"name":"nobody"}"#).await;
    assert_eq!(refused.status, 404);
    let stream = near(Request::post("/shop/shop/track").header("x-micro-dashboard", "1"));
    assert!(told(send(&shop.gateway, stream, ADA).await));

    assert!(!told(
        send(&shop.gateway, near(Request::post("/shop/shop/order")), ADA).await
    ));
    assert!(!told(
        send(&shop.gateway, from("10.0.0.9:5000", call()), ADA).await
    ));
    let other = near(call().header(header::ORIGIN, "http://evil.example"));
    assert!(!told(send(&shop.gateway, other, ADA).await));
}
