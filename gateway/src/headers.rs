//! What is read from the headers of a request, and which of them become metadata of a call.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use tonic::{
    Code,
    metadata::{KeyAndValueRef, MetadataMap},
    transport::server::TcpConnectInfo,
};

use crate::{
    fault::Fault,
    grpc_web,
    proxies::X_FORWARDED_FOR,
    settings::{Host, Settings, read_duration},
};

/// The name of a request, in logs here and behind: given by the caller, or made here.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The longest id that a caller may give.
const ID_LENGTH_MAX: usize = 64;
/// What always becomes metadata: the trace that the call is part of.
const ALWAYS_FORWARDED: [HeaderName; 2] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// Room for these, for what is passed on as a rule, and for what every call has.
const METADATA_ROOM: usize = 12;
/// What a gateway on a loopback address is called, unless the settings say.
pub(crate) const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// What the caller gave, if it is short and plain; and else 16 random hexadecimal digits.
    pub(crate) fn of(given: Option<&HeaderValue>) -> Self {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let given = given.filter(|given| {
            (1..=ID_LENGTH_MAX).contains(&given.len()) && given.as_bytes().iter().all(is_plain)
        });
        let mut id = given.cloned().unwrap_or_else(|| {
            let made = fastrand::u64(..).to_be_bytes();
            let digits =
                made.map(|byte| [byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[digit as usize]));
            HeaderValue::from_bytes(digits.as_flattened()).expect("digits are a header")
        });
        // It comes once: HTTP/2 need not compress it, for which h2 would compare it with all that went before.
        id.set_sensitive(true);
        Self(id)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("letters, digits and three marks are text")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Whether the request may have been made by a page in a browser.
pub(crate) fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE)
}

/// How long the call may take: what the request says, up to the most there may be.
pub(crate) fn timeout(headers: &HeaderMap, settings: &Settings, is_stream: bool) -> Result<Duration, Fault> {
    let (unsaid, most) = if is_stream {
        (settings.stream_timeout_max, settings.stream_timeout_max)
    } else {
        (settings.timeout, settings.timeout_max)
    };
    let Some(said) = headers.get(REQUEST_TIMEOUT) else {
        let of_grpc = grpc_web::timeout(headers).filter(|_| grpc_web::is(&Method::POST, headers));
        return Ok(of_grpc.unwrap_or(unsaid).min(most));
    };
    let read = said.to_str().ok().and_then(read_duration);
    match read.filter(|timeout| !timeout.is_zero()) {
        Some(timeout) => Ok(timeout.min(most)),
        None => Err(Fault::invalid(
            "x-request-timeout is no duration; expected is one such as `500ms`, `2s`, or a number of seconds",
        )),
    }
}

/// The metadata of the call. Nothing of the request is in it but what is named here and in the settings.
pub(crate) fn metadata<B>(request: &Request<B>, settings: &Settings, id: &RequestId) -> MetadataMap {
    let mut passed = HeaderMap::with_capacity(METADATA_ROOM);
    let named = settings.forward.iter().map(|forwarded| &forwarded.0);
    for name in ALWAYS_FORWARDED.iter().chain(named) {
        let mut values = request.headers().get_all(name).iter().peekable();
        if values.peek().is_some() && is_of_hop(request.headers(), name) {
            continue;
        }
        for value in values {
            passed.append(name, value.clone());
        }
    }
    passed.insert(REQUEST_ID, id.header());
    if let Some(client) = client(request, settings) {
        passed.insert(X_FORWARDED_FOR, text(client));
    }
    let metadata = MetadataMap::from_headers(passed);
    debug_assert!(
        metadata
            .iter()
            .all(|entry| matches!(entry, KeyAndValueRef::Ascii(..)))
    );
    metadata
}

/// Whether `Connection` says that a header is for this hop alone (RFC 9110 §7.6.1).
fn is_of_hop(headers: &HeaderMap, name: &HeaderName) -> bool {
    let said = headers.get_all(header::CONNECTION).iter();
    let mut named = said.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    named.any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// An address as text. IPv4 is written by hand: a formatter takes longer than all else that is done with headers here.
fn text(address: IpAddr) -> HeaderValue {
    let IpAddr::V4(address) = address else {
        let text = address.to_string();
        return HeaderValue::try_from(text).expect("an address is a header");
    };
    let (mut text, mut length) = ([b'.'; 16], 0);
    for part in address.octets() {
        let digits = [part / 100, part / 10 % 10, part % 10].map(|digit| b'0' + digit);
        let digits = &digits[[100, 10].iter().filter(|&&least| part < least).count()..];
        text[length..length + digits.len()].copy_from_slice(digits);
        length += digits.len() + 1;
    }
    HeaderValue::from_bytes(&text[..length - 1]).expect("an address is a header")
}

/// Refuses a request of which somebody in front could have thought that it ends elsewhere: that is how requests are
/// smuggled past.
pub(crate) fn check_length(headers: &HeaderMap) -> Result<(), Fault> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return Ok(());
    };
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Fault::endless("the request has two lengths"));
    }
    if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Fault::endless("the only transfer encoding is `chunked`, once"));
    }
    Ok(())
}

/// Who sent the request: the peer of the connection, or whom trusted proxies speak for.
pub(crate) fn client<B>(request: &Request<B>, settings: &Settings) -> Option<IpAddr> {
    let peer = request.extensions().get::<TcpConnectInfo>()?.remote_addr?.ip();
    Some(match &settings.proxies {
        Some(proxies) => proxies.client(peer, request.headers()),
        None => peer.to_canonical(),
    })
}

/// Refuses a request that calls this gateway by a name which is not its own: a page may have had its own name resolved to
/// the address of the gateway.
pub(crate) fn check_host<B>(request: &Request<B>, settings: &Settings) -> Result<(), Fault> {
    let misdirected = |message: &'static str| {
        Fault::new(
            http::StatusCode::MISDIRECTED_REQUEST,
            Code::InvalidArgument,
            message,
        )
    };
    let named = named(request)?;
    if !settings.hosts.is_empty() {
        let is_ours = settings.hosts.contains(&Host(named));
        return if is_ours {
            Ok(())
        } else {
            Err(misdirected("this gateway has another name"))
        };
    }
    let local = request
        .extensions()
        .get::<TcpConnectInfo>()
        .and_then(|info| info.local_addr);
    let is_private = local.is_some_and(|local| local.ip().to_canonical().is_loopback());
    let is_ours =
        |local: SocketAddr| LOOPBACK_NAMES.contains(&named.as_str()) || named == local.ip().to_string();
    if is_private && !local.is_some_and(is_ours) {
        return Err(misdirected(
            "this gateway is on a loopback address, and is called by that or by `localhost`",
        ));
    }
    Ok(())
}

/// The name that the request calls this gateway by, in lower case and without port.
pub(crate) fn named<B>(request: &Request<B>) -> Result<String, Fault> {
    let of_uri = request.uri().host().map(str::to_ascii_lowercase);
    let mut of_headers = request.headers().get_all(header::HOST).iter().map(host);
    let of_header = of_headers.next();
    if of_headers.next().is_some() {
        return Err(Fault::invalid("the request has two hosts"));
    }
    match (of_uri, of_header) {
        (_, Some(None)) | (None, None) => Err(Fault::invalid("the request has no host that could be read")),
        (Some(uri), Some(Some(header))) if uri != header => Err(Fault::invalid("the request has two hosts")),
        (Some(named), _) | (None, Some(Some(named))) => Ok(named),
    }
}

/// The host of a `Host` header, in lower case and without its port.
fn host(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let (name, port) = text.split_once(':').unwrap_or((text, "80"));
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && !name.is_empty() && name.bytes().all(is_of_name) {
        // As most are; it need not be looked for what else there may be.
        return Some(name.to_ascii_lowercase());
    }
    let authority: http::uri::Authority = text.parse().ok()?;
    // `user@host` names nobody's host.
    let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    is_plain.then(|| authority.host().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(local: &str, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::get(uri).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(header::HOST, host.parse().unwrap());
        }
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: local.parse().ok(),
            remote_addr: "[::ffff:10.0.0.9]:1000".parse().ok(),
        });
        request
    }

    fn status(local: &str, uri: &str, hosts: &[&str], settings: &Settings) -> u16 {
        let refused = check_host(&request(local, uri, hosts), settings).err();
        refused.map_or(200, |fault| {
            fault.into_response(&RequestId::of(None)).status().as_u16()
        })
    }

    #[test]
    fn a_gateway_on_loopback_is_called_by_no_name_of_others() {
        let settings = Settings::default();
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "127.0.0.1",
            "LOCALHOST",
            "[::1]:8080",
        ] {
            assert_eq!(
                status("127.0.0.1:8080", "/a/b", &[host], &settings),
                200,
                "{host}"
            );
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.1",
        ] {
            assert_eq!(
                status("127.0.0.1:8080", "/a/b", &[host], &settings),
                421,
                "{host}"
            );
        }
        // The address of every interface is none.
        assert_eq!(status("-", "/a/b", &["api.example.com"], &settings), 200);
    }

    #[test]
    fn the_names_that_are_set_are_the_only_ones() {
        let mut settings = Settings::default();
        settings.hosts.insert(Host("api.example.com".to_owned()));
        assert_eq!(status("-", "/a/b", &["API.example.com:443"], &settings), 200);
        assert_eq!(status("-", "http://api.example.com/a/b", &[], &settings), 200);
        assert_eq!(status("127.0.0.1:1", "/a/b", &["localhost"], &settings), 421);
    }

    #[test]
    fn no_host_and_two_hosts_are_refused() {
        let settings = Settings::default();
        for hosts in [&[][..], &["a", "a"], &["u@localhost"], &[""], &["a b"]] {
            assert_eq!(status("-", "/a/b", hosts, &settings), 400, "{hosts:?}");
        }
        assert_eq!(status("-", "http://a/b", &["b"], &settings), 400);
    }

    #[test]
    fn only_what_is_named_becomes_metadata() {
        let settings: Settings = toml::from_str("forward = ['accept-language']").unwrap();
        let mut request = request("127.0.0.1:1", "/a/b", &["localhost"]);
        for (name, value) in [
            ("accept-language", "de"),
            ("traceparent", "00-1-2-3"),
            ("authorization", "Bearer secret"),
            ("grpc-timeout", "99H"),
            ("micro-service", "other"),
            ("micro-endpoint", "Admin.Reset"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-md-global-user", "root"),
            ("cookie", "session"),
            ("te", "trailers"),
        ] {
            request
                .headers_mut()
                .append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let id = RequestId::of(Some(&HeaderValue::from_static("r-1")));
        let mut headers: Vec<_> = metadata(&request, &settings, &id)
            .into_headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        assert_eq!(
            headers,
            [
                "accept-language: de",
                "traceparent: 00-1-2-3",
                "x-forwarded-for: 10.0.0.9",
                "x-request-id: r-1"
            ]
        );
    }

    #[test]
    fn an_address_reads_as_it_is_always_written() {
        let of_all = (0..=255).map(|part| IpAddr::from([part, 255 - part, 10, part]));
        let others = ["::1", "2001:db8::ff", "::ffff:10.0.0.9"].map(|text| text.parse().unwrap());
        for address in of_all.chain(others) {
            assert_eq!(text(address), address.to_string());
        }
    }

    #[test]
    fn an_id_that_is_not_short_and_plain_is_replaced() {
        let given = |id: &'static str| RequestId::of(Some(&HeaderValue::from_static(id))).0;
        assert_eq!(given("a-1.b_2"), "a-1.b_2");
        for bad in [
            "",
            "a b",
            "<script>",
            "0123456789012345678901234567890123456789012345678901234567890123456789",
        ] {
            assert_eq!(given(bad).len(), 16, "{bad}");
        }
    }

    #[test]
    fn a_timeout_is_what_the_request_says_up_to_the_most() {
        let settings = Settings::default();
        let of = |text: &'static str, is_stream| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_TIMEOUT, HeaderValue::from_static(text));
            timeout(&headers, &settings, is_stream).ok()
        };
        assert_eq!(
            timeout(&HeaderMap::new(), &settings, false).ok(),
            Some(settings.timeout)
        );
        assert_eq!(of("500ms", false), Some(Duration::from_millis(500)));
        assert_eq!(of("1.5", false), Some(Duration::from_millis(1500)));
        assert_eq!(of("9h", false), Some(settings.timeout_max));
        assert_eq!(of("9h", true), Some(settings.stream_timeout_max));
        for bad in ["", "0", "-1", "soon", "1e300", "nan", "inf"] {
            assert_eq!(of(bad, false), None, "{bad}");
        }
    }
}
