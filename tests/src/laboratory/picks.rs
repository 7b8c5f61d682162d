//! When a node was picked that answers nothing, as its client sees it.

use std::time::{Duration, Instant};

use micro::Channel;

use super::looks::Looks;

/// How often the client is asked; a call to a node that answers nothing takes longer.
const INTERVAL: Duration = Duration::from_millis(20);

/// How many calls a node had at each look.
#[derive(Debug)]
pub(super) struct Picks(Looks<u32>);

impl Picks {
    /// Looks at the calls of `node` from now on.
    pub(super) fn of(channel: Channel, node: &'static str) -> Self {
        Self(Looks::start(channel, INTERVAL, move |endpoints| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.node.id() == node);
            endpoint.map_or(0, |endpoint| endpoint.in_flight)
        }))
    }

    /// How long after `since` it got more calls than it had for the last time.
    pub(super) fn last(&self, since: Instant) -> Duration {
        let last = self.0.read(last_more);
        last.unwrap_or(since).saturating_duration_since(since)
    }
}

/// The last look at which there were more calls than at the one before; before the first there were none.
fn last_more(looks: &[(Instant, u32)]) -> Option<Instant> {
    let before = [0].into_iter().chain(looks.iter().map(|(_, calls)| *calls));
    let more = looks.iter().zip(before).filter(|((_, now), before)| now > before);
    more.map(|((at, _), _)| *at).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_look_with_more_calls_is_found() {
        let origin = Instant::now();
        let looks = |calls: &[u32]| -> Vec<_> {
            let looks = calls.iter().zip(1..);
            looks
                .map(|(calls, second)| (origin + Duration::from_secs(second), *calls))
                .collect()
        };
        let last = |calls: &[u32]| last_more(&looks(calls)).map(|at| (at - origin).as_secs());
        assert_eq!(last(&[0, 2, 2, 3, 1, 0]), Some(4));
        assert_eq!(last(&[1, 1]), Some(1));
        assert_eq!(last(&[0, 0]), None);
    }
}
