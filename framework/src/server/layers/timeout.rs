//! How long the caller of a request waits.

use http::HeaderMap;
use tokio::time::Duration;
use tonic::Status;

use crate::grpc_timeout::{GRPC_TIMEOUT, parse};

/// No call waits longer: 99,999,999 hours, which the header can say, are more than a clock can add to its time.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long the caller waits; `None` when it does not say.
///
/// What the protocol does not allow is refused: a call must not run without the deadline that its caller believes in.
pub(super) fn caller_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn timeout(value: &[u8]) -> Result<Option<Duration>, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(value).unwrap());
        caller_timeout(&headers)
    }

    #[test]
    fn without_the_header_there_is_no_timeout() {
        assert_eq!(caller_timeout(&HeaderMap::new()).unwrap(), None);
        assert_eq!(timeout(b"0n").unwrap(), Some(Duration::ZERO));
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
        fn nothing_else_is_taken(value in proptest::collection::vec(0x20_u8..0x7f, 0..24)) {
            let allowed = value.len() >= 2
                && value.len() <= 9
                && b"HMSmun".contains(value.last().unwrap())
                && value[..value.len() - 1].iter().all(u8::is_ascii_digit);
            match timeout(&value) {
                Ok(_) => prop_assert!(allowed),
                Err(status) => {
                    prop_assert!(!allowed);
                    prop_assert_eq!(status.code(), tonic::Code::InvalidArgument);
                }
            }
        }
    }
}
