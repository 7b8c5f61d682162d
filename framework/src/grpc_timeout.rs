//! The `grpc-timeout` header: how long a caller waits, as gRPC over HTTP/2 writes it.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The header's name.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The protocol allows at most eight digits.
const DIGITS_MAX: usize = 8;
const AMOUNT_MAX: u128 = 99_999_999;

/// Writes `timeout` in the finest unit, of microseconds up, that has room for it.
pub(crate) fn format(timeout: Duration) -> HeaderValue {
    let units = [
        ("u", 1_000),
        ("m", 1_000_000),
        ("S", 1_000_000_000),
        ("M", 60_000_000_000),
        ("H", 3_600_000_000_000),
    ];
    let nanos = timeout.as_nanos();
    let fitting = units
        .into_iter()
        .map(|(unit, size)| (nanos / size, unit))
        .find(|(amount, _)| *amount <= AMOUNT_MAX);
    let (amount, unit) = fitting.unwrap_or((AMOUNT_MAX, "H"));
    HeaderValue::try_from(format!("{amount}{unit}")).expect("digits and a letter are a header value")
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

    proptest! {
        #[test]
        fn a_timeout_survives_but_for_its_unit(nanos in 0u64..) {
            let timeout = Duration::from_nanos(nanos);
            let header = format(timeout);
            prop_assert!(header.len() <= DIGITS_MAX + 1);
            let read = parse(&header).unwrap();
            prop_assert!(read <= timeout);
            // At most one unit less: a microsecond, or a part in 10^7.
            prop_assert!((timeout - read).as_nanos() <= 1_000 + timeout.as_nanos() / 100_000);
        }

        #[test]
        fn no_header_is_a_panic(bytes in proptest::collection::vec(32u8..127, 0..20)) {
            let _ = parse(&HeaderValue::from_bytes(&bytes).unwrap());
        }
    }
}
