//! When an endpoint is left out because its calls fail: for a while, or until it has spoken on a new connection.

use std::time::Duration;

use tokio::time::Instant;

use super::Endpoint;

/// How far apart are the times at which a node must prove that it is there, while it is not left out for longer: a call that
/// takes long costs no more connections than this.
pub(super) const DOUBT_INTERVAL: Duration = Duration::from_secs(1);

impl Endpoint {
    /// Leaves the node out of the picks for a while, if its calls fail in a row; says whether that is news.
    pub(in super::super) fn eject_outlier(&mut self, now: Instant) -> bool {
        let silence = self.flags.streak.is_silence();
        let ejected = self.ejection.update(&self.flags.streak, now);
        if ejected {
            let last = self.flags.last_failure.shown(now);
            let last = last.map(|(text, _)| format!(", the last with {text}"));
            let last = last.unwrap_or_default();
            self.set_last_error(format!("calls in a row failed{last}"), now);
            self.ejection.trace(&self.node);
        }
        if silence && ejected {
            self.doubt(now);
        }
        ejected
    }

    /// Leaves the node out until a new connection speaks, if calls got no answer; but not again and again, as a
    /// node may be there and its methods slow.
    pub(in super::super) fn doubt_silence(&mut self, now: Instant) {
        let is_over = |at: Instant| now.duration_since(at) >= DOUBT_INTERVAL;
        if self.flags.streak.is_doubtful() && self.doubted_at.is_none_or(is_over) {
            self.doubt(now);
        }
    }

    fn doubt(&mut self, now: Instant) {
        self.doubted_since = Some(now);
        self.doubted_at = Some(now);
    }

    /// Whether it has answered nothing since it was left out because it answered nothing. One that the registry no
    /// longer lists gets no new connection, so it is tried again when its time is over.
    pub(super) fn is_doubted(&self) -> bool {
        let silent = |since| self.spot.load.is_silent_since(since);
        self.held_until.is_none() && self.doubted_since.is_some_and(silent)
    }
}
