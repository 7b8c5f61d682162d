//! Headers that speak of one connection, which no call may carry over HTTP/2 (RFC 9113 §8.2.2).

use http::{HeaderMap, HeaderName, HeaderValue, header};

const OF_A_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// The one thing that a call may say of the connection, and every call of gRPC's does.
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Takes out what a caller has passed on from another connection: with it h2 sends no request.
pub(super) fn strip_connection(headers: &mut HeaderMap) {
    if headers.keys().any(|name| OF_A_CONNECTION.contains(name)) {
        for name in OF_A_CONNECTION {
            headers.remove(name);
        }
    }
    headers.insert(header::TE, TRAILERS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_of_a_connection_is_taken_out_and_the_rest_stays() {
        let mut headers = HeaderMap::new();
        for name in OF_A_CONNECTION {
            headers.insert(name, HeaderValue::from_static("close"));
        }
        headers.insert(header::TE, HeaderValue::from_static("gzip"));
        headers.insert("x-request-id", HeaderValue::from_static("7"));
        strip_connection(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(
            (&headers["te"], &headers["x-request-id"]),
            (&TRAILERS, &HeaderValue::from_static("7"))
        );
    }
}
