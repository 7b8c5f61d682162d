//! What the tests need of the protocol of browsers' drivers (W3C): commands as JSON over HTTP to a driver on this machine.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::PATIENCE;

/// A browser that the driver has started.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
}

impl Session {
    /// Has the driver at `driver` start a browser.
    pub(crate) async fn start(driver: &str, capabilities: Value) -> Self {
        let mut session = Self {
            // A connection for each command: the driver may close one that waits just as the next command is sent.
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build_http(),
            address: format!("{driver}/session"),
        };
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let started = session.command(Method::POST, "", Some(body)).await;
        let id = started["sessionId"].as_str().expect("a session has an id");
        session.address = format!("{driver}/session/{id}");
        session
    }

    /// Opens a page, and waits until it is there.
    pub(crate) async fn go(&self, url: &str) {
        self.command(Method::POST, "url", Some(json!({ "url": url })))
            .await;
    }

    /// What the driver answers to a command of the session.
    pub(crate) async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let separator = if path.is_empty() { "" } else { "/" };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{separator}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.map(|body| body.to_string()).unwrap_or_default()))
            .unwrap();
        let answered = async {
            let answer = self.client.request(request).await.unwrap();
            let status = answer.status();
            (status, answer.into_body().collect().await.unwrap().to_bytes())
        };
        let (status, bytes) = timeout(PATIENCE, answered)
            .await
            .expect("the driver answers in time");
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(status.is_success(), "{path}: {}", answer["value"]["message"]);
        answer["value"].take()
    }
}
