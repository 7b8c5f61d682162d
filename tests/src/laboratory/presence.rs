//! Whether nodes are among those that calls pick from, as their client sees it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use micro::{Channel, EndpointState};

use super::looks::Looks;

/// How often the client is asked; no registry tells of changes faster than its client takes them in.
const INTERVAL: Duration = Duration::from_millis(50);

/// Who was ready for calls at one moment.
type Look = (Instant, BTreeSet<String>);

/// Which nodes were ready for calls at each look.
#[derive(Debug)]
pub(super) struct Presence(Looks<BTreeSet<String>>);

impl Presence {
    /// Looks at the nodes of `channel` from now on.
    pub(super) fn of(channel: Channel) -> Self {
        Self(Looks::start(channel, INTERVAL, |endpoints| {
            let ready = endpoints
                .iter()
                .filter(|endpoint| endpoint.state == EndpointState::Ready);
            ready.map(|endpoint| endpoint.node.id().to_owned()).collect()
        }))
    }

    /// The longest time between `from` and `to` for which `node` was not ready.
    pub(super) fn absence(&self, node: &str, from: Instant, to: Instant) -> Duration {
        self.0.read(|looks| absence(looks, node, from, to))
    }
}

/// From one look without it to the first with it, or to the end.
fn absence(looks: &[Look], node: &str, from: Instant, to: Instant) -> Duration {
    let (mut longest, mut missing_since) = (Duration::ZERO, None);
    for (at, ready) in looks.iter().filter(|(at, _)| (from..to).contains(at)) {
        if ready.contains(node) {
            missing_since = None;
        } else {
            let since = *missing_since.get_or_insert(*at);
            longest = longest.max(*at - since + INTERVAL);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_absence_is_found() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let looks: Vec<Look> = [(0, "a"), (100, ""), (200, "a"), (300, ""), (400, ""), (500, "a")]
            .map(|(ms, ready)| (at(ms), BTreeSet::from([ready.to_owned()])))
            .to_vec();
        let absence = |from, to| absence(&looks, "a", at(from), at(to));
        assert_eq!(absence(0, 600), Duration::from_millis(150));
        assert_eq!(absence(0, 300), Duration::from_millis(50));
        assert_eq!(absence(450, 600), Duration::ZERO);
    }
}
