//! The `grpc-timeout` header: how long a caller waits, as gRPC over HTTP/2 writes it.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The header's name.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The protocol allows at most eight digits.
const DIGITS_MAX: usize = 8;
const AMOUNT_MAX: u128 = 99_999_999;

/// From here on a timeout is written in milliseconds.
///
/// What a call's own side has spent before it is sent is then rounded away, so that calls with one timeout mostly send
/// one text, which HTTP/2's header table (RFC 7541 §2.3.2) sends as a number. In microseconds each text is new, is
/// entered into the table of both sides, and drives out what is of use there.
const MILLISECONDS_FROM: Duration = Duration::from_millis(100);

/// A caller that gives a call up so long before the end of its time as the callee knows it has waited to that end: what
/// travels is rounded up, takes its time to arrive, and timers have ticks. A tenth of the time, between these two.
const EARLY_MIN: Duration = Duration::from_millis(3);
const EARLY_MAX: Duration = Duration::from_millis(50);

/// How long a call has to last before its caller, who gives it `timeout` and gives it up, counts as one whose time was over.
pub(crate) fn given_up_after(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / 10).clamp(EARLY_MIN, EARLY_MAX))
}

/// Writes `timeout`, rounded up: the callee must not give up before its caller does.
pub(crate) fn format(timeout: Duration) -> HeaderValue {
    let units: &[(u8, u128)] = if timeout < MILLISECONDS_FROM {
        &[(b'u', 1_000)]
    } else {
        &[
            (b'm', 1_000_000),
            (b'S', 1_000_000_000),
            (b'M', 60_000_000_000),
            (b'H', 3_600_000_000_000),
        ]
    };
    let nanos = timeout.as_nanos();
    let fitting = units
        .iter()
        .map(|(unit, size)| (nanos.div_ceil(*size), *unit))
        .find(|(amount, _)| *amount <= AMOUNT_MAX);
    let (mut amount, unit) = fitting.unwrap_or((AMOUNT_MAX, b'H'));
    // Backwards, into as much room as the protocol allows: this is on the path of every call.
    let mut text = [unit; DIGITS_MAX + 1];
    let mut start = DIGITS_MAX;
    while start == DIGITS_MAX || amount > 0 {
        start -= 1;
        text[start] = b'0' + (amount % 10) as u8;
        amount /= 10;
    }
    HeaderValue::from_bytes(&text[start..]).expect("digits and a letter are a header value")
}

/// Reads one to eight digits and a unit; `None` for anything else.
pub(crate) fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits
        .iter()
        .fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_protocol_does_not_allow_is_no_timeout() {
        for text in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "1.5S",
            "123456789S",
            " 1S",
            "1S ",
            "1 S",
        ] {
            assert_eq!(parse(&HeaderValue::from_static(text)), None, "{text:?}");
        }
    }

    #[test]
    fn what_was_spent_before_sending_is_mostly_rounded_away() {
        for (micros, text) in [
            (5_000_000, "5000m"),
            (4_999_970, "5000m"),
            (4_998_970, "4999m"),
            (100_000, "100m"),
            (99_999, "99999u"),
            (1, "1u"),
            (0, "0u"),
            (99_999_999_000, "99999999m"),
            (99_999_999_001, "100000S"),
        ] {
            assert_eq!(format(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn who_gives_up_early_has_waited_for_most_of_the_time() {
        for (timeout, early) in [(2, 2), (10, 3), (100, 10), (500, 50), (60_000, 50)] {
            let timeout = Duration::from_millis(timeout);
            let waited = given_up_after(timeout);
            assert_eq!((timeout - waited).as_millis(), early, "{timeout:?}");
        }
    }

    proptest! {
        #[test]
        fn a_timeout_survives_but_for_its_unit(nanos in 0u64..) {
            let timeout = Duration::from_nanos(nanos);
            let header = format(timeout);
            prop_assert!(header.len() <= DIGITS_MAX + 1);
            let read = parse(&header).unwrap();
            prop_assert!(read >= timeout);
            // At most one unit more: a microsecond, or a hundredth.
            prop_assert!((read - timeout).as_nanos() <= 1_000 + timeout.as_nanos() / 100);
        }

        #[test]
        fn no_header_is_a_panic(bytes in proptest::collection::vec(32u8..127, 0..20)) {
            let _ = parse(&HeaderValue::from_bytes(&bytes).unwrap());
        }
    }
}
