//! The load: an open loop, in which late answers hold up no later call, and time counts from when a call was due.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use futures_util::stream;
use hdrhistogram::Histogram;
use micro::{Channel, Peer};
use micro_dynamic::invoke;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::{signal, task::JoinSet, time};
use tonic::{Request, Status, metadata::MetadataMap};

use crate::failure::code_name;

/// The longest time that is told apart, in microseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000;
/// How many calls may wait for their answers; more say nothing new about a service that is that late.
const WAITING_MAX: usize = 10_000;

/// What is called, and how often.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) method: MethodDescriptor,
    pub(super) message: DynamicMessage,
    pub(super) metadata: MetadataMap,
    /// Calls a second.
    pub(super) rate: NonZeroU32,
    pub(super) duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) took: Duration,
    /// How long the calls took that succeeded, in microseconds.
    pub(super) latencies: Histogram<u64>,
    /// How many calls each node answered.
    pub(super) nodes: BTreeMap<String, u64>,
    /// How many calls failed with each code, and the words of the first.
    pub(super) failures: BTreeMap<&'static str, (u64, String)>,
    /// Calls that were due while too many waited.
    pub(super) left_out: u64,
}

struct Answer {
    took: Duration,
    node: Result<Option<String>, Status>,
}

impl Load {
    fn new() -> Self {
        Self {
            took: Duration::ZERO,
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("the bounds are in order"),
            nodes: BTreeMap::new(),
            failures: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Calls until the time is over and all have answered, or until Ctrl-C.
    pub(super) async fn run(channel: Channel, plan: Plan) -> Self {
        let began = Instant::now();
        let mut load = Self::new();
        let mut calls = JoinSet::new();
        tokio::select! {
            () = load.go(&mut calls, &channel, &plan, began) => {}
            // Whoever cannot listen for it is ended by it.
            Ok(()) = signal::ctrl_c() => {}
        }
        load.took = began.elapsed();
        load
    }

    async fn go(&mut self, calls: &mut JoinSet<Answer>, channel: &Channel, plan: &Plan, began: Instant) {
        let between = Duration::from_secs(1) / plan.rate.get();
        let count = plan.duration.as_nanos() / between.as_nanos().max(1);
        for number in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let due = began + between * number;
            self.take_answers_until(calls, due).await;
            if calls.len() < WAITING_MAX {
                calls.spawn(call(channel.clone(), plan.clone(), due));
            } else {
                self.left_out += 1;
            }
        }
        while let Some(answer) = calls.join_next().await {
            self.take(answer);
        }
    }

    async fn take_answers_until(&mut self, calls: &mut JoinSet<Answer>, due: Instant) {
        let time = time::sleep_until(due.into());
        tokio::pin!(time);
        loop {
            tokio::select! {
                biased;
                () = &mut time => return,
                Some(answer) = calls.join_next() => self.take(answer),
            }
        }
    }

    fn take(&mut self, answer: Result<Answer, tokio::task::JoinError>) {
        let answer = answer.unwrap_or_else(|error| Answer {
            took: Duration::ZERO,
            node: Err(Status::internal(format!("the call broke: {error}"))),
        });
        match answer.node {
            Ok(node) => {
                let micros = u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX);
                self.latencies.saturating_record(micros);
                *self.nodes.entry(node.unwrap_or_default()).or_default() += 1;
            }
            Err(status) => {
                let failure = self.failures.entry(code_name(status.code()));
                failure.or_insert_with(|| (0, status.message().to_owned())).0 += 1;
            }
        }
    }
}

async fn call(channel: Channel, plan: Plan, due: Instant) -> Answer {
    let mut request = Request::new(stream::iter([plan.message]));
    *request.metadata_mut() = plan.metadata;
    let answer = invoke(channel, &plan.method, request).await;
    let took = due.elapsed();
    let node = answer.map(|answer| {
        let peer = answer.extensions().get::<Peer>();
        peer.map(|peer| peer.node_id().to_owned())
    });
    Answer { took, node }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use micro::{Client, registry::Static};
    use micro_dynamic::{
        fake::{Fake, Reflection, pool},
        from_json,
    };

    use super::*;

    /// A caller that came late has waited since then, too.
    #[tokio::test]
    async fn time_counts_from_when_a_call_was_due() {
        let shop = Fake::start(Reflection::V1).await.unwrap();
        let registry: Static = format!("shop={}", shop.address()).parse().unwrap();
        let client = Client::builder(Arc::new(registry)).build().unwrap();
        let method = pool().get_service_by_name("shop.Shop").unwrap();
        let method = method.methods().find(|method| method.name() == "Look").unwrap();
        let plan = Plan {
            message: from_json(&method.input(), r#"{"name":"Ada"}"#).unwrap(),
            method,
            metadata: MetadataMap::new(),
            rate: NonZeroU32::MIN,
            duration: Duration::from_secs(1),
        };
        let late = Duration::from_secs(5);
        let answer = call(client.channel("shop"), plan, Instant::now() - late).await;
        assert!(answer.node.is_ok(), "{:?}", answer.node);
        assert!(answer.took >= late, "{:?}", answer.took);
    }

    #[test]
    fn times_from_microseconds_to_minutes_are_told_apart() {
        let mut load = Load::new();
        for took in [
            Duration::from_micros(80),
            Duration::from_secs(3),
            Duration::from_secs(90),
        ] {
            let node = Ok(Some("shop-1".to_owned()));
            load.take(Ok(Answer { took, node }));
        }
        let shown = |quantile| load.latencies.value_at_quantile(quantile) / 1_000;
        assert_eq!((shown(0.1), shown(0.5) / 10, shown(1.0) / 100), (0, 300, 900));
        assert_eq!(load.nodes["shop-1"], 3);
    }
}
