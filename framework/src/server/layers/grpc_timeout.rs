//! The header `grpc-timeout`, read as the gRPC specification writes it.

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Duration;
use tonic::Status;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The specification allows at most eight digits, so no product below overflows.
const DIGITS_MAX: usize = 8;

/// No call waits longer: 99,999,999 hours are more than a clock can add to its time.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the caller of a request waits; `None` when it does not say.
///
/// What the specification does not allow is refused, as a call must not run without the deadline that its caller
/// believes in.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else {
        return Ok(None);
    };
    match parse(value) {
        Some(timeout) => Ok(Some(timeout.min(TIMEOUT_MAX))),
        None => Err(Status::invalid_argument(
            "grpc-timeout is not 1 to 8 digits and one of H, M, S, m, u, n",
        )),
    }
}

fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut amount: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        amount = amount * 10 + u64::from(digit - b'0');
    }
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

    fn timeout(value: &[u8]) -> Result<Option<Duration>, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(value).unwrap());
        grpc_timeout(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        for (value, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("00000006n", Duration::from_nanos(6)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(timeout(value.as_bytes()).unwrap(), Some(expected), "{value}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn what_the_specification_does_not_allow_is_refused() {
        for value in [
            "",
            "S",
            "1",
            "1s",
            "1h",
            "-1S",
            "+1S",
            "1.5S",
            " 1S",
            "1 S",
            "123456789S",
            "1000000000000000000n",
            "1SS",
            "S1",
        ] {
            let status = timeout(value.as_bytes()).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{value:?}");
        }
    }

    #[test]
    fn an_absurd_timeout_is_clamped_to_what_a_clock_can_add() {
        let clamped = timeout(b"99999999H").unwrap().unwrap();
        assert_eq!(clamped, TIMEOUT_MAX);
        assert!(tokio::time::Instant::now().checked_add(clamped).is_some());
    }

    proptest! {
        #[test]
        fn what_is_allowed_is_read_exactly(amount in 0_u64..=99_999_999, unit in 0_usize..6) {
            let (letter, nanos) = [
                ("H", 3_600_000_000_000_u128),
                ("M", 60_000_000_000),
                ("S", 1_000_000_000),
                ("m", 1_000_000),
                ("u", 1_000),
                ("n", 1),
            ][unit];
            let read = timeout(format!("{amount}{letter}").as_bytes()).unwrap().unwrap();
            prop_assert_eq!(read.as_nanos(), (u128::from(amount) * nanos).min(TIMEOUT_MAX.as_nanos()));
        }

        #[test]
        fn nothing_else_is_read_and_nothing_panics(value in proptest::collection::vec(0x20_u8..0x7f, 0..24)) {
            let allowed = value.len() >= 2
                && value.len() <= 9
                && b"HMSmun".contains(value.last().unwrap())
                && value[..value.len() - 1].iter().all(u8::is_ascii_digit);
            prop_assert_eq!(timeout(&value).is_ok(), allowed);
        }
    }
}
