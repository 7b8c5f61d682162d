//! A gateway in front of a server of the test protos.

use std::{future::Future, sync::Arc};

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use micro::{
    Client,
    registry::{Registry, Static},
};
use micro_dynamic::fake::{Fake, Reflection};
use serde_json::Value;
use tokio::{
    task::yield_now,
    time::{Duration, timeout},
};
use tonic::body::Body;
use tower::ServiceExt;

use crate::{Gateway, Settings};

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// A gateway, and the server behind it.
pub(crate) struct Shop {
    pub(crate) fake: Fake,
    pub(crate) gateway: Gateway,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn is(&self, status: u16, text: &str) {
        assert_eq!(
            (self.status.as_u16(), self.text.as_str()),
            (status, text),
            "{:?}",
            self.headers
        );
    }
}

impl Shop {
    /// One server, of which `exports` are exported.
    pub(crate) async fn exporting(exports: &[&str]) -> Self {
        Self::with(Settings::exporting(exports).unwrap()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let fake = Fake::start(Reflection::V1).await.unwrap();
        let registry: Static = format!("shop={}", fake.address()).parse().unwrap();
        let gateway = gateway(Arc::new(registry), settings);
        Self { fake, gateway }
    }

    /// One server whose methods have paths of their own, all exported.
    pub(crate) async fn desk() -> Self {
        let fake = Fake::start_desk().await.unwrap();
        let registry: Static = format!("desk={}", fake.address()).parse().unwrap();
        let gateway = gateway(Arc::new(registry), Settings::exporting(["desk"]).unwrap());
        Self { fake, gateway }
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        send(&self.gateway, Request::post(path), json).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(&self.gateway, Request::get(path), "").await
    }
}

/// Three servers of the shop, and the registry that has them.
pub(crate) async fn three_shops() -> (Vec<Fake>, Arc<Static>) {
    let mut fakes = Vec::new();
    for _ in 0..3 {
        fakes.push(Fake::start(Reflection::V1).await.unwrap());
    }
    let records: Vec<_> = fakes
        .iter()
        .map(|fake| format!("shop={}", fake.address()))
        .collect();
    (fakes, Arc::new(records.join(",").parse().unwrap()))
}

pub(crate) fn gateway(registry: Arc<dyn Registry>, settings: Settings) -> Gateway {
    Gateway::new(&Client::builder(registry).build().unwrap(), settings)
}

/// Sends a request to this machine, and takes the answer in whole.
pub(crate) async fn send(gateway: &Gateway, request: http::request::Builder, body: &str) -> Answer {
    let response = begin(gateway, request, body).await;
    let (parts, body) = response.into_parts();
    let body = timeout(LONG, body.collect())
        .await
        .expect("the answer should end")
        .unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(body.to_bytes().to_vec()).unwrap(),
    }
}

/// Sends a request, and waits until its answer begins.
pub(crate) async fn begin(gateway: &Gateway, request: http::request::Builder, body: &str) -> Response<Body> {
    let body = Body::new(Full::from(body.to_owned()));
    let request = request.header(header::HOST, "localhost").body(body).unwrap();
    let answered = timeout(LONG, gateway.clone().oneshot(request)).await;
    answered.expect("there should be an answer").unwrap()
}

/// Tries until `holds` does.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let tried = timeout(LONG, async {
        while !holds().await {
            yield_now().await;
        }
    });
    assert!(tried.await.is_ok(), "{what}");
}
