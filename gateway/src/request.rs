//! The message in the body of a request: JSON, within its limits, and read once.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use micro_dynamic::from_json;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{Code, body::Body};
use tower::BoxError;

use crate::{fault::Fault, headers, settings::Settings, unique};

const JSON: &str = "application/json";
/// What curl says of what it is given with `-d`, and what a form of a page can say as well.
const FORM: &str = "application/x-www-form-urlencoded";

/// Reads a body that is said to be JSON.
pub(crate) async fn bytes(headers: &HeaderMap, body: Body, settings: &Settings) -> Result<Bytes, Fault> {
    check_content(headers)?;
    read(headers, body, settings.body_size_max).await
}

/// A body as text whose arrays and objects are nested no deeper than `depth_max`.
pub(crate) fn text(bytes: &[u8], depth_max: usize) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::invalid("the body is not UTF-8"))?;
    if depth(text) > depth_max {
        return Err(Fault::invalid(format!(
            "the body is nested deeper than {depth_max}"
        )));
    }
    Ok(text)
}

/// Reads JSON whose arrays and objects are nested no deeper than `depth_max`; nothing at all is the empty message.
pub(crate) fn parse(
    descriptor: &MessageDescriptor,
    bytes: &[u8],
    depth_max: usize,
) -> Result<DynamicMessage, Fault> {
    let text = text(bytes, depth_max)?;
    if text.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(descriptor.clone()));
    }
    unique::check(text).map_err(|error| Fault::invalid(format!("not JSON: {error}")))?;
    from_json(descriptor, text).map_err(|error| Fault::invalid(error.to_string()))
}

fn check_content(headers: &HeaderMap) -> Result<(), Fault> {
    let unsupported =
        |message| Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, message);
    let is_plain = |encoding: &http::HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Err(unsupported("the body is encoded; expected is plain JSON"));
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    if content_type == JSON {
        return Ok(());
    }
    let kind = content_type.to_str().ok().and_then(|text| text.split(';').next());
    let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == JSON || kind.starts_with("application/") && kind.ends_with("+json");
    // A page may send a form anywhere without being asked, so a form is JSON only where no page sent it.
    let is_of_curl = kind == FORM && !headers::is_of_a_page(headers);
    if is_json || is_of_curl {
        return Ok(());
    }
    Err(unsupported("the body is not `application/json`"))
}

/// Reads a body of so many bytes at most, whatever it is.
pub(crate) async fn read(headers: &HeaderMap, body: Body, size_max: usize) -> Result<Bytes, Fault> {
    let too_large = || {
        let message = format!("the body is larger than {size_max} bytes");
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument, message)
    };
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > size_max as u64) {
        return Err(too_large());
    }
    match whole(Limited::new(body, size_max)).await {
        Ok(whole) => Ok(whole),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Fault::invalid("the body did not come to its end")),
    }
}

/// All of a body. Most come in one piece, which is taken as it is.
async fn whole(mut body: Limited<Body>) -> Result<Bytes, BoxError> {
    let Some(first) = body.frame().await.transpose()? else {
        return Ok(Bytes::new());
    };
    let first = first.into_data().unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    // In a box, as it is seldom needed.
    let rest = Box::pin(body.collect()).await?.to_bytes();
    Ok(if rest.is_empty() {
        first
    } else {
        [first, rest].concat().into()
    })
}

/// How deep arrays and objects are nested, whether or not the rest is JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use micro_dynamic::{fake::pool, to_json};

    use super::*;

    fn descriptor() -> MessageDescriptor {
        pool().get_message_by_name("shop.OrderRequest").unwrap()
    }

    async fn status(headers: &[(&'static str, &'static str)], body: &'static str) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let settings = Settings::default().body_size_max(40);
        let body = Body::new(http_body_util::Full::from(body));
        let read = bytes(&map, body, &settings).await;
        let read = read.and_then(|bytes| parse(&descriptor(), &bytes, settings.json_depth_max));
        let id = crate::headers::RequestId::of(None);
        read.err()
            .map_or(200, |fault| fault.into_response(&id).status().as_u16())
    }

    #[tokio::test]
    async fn only_json_is_read_and_a_form_only_if_no_page_sent_it() {
        let json = r#"{"name":"Ada"}"#;
        for content_type in [
            "application/json",
            "application/JSON; charset=utf-8",
            "application/vnd.api+json",
        ] {
            assert_eq!(
                status(&[("content-type", content_type)], json).await,
                200,
                "{content_type}"
            );
        }
        assert_eq!(status(&[], json).await, 200);
        assert_eq!(status(&[("content-type", FORM)], json).await, 200);
        for page in [
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(status(&[("content-type", FORM), page], json).await, 415);
        }
        for content_type in ["text/plain", "application/grpc", "multipart/form-data", ""] {
            assert_eq!(
                status(&[("content-type", content_type)], json).await,
                415,
                "{content_type}"
            );
        }
        assert_eq!(status(&[("content-encoding", "gzip")], json).await, 415);
    }

    #[tokio::test]
    async fn a_large_body_is_413_by_what_it_says_and_by_what_it_is() {
        let long = r#"{"name":"0123456789012345678901234567890123456789"}"#;
        assert_eq!(status(&[], long).await, 413);
        assert_eq!(status(&[("content-length", "41")], "").await, 413);
    }

    #[test]
    fn nesting_is_limited_before_anything_is_read() {
        assert_eq!(depth(r#"{"a":[{"b":"[[[[{{{{\"[["}]}"#), 3);
        let parse = |text: &str| parse(&descriptor(), text.as_bytes(), 64);
        for text in ["[".repeat(1_000_000), r#"{"gift":"#.repeat(100_000)] {
            assert_eq!(
                parse(&text),
                Err(Fault::invalid("the body is nested deeper than 64"))
            );
        }
        let deep = format!(
            "{}{}",
            r#"{"gift":"#.repeat(62),
            "{}".to_owned() + &"}".repeat(62)
        );
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn what_is_not_the_json_of_the_message_is_400() {
        let parse = |bytes: &[u8]| parse(&descriptor(), bytes, 64);
        for text in [
            &b"{"[..],
            b"null",
            b"[]",
            b"{\"name\":1}",
            b"{\"nam\":\"Ada\"}",
            b"{\"locker\":1e400}",
            b"{\"locker\":2147483648}",
            b"{\"name\":\"\\ud800\"}",
            b"{\"name\":\"\xff\"}",
            b"{} {}",
        ] {
            assert!(parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(to_json(&parse(b" \n").unwrap()).unwrap(), "{}");
        assert_eq!(
            to_json(&parse(br#"{"price":{"units":"7"}}"#).unwrap()).unwrap(),
            r#"{"price":{"units":"7"}}"#
        );
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        for text in [
            r#"{"name":"a","name":"b"}"#,
            r#"{"gift":{"name":"a","n\u0061me":"b"}}"#,
        ] {
            let refused = parse(&descriptor(), text.as_bytes(), 64).map(drop).unwrap_err();
            assert!(
                format!("{refused:?}").contains("the key `name` comes twice"),
                "{refused:?}"
            );
        }
    }
}
