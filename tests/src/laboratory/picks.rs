//! When a node was picked, as its client sees it: also when the call that was sent there was answered by another.

use std::time::{Duration, Instant};

use micro::{Channel, EndpointState};

use super::looks::Looks;

/// How often the client is asked; a call to a node that answers nothing takes longer.
const INTERVAL: Duration = Duration::from_millis(20);

/// A node that gets no call for so long is avoided: the loads would call it many times.
const QUIET: Duration = Duration::from_secs(1);

/// What a look saw.
type Look = (Instant, Seen);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Whether it was among those that calls pick from.
    ready: bool,
    /// How many calls it had.
    calls: u32,
}

/// Whether a node could be picked, and how many calls it had, at each look.
#[derive(Debug)]
pub(super) struct Picks(Looks<Seen>);

impl Picks {
    /// Looks at `node` from now on.
    pub(super) fn of(channel: Channel, node: &'static str) -> Self {
        Self(Looks::start(channel, INTERVAL, move |endpoints| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.node.id() == node);
            endpoint.map_or_else(Seen::default, |endpoint| Seen {
                ready: endpoint.state == EndpointState::Ready,
                calls: endpoint.in_flight,
            })
        }))
    }

    /// How long after `since` calls went to it, until it got none for a second; `None` when that did not come to pass
    /// before `until`. For nodes that keep their calls for longer than a look takes.
    pub(super) fn avoided(&self, since: Instant, until: Instant) -> Option<Duration> {
        self.0.read(|looks| {
            let picked = more(looks).into_iter().filter(|(_, more)| *more);
            quiet_after(picked.map(|(at, _)| at), since, until)
        })
    }

    /// How long after `since` it was among those that calls pick from; `None` when it was until the end. For nodes that
    /// are gone, as calls to them fail sooner than a look would see.
    pub(super) fn left_out(&self, since: Instant) -> Option<Duration> {
        self.0.read(|looks| {
            let mut after = looks.iter().filter(|(at, _)| *at >= since);
            after.find(|(_, seen)| !seen.ready).map(|(at, _)| *at - since)
        })
    }

    /// The part of the looks between `from` and `to` at which it had got calls since the look before.
    pub(super) fn picked(&self, from: Instant, to: Instant) -> f64 {
        self.0.read(|looks| part(&more(looks), from, to))
    }

    /// The part of the looks between `from` and `to` at which it was among those that calls pick from.
    pub(super) fn ready(&self, from: Instant, to: Instant) -> f64 {
        let ready = |looks: &[Look]| -> Vec<_> { looks.iter().map(|(at, seen)| (*at, seen.ready)).collect() };
        self.0.read(|looks| part(&ready(looks), from, to))
    }
}

/// For each look whether there were more calls than at the one before; before the first there were none.
fn more(looks: &[Look]) -> Vec<(Instant, bool)> {
    let before = [0].into_iter().chain(looks.iter().map(|(_, seen)| seen.calls));
    let more = looks.iter().zip(before);
    more.map(|((at, seen), before)| (*at, seen.calls > before))
        .collect()
}

/// How long after `since` the last of these moments was, before a time without any that is long enough.
pub(super) fn quiet_after(
    moments: impl Iterator<Item = Instant>,
    since: Instant,
    until: Instant,
) -> Option<Duration> {
    let mut last = since;
    for at in moments.filter(|at| (since..until).contains(at)) {
        if at - last >= QUIET {
            break;
        }
        last = at;
    }
    (until - last >= QUIET).then(|| last - since)
}

#[expect(clippy::cast_precision_loss, reason = "no scenario has 2^52 looks")]
fn part(looks: &[(Instant, bool)], from: Instant, to: Instant) -> f64 {
    let within: Vec<_> = looks.iter().filter(|(at, _)| (from..to).contains(at)).collect();
    within.iter().filter(|(_, holds)| *holds).count() as f64 / within.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks with these calls, a fifth of a second after one another.
    fn looks(origin: Instant, calls: &[u32]) -> Vec<Look> {
        let looks = calls.iter().zip(0..);
        looks
            .map(|(calls, at)| {
                let seen = Seen {
                    ready: false,
                    calls: *calls,
                };
                (origin + at * Duration::from_millis(200), seen)
            })
            .collect()
    }

    #[test]
    fn a_node_is_avoided_from_the_last_call_before_a_second_without_one() {
        let origin = Instant::now();
        let quiet_after = |calls: &[u32]| {
            let looks = looks(origin, calls);
            let end = origin + Duration::from_millis(200) * u32::try_from(calls.len()).unwrap();
            let picked = more(&looks).into_iter().filter(|(_, more)| *more);
            quiet_after(picked.map(|(at, _)| at), origin, end).map(|time| time.as_millis())
        };
        assert_eq!(quiet_after(&[0, 2, 2, 3, 1, 0, 0, 0, 0]), Some(600));
        assert_eq!(quiet_after(&[0, 0, 0, 0, 0, 0]), Some(0));
        assert_eq!(quiet_after(&[0, 0, 0, 1, 0, 0]), None);
        assert_eq!(quiet_after(&[0, 1, 2, 3, 4, 5, 6]), None);
        // What is tried again later is a question of how often.
        assert_eq!(quiet_after(&[1, 2, 0, 0, 0, 0, 0, 0, 1, 1]), Some(200));
    }

    #[test]
    fn the_part_of_the_looks_with_more_calls_is_found() {
        let origin = Instant::now();
        let more = more(&looks(origin, &[1, 1, 0, 2, 3]));
        let found = part(&more, origin, origin + Duration::from_millis(800));
        assert!((found - 0.5).abs() < f64::EPSILON, "{found}");
        let found = part(
            &more,
            origin + Duration::from_millis(600),
            origin + Duration::from_secs(9),
        );
        assert!((found - 1.0).abs() < f64::EPSILON, "{found}");
        assert!(part(&more, origin, origin).abs() < f64::EPSILON);
    }
}
