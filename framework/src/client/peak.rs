//! The size of the largest snapshot of late, by which a service that goes node by node is told from one that shrinks a little.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How many snapshots are remembered at most. Of more, the two oldest count as one: as large as the larger, and as
/// long-lived as the younger.
const SIZES_MAX: usize = 64;

/// The sizes of the snapshots that were the last ones within a time, as far as a smaller one came after them.
#[derive(Debug, Default)]
pub(super) struct Peak {
    /// From the oldest and largest to the youngest and smallest.
    replaced: VecDeque<Replaced>,
}

#[derive(Debug)]
struct Replaced {
    nodes: usize,
    /// Until when it was the last one.
    until: Instant,
}

impl Peak {
    /// A snapshot of so many nodes was replaced by the next one now.
    pub(super) fn replaced(&mut self, nodes: usize, now: Instant) {
        while self.replaced.pop_back_if(|last| last.nodes <= nodes).is_some() {}
        self.replaced.push_back(Replaced { nodes, until: now });
        if self.replaced.len() > SIZES_MAX
            && let Some(oldest) = self.replaced.pop_front()
            && let Some(next) = self.replaced.front_mut()
        {
            next.nodes = next.nodes.max(oldest.nodes);
        }
    }

    /// The size of the largest snapshot that was the last one at some moment within `window`.
    pub(super) fn within(&mut self, window: Duration, now: Instant) -> usize {
        while self
            .replaced
            .pop_front_if(|oldest| now.duration_since(oldest.until) >= window)
            .is_some()
        {}
        self.replaced.front().map_or(0, |oldest| oldest.nodes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn a_snapshot_counts_for_as_long_as_the_window_after_it_was_replaced() {
        let (mut peak, start) = (Peak::default(), Instant::now());
        assert_eq!(peak.within(WINDOW, start), 0);
        peak.replaced(9, start);
        peak.replaced(5, start + WINDOW / 2);
        let just_before = start + WINDOW - Duration::from_nanos(1);
        assert_eq!(peak.within(WINDOW, just_before), 9);
        assert_eq!(peak.within(WINDOW, start + WINDOW), 5);
        assert_eq!(peak.within(WINDOW, start + WINDOW * 3 / 2), 0);
    }

    #[test]
    fn it_remembers_few_and_forgets_no_peak_too_early() {
        let (mut peak, start) = (Peak::default(), Instant::now());
        for nodes in (0..1000).rev() {
            peak.replaced(nodes, start);
        }
        assert_eq!(peak.replaced.len(), SIZES_MAX);
        assert_eq!(peak.within(WINDOW, start), 999);
    }

    proptest! {
        #[test]
        fn it_is_the_largest_of_the_window(
            steps in proptest::collection::vec((0..50_usize, 0..30_u64), 1..SIZES_MAX),
        ) {
            let (mut peak, mut now, mut all) = (Peak::default(), Instant::now(), Vec::new());
            for (nodes, seconds) in steps {
                now += Duration::from_secs(seconds);
                peak.replaced(nodes, now);
                all.push((nodes, now));
                let recent = all.iter().filter(|(_, at)| now.duration_since(*at) < WINDOW);
                prop_assert_eq!(peak.within(WINDOW, now), recent.map(|(nodes, _)| *nodes).max().unwrap());
            }
        }
    }
}
