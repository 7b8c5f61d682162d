//! The files of the page, which are part of the program: nothing is loaded from elsewhere.

use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::Full;
use tonic::body::Body;

/// What the page may do: load its own files, ask its own gateway, and nothing else. Data become text, never markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 8] = [
    Asset {
        path: "/dashboard",
        content_type: HTML,
        text: include_str!("assets/dashboard.html"),
    },
    Asset {
        path: "/dashboard.css",
        content_type: STYLE,
        text: include_str!("assets/dashboard.css"),
    },
    Asset {
        path: "/dashboard.js",
        content_type: SCRIPT,
        text: include_str!("assets/dashboard.js"),
    },
    Asset {
        path: "/dashboard.view.js",
        content_type: SCRIPT,
        text: include_str!("assets/dashboard.view.js"),
    },
    Asset {
        path: "/dashboard.call.js",
        content_type: SCRIPT,
        text: include_str!("assets/dashboard.call.js"),
    },
    Asset {
        path: "/dashboard.form.js",
        content_type: SCRIPT,
        text: include_str!("assets/dashboard.form.js"),
    },
    Asset {
        path: "/dashboard.dom.js",
        content_type: SCRIPT,
        text: include_str!("assets/dashboard.dom.js"),
    },
    Asset {
        path: "/dashboard.svg",
        content_type: "image/svg+xml",
        text: include_str!("assets/dashboard.svg"),
    },
];

/// The file at `path`, as an answer.
pub(super) fn at(path: &str) -> Option<Response<Body>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let mut response = Response::new(Body::new(Full::from(asset.text)));
    for (name, value) in [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_no_data_become_markup() {
        for asset in &ASSETS {
            // The name of a language of markup is no address.
            let text = asset.text.replace("http://www.w3.org/2000/svg", "");
            for forbidden in [
                "http://",
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "<style",
                " style=",
                " onclick",
                "javascript:",
            ] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", asset.path);
            }
        }
    }
}
