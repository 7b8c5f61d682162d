//! Notices that this process, or the whole host, stood still for a while.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// How much later than planned is more than a busy host explains.
const LATE: Duration = Duration::from_secs(2);

/// Reads the wall clock; tests and simulations hand in one of their own.
#[derive(Clone)]
pub(crate) struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    pub(crate) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self(Arc::new(SystemTime::now))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

/// Compares what was planned with what the clocks say.
///
/// A stopped process (SIGSTOP) finds its monotonic clock far ahead of the plan. A suspended host finds the wall clock
/// ahead of the monotonic one, which stood still with it. A wall clock that was set looks the same, and costs one
/// renewal more.
#[derive(Debug)]
pub(crate) struct Pulse {
    clock: WallClock,
    since: Instant,
    wall_since: SystemTime,
}

impl Pulse {
    pub(crate) fn new(clock: WallClock) -> Self {
        Self {
            since: Instant::now(),
            wall_since: clock.0(),
            clock,
        }
    }

    /// Starts to count.
    pub(crate) fn begin(&mut self) {
        self.since = Instant::now();
        self.wall_since = self.clock.0();
    }

    /// Whether far more time has passed since the beginning than the `planned` one.
    pub(crate) fn missed(&self, planned: Duration) -> bool {
        let elapsed = self.since.elapsed();
        // Backwards is no gap: somebody set the clock.
        let wall_elapsed = self.clock.0().duration_since(self.wall_since).unwrap_or_default();
        elapsed > planned + LATE || wall_elapsed > elapsed + LATE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const TICK: Duration = Duration::from_secs(1);

    /// A pulse and how far its wall clock is from the epoch.
    fn pulse() -> (Pulse, Arc<Mutex<Duration>>) {
        let offset = Arc::new(Mutex::new(10 * HOUR));
        let shared = Arc::clone(&offset);
        let clock = WallClock::new(move || SystemTime::UNIX_EPOCH + *shared.lock().unwrap());
        (Pulse::new(clock), offset)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tick_that_comes_in_time_is_none_missed() {
        let (pulse, wall) = pulse();
        time::advance(TICK).await;
        *wall.lock().unwrap() += TICK;
        assert!(!pulse.missed(TICK));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_finds_its_tick_far_too_late() {
        let (pulse, wall) = pulse();
        time::advance(HOUR).await;
        *wall.lock().unwrap() += HOUR;
        assert!(pulse.missed(TICK));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_was_suspended_finds_its_wall_clock_ahead() {
        let (mut pulse, wall) = pulse();
        time::advance(TICK).await;
        *wall.lock().unwrap() += HOUR;
        assert!(pulse.missed(TICK));
        pulse.begin();
        assert!(!pulse.missed(TICK));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_set_back_is_no_gap() {
        let (pulse, wall) = pulse();
        time::advance(TICK).await;
        *wall.lock().unwrap() -= HOUR;
        assert!(!pulse.missed(TICK));
    }
}
