//! Paths that try to reach what is not exported: none of them reaches anything.

use std::{collections::BTreeSet, sync::Arc};

use http::{Request, Uri};
use micro::registry::Static;
use micro_dynamic::fake::{Fake, Reflection};
use serde_json::Value;

use super::{
    foreign::Noted,
    support::{Shop, gateway, send},
};
use crate::{Gateway, Settings, path::Path};

/// What somebody would like to reach: another service, another type, another method, and gRPC's own services.
const TARGETS: [&str; 9] = [
    "/shop/Archive/Order",
    "/shop/Shop/Track",
    "/shop/grpc.health.v1.Health/Check",
    "/shop/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/shop/Health/Check",
    "/gateway/grpc.health.v1.Health/Check",
    "/consul/v1/agent",
    "/169.254.169.254/latest/meta-data",
    "/localhost/admin/reset",
];

/// What stands between parts, or instead of what does, in the hope that somebody reads it as `/` or as nothing.
const JOINTS: [&str; 21] = [
    "/",
    "//",
    "/./",
    "/../",
    "/x/../",
    "/%2e/",
    "/%2e%2e/",
    "/.%2e/",
    "/%252e%252e/",
    "%2f",
    "%252f",
    "%5c",
    ";/",
    "/;a=b/",
    "/%00/",
    "%00/",
    "/%20/",
    "/..;/",
    "/%c0%ae%c0%ae/",
    "%ef%bc%8f",
    "/%u002e%u002e/",
];

/// What stands before a target: the way up from a method that may be reached.
const BEGINNINGS: [&str; 8] = [
    "",
    "/shop/shop/order/..",
    "/shop/shop/order/../..",
    "/shop/shop/order/%2e%2e",
    "/shop/shop/order/..%2f..",
    "/shop/shop/order/%252e%252e/%252e%252e",
    "/shop/shop/order;",
    "/shop/shop/order%00",
];

/// What stands after it.
const ENDS: [&str; 8] = ["", "/", "%2f", "%00", "%0d%0aHost:%20x", ";", "/.", "%20"];

/// Other ways to write the same letters.
fn disguises(target: &str) -> Vec<String> {
    let first_encoded = |letters: &str, times: usize| {
        let encoded = format!("{}{:02x}", "%25".repeat(times), letters.as_bytes()[1]);
        let encoded = if times == 0 {
            format!("%{encoded}")
        } else {
            encoded
        };
        format!("/{encoded}{}", &letters[2..])
    };
    vec![
        target.to_owned(),
        target.to_ascii_uppercase(),
        target.to_ascii_lowercase(),
        first_encoded(target, 0),
        first_encoded(target, 1),
        first_encoded(target, 2),
    ]
}

/// All of them together, each once.
fn corpus() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for target in TARGETS {
        for disguise in disguises(target) {
            paths.extend(
                BEGINNINGS
                    .iter()
                    .map(|beginning| format!("{beginning}{disguise}")),
            );
            paths.extend(ENDS.iter().map(|end| format!("{disguise}{end}")));
        }
        let parts: Vec<&str> = target.trim_start_matches('/').split('/').collect();
        paths.extend(JOINTS.iter().map(|joint| format!("/{}", parts.join(joint))));
    }
    paths.extend(
        [
            "*",
            "/",
            "",
            "//",
            "/.",
            "/..",
            "/%",
            "/%2",
            "/shop",
            "/shop/",
            "/health/",
            "/ready/x",
            "/metrics/x/y/z",
            "http://localhost/shop/Archive/Order",
            "http://localhost@shop/shop/order",
            "/http://169.254.169.254/a/b",
            "/user:password@shop/shop/order",
            "/shop:9090/shop/order",
            "/[::1]/shop/order",
            "/shop#/shop/order",
        ]
        .map(str::to_owned),
    );
    paths
}

#[tokio::test]
async fn no_hostile_path_reaches_anything() {
    let (fake, noted) = (Fake::start(Reflection::V1).await.unwrap(), Noted::default());
    let registry: Static = format!("shop={}", fake.address()).parse().unwrap();
    let settings = Settings::exporting(["shop/Shop/Order", "shop/Shop/Look"]).unwrap();
    let gateway = noted.gateway(Arc::new(registry), settings);
    let shop = Shop { fake, gateway };
    assert_eq!(shop.post("/shop/shop/order", "").await.status, 200);
    all_are_refused(&shop.gateway).await;
    assert_eq!((shop.fake.calls(), shop.fake.reflections()), (1, 1));
    assert_eq!(noted.addresses(), [shop.fake.address().to_string()]);
}

async fn all_are_refused(gateway: &Gateway) {
    let paths = corpus();
    assert!(paths.len() >= 500, "{} paths", paths.len());
    let mut sent = 0;
    for path in &paths {
        // What the library of requests cannot even write, hyper refuses to read; the path by itself is refused, too.
        let Ok(uri) = path.parse::<Uri>() else {
            assert!(Path::parse(path).is_err(), "{path}");
            continue;
        };
        for method in ["POST", "GET", "OPTIONS"] {
            let request = Request::builder().method(method).uri(uri.clone());
            let answer = send(gateway, request, "").await;
            assert!(answer.status.is_client_error(), "{method} {path}: {answer:?}");
            sent += 1;
        }
    }
    assert!(sent >= 1500, "{sent} requests");
}

#[tokio::test]
async fn no_hostile_path_reaches_anything_beside_paths_of_their_own() {
    let (shop, desk) = (
        Fake::start(Reflection::V1).await.unwrap(),
        Fake::start_desk().await.unwrap(),
    );
    let registry: Static = format!("shop={},desk={}", shop.address(), desk.address())
        .parse()
        .unwrap();
    let settings = Settings::exporting(["shop/Shop/Order", "desk/Desk/ReadFile"]).unwrap();
    let gateway = gateway(Arc::new(registry), settings);
    all_are_refused(&gateway).await;
    assert_eq!((shop.calls(), desk.calls()), (0, 0));
    // A template that takes any number of segments takes those that are plain, as they are, and no others.
    let mut taken = 0;
    for path in corpus() {
        let Ok(uri) = format!("/v1/raw{path}").parse::<Uri>() else {
            continue;
        };
        let answer = send(&gateway, Request::get(uri.clone()), "").await;
        if answer.status.is_client_error() {
            continue;
        }
        taken += 1;
        answer.is(200, &answer.text);
        let reply = answer.json();
        assert_eq!(reply["method"], "ReadFile", "{uri}");
        let request: Value = serde_json::from_str(reply["request"].as_str().unwrap()).unwrap();
        let name = request["name"].as_str().unwrap_or_default();
        assert_eq!(name, plain(&uri), "{uri}");
    }
    assert!((20..200).contains(&taken), "{taken} are taken");
    assert_eq!((shop.calls(), desk.calls()), (0, taken));
}

/// What stands for `**` in a path that may be taken: decoded once, and with nothing that anybody could read in another way.
fn plain(uri: &Uri) -> String {
    let rest = uri.path().strip_prefix("/v1/raw").unwrap();
    let rest = rest.strip_prefix('/').unwrap_or_default();
    let segments = rest.split('/').map(|segment| {
        let mut parts = segment.split('%');
        let mut decoded = parts.next().unwrap().to_owned();
        for part in parts {
            let (digits, rest) = part.split_at(2);
            decoded.push(u8::from_str_radix(digits, 16).unwrap().into());
            decoded.push_str(rest);
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:@ ".contains(letter);
        let leads_elsewhere = matches!(decoded.trim(), "." | "..");
        assert!(decoded.chars().all(is_plain) && !leads_elsewhere, "{uri}");
        assert!(!decoded.is_empty() || rest.is_empty(), "{uri}");
        decoded
    });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn headers_that_name_another_method_are_of_no_effect() {
    let shop = Shop::exporting(&["shop/Shop/Order"]).await;
    for (name, value) in [
        ("micro-endpoint", "Archive.Order"),
        ("micro-service", "archive"),
        ("micro-method", "Archive.Order"),
        ("x-http-method-override", "GET"),
        ("x-original-url", "/shop/archive/order"),
        ("x-rewrite-url", "/shop/archive/order"),
        ("x-forwarded-host", "archive"),
        ("content-type", "application/json"),
    ] {
        let request = Request::post("/shop/shop/order").header(name, value);
        let answer = send(&shop.gateway, request, r#"{"name":"Ada"}"#).await;
        answer.is(200, r#"{"message":"Hello Ada","count":1}"#);
    }
}
