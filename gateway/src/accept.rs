//! In which form an answer is wanted.

use http::{HeaderMap, StatusCode, header};
use tonic::Code;

use crate::fault::Fault;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One message as JSON.
    Json,
    /// A stream of them, one JSON a line.
    Lines,
    /// A stream of them as server-sent events.
    Events,
}

impl Format {
    /// The first form in `Accept` that a method with such answers has; any, if nothing is said.
    pub(crate) fn wanted(headers: &HeaderMap, is_stream: bool) -> Result<Self, Fault> {
        let accept = headers.get_all(header::ACCEPT).iter();
        let ranges: Vec<&str> = accept
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .collect();
        if ranges.is_empty() {
            return Ok(if is_stream { Self::Lines } else { Self::Json });
        }
        let mut fitting = ranges.into_iter().filter_map(|range| Self::of(range, is_stream));
        fitting.next().ok_or_else(|| {
            let message = if is_stream {
                "the answers are a stream: application/x-ndjson or text/event-stream"
            } else {
                "the answer is application/json"
            };
            Fault::new(StatusCode::NOT_ACCEPTABLE, Code::InvalidArgument, message)
        })
    }

    fn of(range: &str, is_stream: bool) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next()?.to_ascii_lowercase();
        let is_refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        match kind.as_str() {
            _ if is_refused => None,
            "*/*" | "application/*" | "application/json" if !is_stream => Some(Self::Json),
            "*/*" | "application/*" | "application/x-ndjson" | "application/json" if is_stream => {
                Some(Self::Lines)
            }
            "text/event-stream" | "text/*" if is_stream => Some(Self::Events),
            _ => None,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &'static str, is_stream: bool) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Format::wanted(&headers, is_stream).ok()
    }

    #[test]
    fn the_first_form_that_fits_is_taken() {
        assert_eq!(Format::wanted(&HeaderMap::new(), false), Ok(Format::Json));
        assert_eq!(Format::wanted(&HeaderMap::new(), true), Ok(Format::Lines));
        assert_eq!(wanted("text/html, */*;q=0.8", false), Some(Format::Json));
        assert_eq!(wanted("text/event-stream", true), Some(Format::Events));
        assert_eq!(
            wanted("Application/X-NDJSON;q=0.1, text/event-stream", true),
            Some(Format::Lines)
        );
    }

    #[test]
    fn a_form_that_there_is_not_is_refused() {
        assert_eq!(wanted("text/html", false), None);
        assert_eq!(wanted("application/json;q=0", false), None);
        assert_eq!(wanted("text/event-stream", false), None);
        assert_eq!(wanted("image/*", true), None);
    }
}
