//! Paths of their own, which methods have by annotations.

use std::sync::Arc;

use http::{Request, header};
use micro_dynamic::fake::Fake;
use serde_json::{Value, json};

use super::support::{Shop, gateway, send};
use crate::Settings;

/// The method that was called, and what it was asked.
async fn asked(shop: &Shop, method: &str, path: &str, body: &str) -> (String, Value) {
    let answer = send(&shop.gateway, Request::builder().method(method).uri(path), body).await;
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
    let reply = answer.json();
    let request = serde_json::from_str(reply["request"].as_str().unwrap()).unwrap();
    (reply["method"].as_str().unwrap().to_owned(), request)
}

#[tokio::test]
async fn a_method_is_called_by_each_of_its_paths() {
    let desk = Shop::desk().await;
    for (method, path, body, called, request) in [
        (
            "GET",
            "/v1/shelves/3/books/7",
            "",
            "GetBook",
            json!({ "name": "shelves/3/books/7" }),
        ),
        (
            "GET",
            "/v1/books/7?page=2&book.pages=3",
            "",
            "GetBook",
            json!({ "id": "7", "page": "2", "book": { "pages": "3" } }),
        ),
        (
            "POST",
            "/v1/shelves/3/books?page=2",
            r#"{"title":"Dune"}"#,
            "CreateBook",
            json!({ "name": "shelves/3", "page": "2", "book": { "title": "Dune" } }),
        ),
        (
            "PATCH",
            "/v1/titles/Dune",
            r#"{"id":"7","book":{"title":"x","pages":"3"}}"#,
            "UpdateBook",
            json!({ "id": "7", "book": { "title": "titles/Dune", "pages": "3" } }),
        ),
        (
            "PUT",
            "/v1/books/7",
            r#"{"id":"8","name":"n"}"#,
            "PutBook",
            json!({ "id": "7", "name": "n" }),
        ),
        (
            "DELETE",
            "/v1/books/a%20b",
            "",
            "DeleteBook",
            json!({ "id": "a b" }),
        ),
        (
            "POST",
            "/v1/books/7:archive",
            "{}",
            "ArchiveBook",
            json!({ "id": "7" }),
        ),
        (
            "PURGE",
            "/v1/books?tag=a&tag=b",
            "",
            "PurgeBooks",
            json!({ "tag": ["a", "b"] }),
        ),
        (
            "POST",
            "/desk/desk/count",
            r#"{"id":"7"}"#,
            "Count",
            json!({ "id": "7" }),
        ),
        (
            "POST",
            "/desk/get-book",
            r#"{"id":"7"}"#,
            "GetBook",
            json!({ "id": "7" }),
        ),
    ] {
        assert_eq!(
            asked(&desk, method, path, body).await,
            (called.to_owned(), request),
            "{method} {path}"
        );
    }
    send(&desk.gateway, Request::head("/v1/books/7"), "")
        .await
        .is(200, "");
    assert_eq!(desk.fake.reflections(), 1);
}

#[tokio::test]
async fn one_field_is_the_answer_where_the_annotation_says_so() {
    let desk = Shop::desk().await;
    desk.get("/v1/files/a/b.txt?book.title=Dune")
        .await
        .is(200, r#"{"title":"Dune"}"#);
    desk.get("/v1/files/a/b.txt").await.is(200, "null");
    desk.get("/v1/books:watch")
        .await
        .is(200, "{\"result\":\"WatchBooks\"}\n");
}

#[tokio::test]
async fn another_http_method_is_405_and_options_says_which_there_are() {
    let desk = Shop::desk().await;
    for (method, status) in [("POST", 405), ("TRACE", 405), ("OPTIONS", 204)] {
        let request = Request::builder().method(method).uri("/v1/books/7");
        let answer = send(&desk.gateway, request, "").await;
        assert_eq!(answer.status, status, "{method}");
        assert_eq!(answer.headers[header::ALLOW], "DELETE, GET, HEAD, OPTIONS, PUT");
    }
    assert_eq!(desk.fake.calls(), 0);
}

#[tokio::test]
async fn hostile_paths_lead_to_no_method() {
    let desk = Shop::desk().await;
    for path in [
        "/v1/books/7/",
        "/v1//books/7",
        "/v1/books/..",
        "/v1/books/%2e%2e",
        "/v1/books/a%2fb",
        "/v1/books/a%5cb",
        "/v1/./books/7",
        "/v1/books/%252e",
        "/v1/books/7;a=b",
        "/v1/books/7%00",
        "/v1/files/../books/7",
        "/v1/files/a/%2e%2e/b",
        "/v1/files/a//b",
        "/v1/files/",
        "/v1/shelves/3/books/7/x",
        "/V1/books/7",
        "/v1/books/7%0d%0aHost:%20x",
        "/v1/books/%ff",
        "/v1/books/%ef%bc%8f",
    ] {
        let answer = desk.get(path).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{path}: {answer:?}");
    }
    assert_eq!(desk.fake.calls(), 0);
}

#[tokio::test]
async fn only_exported_methods_have_their_paths() {
    let fake = Fake::start_desk().await.unwrap();
    let registry: micro::registry::Static = format!("desk={}", fake.address()).parse().unwrap();
    let gateway = gateway(
        Arc::new(registry),
        Settings::exporting(["desk/Desk/GetBook"]).unwrap(),
    );
    let status = async |method: &str| {
        let request = Request::builder().method(method).uri("/v1/books/7");
        send(&gateway, request, "{}").await.status.as_u16()
    };
    assert_eq!(
        (status("GET").await, status("PUT").await, status("DELETE").await),
        (200, 405, 405)
    );
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn of_services_with_the_same_path_the_first_by_name_has_it() {
    let (first, second) = (
        Fake::start_desk().await.unwrap(),
        Fake::start_desk().await.unwrap(),
    );
    let registry: micro::registry::Static = format!("b={},a={}", second.address(), first.address())
        .parse()
        .unwrap();
    let gateway = gateway(Arc::new(registry), Settings::exporting(["b", "a"]).unwrap());
    for _ in 0..10 {
        assert_eq!(send(&gateway, Request::get("/v1/books/7"), "").await.status, 200);
    }
    assert_eq!((first.calls(), second.calls()), (10, 0));
}

#[tokio::test]
async fn a_service_that_is_not_there_harms_no_path_of_another() {
    let fake = Fake::start_desk().await.unwrap();
    let registry: micro::registry::Static = format!("desk={},shop=127.0.0.1:1", fake.address())
        .parse()
        .unwrap();
    let gateway = gateway(Arc::new(registry), Settings::exporting(["desk", "shop"]).unwrap());
    assert_eq!(send(&gateway, Request::get("/v1/books/7"), "").await.status, 200);
    // Nobody knows whether the service that is away has it.
    assert_eq!(send(&gateway, Request::get("/v2/books/7"), "").await.status, 503);
}
