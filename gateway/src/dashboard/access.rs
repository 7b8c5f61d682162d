//! Who may see the dashboard: whoever sits at the machine of the gateway, and no page of others in their browser.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use tonic::{Code, transport::server::TcpConnectInfo};

use crate::{
    fault::Fault,
    headers::{self, LOOPBACK_NAMES},
    settings::Settings,
};

/// What a proxy says for the one it speaks for: that one is somewhere else.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REFUSAL: &str = "the dashboard tells of the inside, and is shown on the machine of the gateway alone, at localhost; \
                       from elsewhere, `ssh -L` brings it";

/// Refuses requests that call by a foreign name, as all of the gateway does, and those that do not come from this machine, or not
/// for it.
pub(super) fn check<B>(request: &Request<B>, settings: &Settings) -> Result<(), Fault> {
    let is_of_machine = LOOPBACK_NAMES.contains(&headers::named(request)?.as_str());
    if !is_of_machine {
        headers::check_host(request, settings)?;
    }
    let is_near = |address: Option<SocketAddr>| {
        address.is_some_and(|address| address.ip().to_canonical().is_loopback())
    };
    let info = request.extensions().get::<TcpConnectInfo>();
    let is_local = info.is_some_and(|info| is_near(info.local_addr) && is_near(info.remote_addr));
    let is_forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(name));
    if is_local && !is_forwarded && is_of_machine {
        return Ok(());
    }
    Err(Fault::new(StatusCode::FORBIDDEN, Code::PermissionDenied, REFUSAL))
}

/// Refuses what a page of another origin asks for.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let site = headers.get(FETCH_SITE);
    let is_near = site.is_none_or(|site| site == "same-origin" || site == "none");
    let of_host = |origin: &str| {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let plain = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        plain.is_some() && plain == host
    };
    let origin = headers.get(header::ORIGIN);
    let is_own = origin.is_none_or(|origin| origin.to_str().is_ok_and(of_host));
    if is_near && is_own {
        return Ok(());
    }
    let message = "the dashboard answers to its own page alone";
    Err(Fault::new(StatusCode::FORBIDDEN, Code::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(local: &str, remote: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::get("/dashboard").body(()).unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: local.parse().ok(),
            remote_addr: remote.parse().ok(),
        });
        request
    }

    fn status(request: &Request<()>) -> u16 {
        let refused = check(request, &Settings::default()).err();
        refused.map_or(200, |fault| {
            let response = fault.into_response(&headers::RequestId::of(None));
            response.status().as_u16()
        })
    }

    #[test]
    fn it_is_shown_on_the_machine_itself_alone() {
        let near = "127.0.0.1:8080";
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(status(&request(near, "127.0.0.1:5", &[("host", host)])), 200);
            assert_eq!(
                status(&request("[::1]:80", "[::ffff:127.0.0.1]:5", &[("host", host)])),
                200
            );
            for (local, remote) in [
                ("10.0.0.1:8080", "10.0.0.9:5"),
                ("10.0.0.1:8080", "127.0.0.1:5"),
                ("127.0.0.1:8080", "10.0.0.9:5"),
                ("-", "-"),
            ] {
                let refused = status(&request(local, remote, &[("host", host)]));
                assert_eq!(refused, 403, "{local} {remote}");
            }
        }
        let unknown = Request::get("http://localhost/dashboard").body(()).unwrap();
        assert_eq!(status(&unknown), 403);
    }

    #[test]
    fn another_name_and_a_proxy_are_refused() {
        let near = "127.0.0.1:8080";
        for (hosts, expected) in [
            (&[("host", "evil.example:8080")][..], 421),
            (&[("host", "localhost.evil.example")], 421),
            (&[("host", "localhost"), ("host", "localhost")], 400),
            (&[], 400),
            (&[("host", "localhost"), ("x-forwarded-for", "10.0.0.9")], 403),
            (&[("host", "localhost"), ("forwarded", "for=10.0.0.9")], 403),
            (&[("host", "localhost"), ("via", "1.1 proxy")], 403),
            (&[("host", "localhost"), ("x-real-ip", "10.0.0.9")], 403),
        ] {
            assert_eq!(status(&request(near, near, hosts)), expected, "{hosts:?}");
        }
        // Where every name is the gateway's, none is foreign.
        let elsewhere = request("10.0.0.1:8080", "10.0.0.9:5", &[("host", "evil.example")]);
        assert_eq!(status(&elsewhere), 403);
    }

    #[test]
    fn only_its_own_page_may_ask() {
        let check = |headers: &[(&'static str, &str)]| {
            check_origin(request("127.0.0.1:1", "127.0.0.1:2", headers).headers()).is_ok()
        };
        assert!(check(&[("host", "localhost:8080")]));
        assert!(check(&[
            ("host", "localhost:8080"),
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!check(&[
            ("host", "localhost:8080"),
            ("origin", "http://localhost:3000")
        ]));
        assert!(!check(&[("host", "localhost:8080"), ("origin", "null")]));
        assert!(!check(&[
            ("host", "localhost:8080"),
            ("sec-fetch-site", "cross-site")
        ]));
        assert!(!check(&[
            ("host", "localhost:8080"),
            ("sec-fetch-site", "same-site")
        ]));
    }
}
