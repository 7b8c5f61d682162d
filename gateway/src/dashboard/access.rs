//! Who may see the dashboard: whoever sits at the machine of the gateway, and no page of others in their browser.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, Request, StatusCode, header};
use tonic::{Code, transport::server::TcpConnectInfo};

use crate::{
    fault::Fault,
    headers::{self, LOOPBACK_NAMES},
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

/// Refuses requests that do not come from this machine, or not for it.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Fault> {
    let is_near = |address: Option<SocketAddr>| {
        address.is_some_and(|address| address.ip().to_canonical().is_loopback())
    };
    let info = request.extensions().get::<TcpConnectInfo>();
    let is_local = info.is_some_and(|info| is_near(info.local_addr) && is_near(info.remote_addr));
    let is_forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(name));
    let is_ours = headers::named(request).is_ok_and(|named| LOOPBACK_NAMES.contains(&named.as_str()));
    if is_local && !is_forwarded && is_ours {
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

    #[test]
    fn it_is_shown_on_the_machine_itself_alone() {
        let near = "127.0.0.1:8080";
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
            assert!(check(&request(near, "127.0.0.1:5", &[("host", host)])).is_ok());
            assert!(check(&request("[::1]:80", "[::ffff:127.0.0.1]:5", &[("host", host)])).is_ok());
            for (local, remote) in [
                ("10.0.0.1:8080", "10.0.0.9:5"),
                ("10.0.0.1:8080", "127.0.0.1:5"),
                ("127.0.0.1:8080", "10.0.0.9:5"),
                ("-", "-"),
            ] {
                let refused = check(&request(local, remote, &[("host", host)]));
                assert!(refused.is_err(), "{local} {remote}");
            }
        }
        assert!(check(&Request::get("http://localhost/dashboard").body(()).unwrap()).is_err());
    }

    #[test]
    fn another_name_and_a_proxy_are_refused() {
        let near = "127.0.0.1:8080";
        for hosts in [
            &[("host", "evil.example:8080")][..],
            &[("host", "localhost.evil.example")],
            &[("host", "localhost"), ("host", "localhost")],
            &[],
            &[("host", "localhost"), ("x-forwarded-for", "10.0.0.9")],
            &[("host", "localhost"), ("forwarded", "for=10.0.0.9")],
            &[("host", "localhost"), ("via", "1.1 proxy")],
            &[("host", "localhost"), ("x-real-ip", "10.0.0.9")],
        ] {
            assert!(check(&request(near, near, hosts)).is_err(), "{hosts:?}");
        }
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
