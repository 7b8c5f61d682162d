//! A node that refuses all calls beside others that answer: it is left out, and nobody notices.

use futures_util::future::join_all;
use micro::{Client, Policy};

use super::support::{send, three_shops, until};
use crate::{Gateway, Settings};

/// How many requests are made at the same time, and how often.
const AT_ONCE: usize = 4;
const ROUNDS: usize = 250;
/// The most of them that may have been tried at the node that refuses them. Its share was a third; a node that is ejected is tried
/// again after a while, a few times.
const REFUSED_MAX: usize = AT_ONCE * ROUNDS / 10;

/// Makes requests of a method that may be tried again, each of which has to be answered.
async fn ask(gateway: &Gateway, rounds: usize) {
    for _ in 0..rounds {
        let asked = (0..AT_ONCE).map(|_| send(gateway, http::Request::get("/shop/shop/look?name=Ada"), ""));
        for answer in join_all(asked).await {
            answer.is(200, r#"{"message":"Hello Ada","count":1}"#);
        }
    }
}

#[tokio::test]
async fn a_node_that_refuses_all_calls_gets_few_of_them_and_no_request_fails() {
    let (fakes, registry) = three_shops().await;
    // By which it would get its share however it answers.
    let client = Client::builder(registry).policy(Policy::RoundRobin);
    let gateway = Gateway::new(&client.build().unwrap(), Settings::exporting(["shop"]).unwrap());
    until("all nodes get calls", || async {
        ask(&gateway, 10).await;
        fakes.iter().all(|fake| fake.calls() >= 10)
    })
    .await;

    let before = fakes[0].calls();
    fakes[0].refuse(true);
    ask(&gateway, ROUNDS).await;
    let refused = fakes[0].calls() - before;
    assert!((1..=REFUSED_MAX).contains(&refused), "{refused}");
}
