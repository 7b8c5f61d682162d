//! `/openapi.json`: all that can be called, as OpenAPI 3.1.

mod document;
#[cfg(test)]
mod official;
mod parameters;
mod paths;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::{settings::Settings, site::Overview};

/// Where it is.
pub(crate) const PATH: &str = "/openapi.json";

/// The document, made again when what there is has changed.
#[derive(Debug, Default)]
pub(crate) struct Page {
    latest: Mutex<Option<Written>>,
}

#[derive(Clone, Debug)]
struct Written {
    of: Arc<Overview>,
    bytes: Bytes,
    tag: HeaderValue,
}

impl Page {
    /// The document of `overview`, or that it is what the client has already.
    pub(crate) fn answer(
        &self,
        overview: &Arc<Overview>,
        settings: &Settings,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let written = self.written(overview, settings);
        let known = headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|tags| tags.to_str().ok());
        let tags = known.flat_map(|tags| tags.split(',')).map(str::trim);
        let is_known = tags
            .into_iter()
            .any(|tag| tag == "*" || *tag.trim_start_matches("W/") == written.tag);
        let mut response = Response::new(if is_known {
            Body::empty()
        } else {
            Body::new(Full::from(written.bytes))
        });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::ETAG, written.tag);
        response
    }

    fn written(&self, overview: &Arc<Overview>, settings: &Settings) -> Written {
        let mut latest = self.latest.lock().expect("no panic while it is locked");
        if let Some(written) = latest
            .as_ref()
            .filter(|written| Arc::ptr_eq(&written.of, overview))
        {
            return written.clone();
        }
        let text = document::document(overview, settings).to_string();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let written = Written {
            of: Arc::clone(overview),
            bytes: text.into(),
            tag: HeaderValue::from_str(&tag).expect("digits in quotes are a header"),
        };
        *latest = Some(written.clone());
        written
    }
}
