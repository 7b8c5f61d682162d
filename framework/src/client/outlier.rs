//! Outliers: an endpoint whose calls fail in a row is left out of the picks for a while, unless most of them do.

use std::{sync::Arc, time::Duration};

use micro_registry::Node;
use tokio::time::Instant;
use tonic::Code;
use tracing::{Span, info_span};

use super::{picker::Nodes, streak::Streak};

/// How long it is ejected for the first time; each further time it is this much longer.
const EJECTED_FOR: Duration = Duration::from_secs(5);
/// The longest time.
const EJECTED_MAX: Duration = Duration::from_secs(60);
/// How long after its last ejection an endpoint counts as one that was never ejected.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// Whether, and for how long, an endpoint is ejected.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    until: Option<Instant>,
    /// How often it was, of late.
    times: u32,
    /// Where somebody subscribes to it: lasts from the ejection until calls may go there again. In a box: hardly any
    /// endpoint has one, and every one would carry its size.
    pub(super) span: Option<Box<Span>>,
}

impl Ejection {
    /// Ejects it, if its calls fail in a row; says whether that is news. The streak begins anew.
    pub(super) fn update(&mut self, streak: &Streak, now: Instant) -> bool {
        if !streak.ejects() {
            return false;
        }
        streak.succeeded();
        if self.is_ejected(now) {
            return false;
        }
        if self.until.is_some_and(|until| now - until >= FORGIVEN_AFTER) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.until = Some(now + EJECTED_FOR.saturating_mul(self.times).min(EJECTED_MAX));
        true
    }

    /// Begins the span of the ejection of `node` that was news just now.
    pub(super) fn trace(&mut self, node: &Node) {
        let span = info_span!(
            parent: None,
            "ejection",
            micro.service = node.service().as_str(),
            micro.node.id = node.id(),
            server.address = %node.address().host(),
            server.port = node.address().port(),
            micro.ejections = self.times,
        );
        self.span = (!span.is_disabled()).then(|| Box::new(span));
    }

    /// Ends that span, as calls may go there again.
    pub(super) fn over(&mut self) {
        drop(self.span.take());
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ends(now).is_some()
    }

    /// Whether there has been none.
    pub(super) fn was_never(&self) -> bool {
        self.until.is_none()
    }

    /// When it ends; `None` while it is not ejected.
    pub(super) fn ends(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

/// Those to pick from: all but the ejected ones, and all when more than half are ejected, as then the fault is more
/// likely elsewhere, and the others could not carry the load.
pub(super) fn usable(nodes: &Nodes) -> Nodes {
    let ejected = nodes.iter().filter(|node| node.ejected).count();
    if ejected == 0 || ejected * 2 > nodes.len() {
        return Arc::clone(nodes);
    }
    nodes.iter().filter(|node| !node.ejected).cloned().collect()
}

/// Whether a call that ended so shows that the node could not do its work: it was unavailable, or had no answer in time.
pub(super) fn is_failure(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;
    use tokio::time;

    use super::{
        super::{candidate::Candidate, response::code_of, streak::FAILURES_MAX},
        *,
    };

    fn fail(streak: &Streak, times: u32) {
        for _ in 0..times {
            streak.failed(true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_ejection_is_longer_up_to_the_cap_and_a_good_while_is_a_pardon() {
        let (streak, mut ejection) = (Streak::default(), Ejection::default());
        assert!(!ejection.update(&streak, Instant::now()));
        for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12] {
            fail(&streak, FAILURES_MAX);
            assert!(ejection.update(&streak, Instant::now()));
            assert!(!streak.ejects(), "the next streak begins at nothing");
            let ends = ejection.ends(Instant::now()).unwrap();
            assert_eq!(ends - Instant::now(), EJECTED_FOR * times);
            fail(&streak, FAILURES_MAX);
            assert!(!ejection.update(&streak, Instant::now()), "it is ejected already");
            time::advance(EJECTED_FOR * times).await;
            assert!(!ejection.is_ejected(Instant::now()));
        }
        time::advance(FORGIVEN_AFTER).await;
        fail(&streak, FAILURES_MAX);
        assert!(ejection.update(&streak, Instant::now()));
        assert_eq!(ejection.ends(Instant::now()), Some(Instant::now() + EJECTED_FOR));
    }

    #[test]
    fn what_the_application_answers_is_no_failure_of_the_node() {
        let failed = |headers: &HeaderMap| code_of(headers).map(is_failure);
        let says = |code: &'static str| {
            failed(&HeaderMap::from_iter([(
                "grpc-status".parse().unwrap(),
                code.parse().unwrap(),
            )]))
        };
        for (code, expected) in [
            ("0", false),
            ("3", false),
            ("13", false),
            ("14", true),
            ("4", true),
        ] {
            assert_eq!(says(code), Some(expected), "{code}");
        }
        assert_eq!(failed(&HeaderMap::new()), None);
    }

    fn nodes(ejected: &[bool]) -> Nodes {
        let node = |(at, ejected): (usize, &bool)| {
            let address = "127.0.0.1:9090".parse().unwrap();
            let node = Node::builder("greeter".parse().unwrap(), format!("n{at:03}"), address);
            let mut candidate = Candidate::detached(node.build().unwrap());
            candidate.ejected = *ejected;
            Arc::new(candidate)
        };
        ejected.iter().enumerate().map(node).collect()
    }

    /// An endpoint as one would explain it, on a clock of milliseconds.
    #[derive(Clone, Default)]
    struct Explained {
        in_a_row: u32,
        times: u64,
        until: Option<u64>,
    }

    impl Explained {
        fn fail(&mut self, now: u64) {
            self.in_a_row += 1;
            if self.in_a_row < FAILURES_MAX {
                return;
            }
            self.in_a_row = 0;
            if self.is_ejected(now) {
                return;
            }
            if self.until.is_some_and(|until| now >= until + 60_000) {
                self.times = 0;
            }
            self.times += 1;
            self.until = Some(now + (5_000 * self.times).min(60_000));
        }

        fn is_ejected(&self, now: u64) -> bool {
            self.until.is_some_and(|until| until > now)
        }
    }

    /// What happens next: after so many milliseconds, to which endpoint, how many calls fail, and whether one succeeds.
    fn events() -> impl Strategy<Value = Vec<(u64, usize, u32, bool)>> {
        let pause = prop_oneof![4 => 0_u64..200, 2 => 0_u64..10_000, 1 => 50_000_u64..80_000];
        prop::collection::vec((pause, 0_usize..7, 0_u32..8, any::<bool>()), 1..120)
    }

    proptest! {
        /// The clock is handed in, so nothing but it and the calls decide.
        #[test]
        fn endpoints_are_left_out_as_explained_and_never_more_than_half(events in events(), count in 1_usize..7) {
            let (start, mut now) = (Instant::now(), 0);
            let mut endpoints: Vec<_> = (0..count).map(|_| (Streak::default(), Ejection::default())).collect();
            let mut explained = vec![Explained::default(); count];
            for (pause, at, failures, succeeds) in events {
                now += pause;
                let (at, instant) = (at % count, start + Duration::from_millis(now));
                let (streak, ejection) = &mut endpoints[at];
                for _ in 0..failures {
                    explained[at].fail(now);
                    if streak.failed(true) {
                        ejection.update(streak, instant);
                    }
                }
                if succeeds {
                    streak.succeeded();
                    explained[at].in_a_row = 0;
                }
                let flags: Vec<_> = endpoints.iter().map(|(_, ejection)| ejection.is_ejected(instant)).collect();
                let expected: Vec<_> = explained.iter().map(|endpoint| endpoint.is_ejected(now)).collect();
                prop_assert_eq!(&flags, &expected, "at {} ms", now);
                let (left, sick) = (usable(&nodes(&flags)).len(), flags.iter().filter(|flag| **flag).count());
                let all_or_the_others = if sick * 2 > count { count } else { count - sick };
                prop_assert_eq!(left, all_or_the_others, "of {}", count);
            }
            let long_after = start + Duration::from_millis(now) + EJECTED_MAX;
            prop_assert!(endpoints.iter().all(|(_, ejection)| !ejection.is_ejected(long_after)));
        }
    }

    proptest! {
        #[test]
        fn at_most_half_are_left_out_and_only_ejected_ones(
            ejected in proptest::collection::vec(any::<bool>(), 0..40),
        ) {
            let all = nodes(&ejected);
            let usable = usable(&all);
            prop_assert!(usable.len() * 2 >= all.len(), "{} of {}", usable.len(), all.len());
            let is_usable = |node: &Arc<Candidate>| usable.iter().any(|used| Arc::ptr_eq(used, node));
            let sick = ejected.iter().filter(|ejected| **ejected).count();
            for node in all.iter() {
                prop_assert_eq!(is_usable(node), !node.ejected || sick * 2 > all.len());
            }
        }
    }
}
