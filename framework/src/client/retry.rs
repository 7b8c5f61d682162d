//! Whether a call that perhaps ran is sent once more, and after how long.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{budget::Budget, response::code_of};
use crate::backoff::Backoff;

/// What a server says of when, or whether, a call may be sent again (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// Tells the server how often the call was sent before (gRFC A6).
pub(super) const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// The bound of the first wait: another node is tried, so it need not be long.
const WAIT: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_millis(500);

/// What one call may still send again, although it perhaps ran: it is idempotent.
#[derive(Debug)]
pub(super) struct Retry {
    left: u32,
    /// In a box, as hardly any call waits.
    backoff: Option<Box<Backoff>>,
}

impl Retry {
    /// Allows this many attempts beyond the first.
    pub(super) fn new(retries: u32) -> Self {
        Self {
            left: retries,
            backoff: None,
        }
    }

    /// How long to wait before the attempt that follows `failure`; `None` when there is none. Takes it from `budget`.
    pub(super) fn next_wait(
        &mut self,
        failure: &Failure,
        deadline: Instant,
        budget: &Budget,
    ) -> Option<Duration> {
        if self.left == 0 || !failure.is_unavailable() {
            return None;
        }
        let wait = match failure.pushback {
            Pushback::Unsaid => {
                let backoff = || Box::new(Backoff::new(WAIT, WAIT_MAX));
                self.backoff.get_or_insert_with(backoff).next_wait()
            }
            Pushback::Wait(wait) => wait,
            Pushback::Never => return None,
        };
        let now = Instant::now();
        if deadline.saturating_duration_since(now) <= wait || !budget.take(now) {
            return None;
        }
        self.left -= 1;
        Some(wait)
    }

    /// Takes one attempt for a call whose answer is late, and says whether there was one.
    pub(super) fn take(&mut self, budget: &Budget) -> bool {
        let taken = self.left > 0 && budget.take(Instant::now());
        self.left -= u32::from(taken);
        taken
    }
}

/// How an attempt failed, as far as sending again depends on it.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    pushback: Pushback,
}

/// What the server wants to be done.
#[derive(Debug, PartialEq)]
enum Pushback {
    Unsaid,
    Wait(Duration),
    Never,
}

impl Failure {
    /// Whether another node may do better.
    pub(super) fn is_unavailable(&self) -> bool {
        self.code == Code::Unavailable
    }

    /// What broke on its way.
    pub(super) fn of(status: &Status) -> Self {
        Self {
            code: status.code(),
            pushback: Pushback::Unsaid,
        }
    }

    /// What the server answered in headers or trailers, if that is a failure.
    pub(super) fn answered(headers: &HeaderMap) -> Option<Self> {
        let code = code_of(headers)?;
        (code != Code::Ok).then(|| Self {
            code,
            pushback: Pushback::read(headers),
        })
    }
}

impl Pushback {
    /// Anything but a number of milliseconds means never, as gRFC A6 has it.
    fn read(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(PUSHBACK) else {
            return Self::Unsaid;
        };
        let millis = value.to_str().ok().and_then(|text| text.parse().ok());
        millis.map_or(Self::Never, |millis| Self::Wait(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use metrics::Counter;

    use super::*;

    fn answered(status: &'static str, pushback: Option<&'static str>) -> Option<Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(Status::GRPC_STATUS, status.parse().unwrap());
        if let Some(pushback) = pushback {
            headers.insert(PUSHBACK, pushback.parse().unwrap());
        }
        Failure::answered(&headers)
    }

    fn unavailable() -> Failure {
        Failure::of(&Status::unavailable("broken"))
    }

    fn in_a_second() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn only_unavailable_is_sent_again_and_only_so_often() {
        let (mut retry, budget) = (Retry::new(2), Budget::new(Counter::noop()));
        for code in ["2", "4", "8", "13"] {
            let failure = answered(code, None).unwrap();
            assert_eq!(retry.next_wait(&failure, in_a_second(), &budget), None);
        }
        assert!(answered("0", None).is_none());
        for bound in [WAIT, WAIT * 2] {
            let wait = retry.next_wait(&unavailable(), in_a_second(), &budget).unwrap();
            assert!(wait <= bound, "{wait:?}");
        }
        assert_eq!(retry.next_wait(&unavailable(), in_a_second(), &budget), None);
    }

    #[tokio::test(start_paused = true)]
    async fn pushback_is_honoured() {
        let (mut retry, budget) = (Retry::new(9), Budget::new(Counter::noop()));
        for (pushback, expected) in [
            ("0", Some(Duration::ZERO)),
            ("700", Some(Duration::from_millis(700))),
            ("-1", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", None),
        ] {
            let failure = answered("14", Some(pushback)).unwrap();
            let wait = retry.next_wait(&failure, in_a_second(), &budget);
            assert_eq!(wait, expected, "{pushback:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_after_the_deadline_and_then_nothing_is_spent() {
        let (mut retry, budget) = (Retry::new(1), Budget::new(Counter::noop()));
        let failure = answered("14", Some("1000")).unwrap();
        assert_eq!(retry.next_wait(&failure, in_a_second(), &budget), None);
        for _ in 0..10 {
            assert!(budget.take(Instant::now()));
        }
        assert_eq!(
            retry.next_wait(&unavailable(), in_a_second(), &budget),
            None,
            "the budget is spent"
        );
        assert!(!retry.take(&budget));
    }
}
