//! What went wrong last at a node: kept with its time for those who look, and forgotten when it is long ago.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tonic::Status;

use crate::telemetry::code_name;

/// How long it is shown, if nothing else goes wrong.
const SHOWN_FOR: Duration = Duration::from_secs(600);
/// How much of it: some of it is what a server says.
const TEXT_MAX: usize = 300;

/// The last failure of a connection to a node, or of a call. Only what fails writes it.
#[derive(Debug, Default)]
pub(super) struct LastFailure(Mutex<Option<(Arc<str>, Instant)>>);

impl LastFailure {
    /// That went wrong at `now`.
    pub(super) fn set(&self, text: impl Into<Arc<str>>, now: Instant) {
        let mut text = text.into();
        if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
            text = format!("{}…", &text[..end]).into();
        }
        *self.0.lock().expect("no panic while it is locked") = Some((text, now));
    }

    /// A call has failed with this status at `now`.
    pub(super) fn set_status(&self, status: &Status, now: Instant) {
        let name = code_name(status.code());
        let text = match status.message() {
            "" => name.to_owned(),
            message => format!("{name}: {message}"),
        };
        self.set(text, now);
    }

    /// What went wrong last, and how long ago that was; `None` when nothing did of late.
    pub(super) fn shown(&self, now: Instant) -> Option<(Arc<str>, Duration)> {
        let failure = self.0.lock().expect("no panic while it is locked").clone();
        let (text, at) = failure?;
        let age = now.saturating_duration_since(at);
        (age < SHOWN_FOR).then_some((text, age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_shown_with_its_age_until_it_is_long_ago() {
        let (last, at) = (LastFailure::default(), Instant::now());
        assert_eq!(last.shown(at), None);
        last.set("connect: refused", at - Duration::from_secs(1));
        last.set_status(&Status::unavailable("going away"), at);
        let (text, age) = last.shown(at + Duration::from_secs(3)).unwrap();
        assert_eq!((&*text, age.as_secs()), ("UNAVAILABLE: going away", 3));
        assert_eq!(last.shown(at + SHOWN_FOR), None);
        last.set_status(&Status::aborted(""), at);
        assert_eq!(&*last.shown(at).unwrap().0, "ABORTED");
    }

    #[test]
    fn what_a_server_says_is_shown_in_part_if_it_is_long() {
        let (last, at) = (LastFailure::default(), Instant::now());
        last.set("é".repeat(10_000), at);
        assert_eq!(last.shown(at).unwrap().0.chars().count(), TEXT_MAX + 1);
    }
}
