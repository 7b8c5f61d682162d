//! What a call carries on to the calls made on its behalf: its deadline and the metadata that travels.

use std::{future::Future, sync::Arc};

use http::{HeaderMap, HeaderName};
use tokio::{
    task::futures::TaskLocalFuture,
    task_local,
    time::{Duration, Instant},
};

use crate::{Error, Result};

task_local! {
    static CURRENT: CallContext;
}

/// The deadline and the travelling metadata of the call that is being handled.
///
/// The server sets it around a handler and around the stream that the handler answers with; the client reads it for
/// every call. Work that a handler spawns does not inherit it: take it along.
///
/// ```
/// use micro::CallContext;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let context = CallContext::current();
/// tokio::spawn(context.scope(async { /* calls made here share the deadline */ }));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallContext {
    deadline: Option<Instant>,
    metadata: Option<Arc<HeaderMap>>,
}

impl CallContext {
    /// A context of one's own: a deadline, if any, and metadata that every call made within it carries.
    #[must_use]
    pub fn new(deadline: Option<Instant>, metadata: HeaderMap) -> Self {
        Self {
            deadline,
            metadata: (!metadata.is_empty()).then(|| Arc::new(metadata)),
        }
    }

    /// The context of the call being handled; an empty one outside a handler.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// When the caller stops waiting; `None` when it waits for as long as it takes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is left until the deadline: zero once it has passed, `None` without one.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The metadata that travels on with every call.
    #[must_use]
    pub fn metadata(&self) -> Option<&HeaderMap> {
        self.metadata.as_deref()
    }

    /// Runs `future` within this context.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<CallContext, F> {
        CURRENT.scope(self, future)
    }

    /// Runs `call` within this context: for code that polls by hand.
    pub fn sync_scope<R>(&self, call: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), call)
    }
}

/// Names that always travel: W3C Trace Context and Baggage.
const ALWAYS: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];
/// The prefix that travels unless settings say otherwise.
const DEFAULT_PREFIX: &str = "x-md-global-";
/// What never travels, whatever settings say: credentials, what HTTP/2 and gRPC own, and the name of the callee.
const NEVER: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "host",
    "te",
    "content-type",
    "content-length",
    "user-agent",
];
const NEVER_PREFIXES: [&str; 3] = ["grpc-", "micro-", ":"];

/// Which metadata travels from a call to the calls made on its behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Propagation {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            exact: Vec::new(),
            prefixes: vec![DEFAULT_PREFIX.to_owned()],
        }
    }
}

impl Propagation {
    /// Reads a list of keys; one that ends in `-` or `*` is a prefix.
    pub(crate) fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for key in keys.into_iter().map(str::trim).filter(|key| !key.is_empty()) {
            let key = key.to_ascii_lowercase();
            let name = key.trim_end_matches('*');
            if HeaderName::from_bytes(name.as_bytes()).is_err() || is_never(name) {
                return Err(Error::config(format!(
                    "`propagate` has {key:?}; allowed are metadata keys and prefixes that end in `-` or `*`, \
                     but no credentials and nothing of gRPC's own"
                )));
            }
            if key.ends_with(['-', '*']) {
                prefixes.push(name.to_owned());
            } else {
                exact.push(key);
            }
        }
        Ok(Self { exact, prefixes })
    }

    /// The part of `headers` that travels on.
    pub(crate) fn select(&self, headers: &HeaderMap) -> HeaderMap {
        let mut selected = HeaderMap::new();
        for (name, value) in headers {
            if self.travels(name) {
                selected.append(name.clone(), value.clone());
            }
        }
        selected
    }

    fn travels(&self, name: &HeaderName) -> bool {
        if ALWAYS.contains(name) {
            return true;
        }
        let name = name.as_str();
        let named = self.exact.iter().any(|key| key == name)
            || self
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()));
        named && !is_never(name)
    }
}

fn is_never(name: &str) -> bool {
    NEVER.contains(&name) || NEVER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn trace_context_and_the_global_prefix_travel_and_credentials_do_not() {
        let all = headers(&[
            ("traceparent", "00-a"),
            ("x-md-global-user", "ada"),
            ("authorization", "Bearer x"),
            ("x-other", "1"),
            ("grpc-timeout", "1S"),
            ("micro-service", "greeter"),
        ]);
        let selected = Propagation::default().select(&all);
        assert_eq!(
            selected,
            headers(&[("traceparent", "00-a"), ("x-md-global-user", "ada")])
        );
    }

    #[test]
    fn keys_and_prefixes_can_be_named() {
        let propagation = Propagation::new(["x-tenant", "x-app-*"]).unwrap();
        let all = headers(&[
            ("x-tenant", "t"),
            ("x-app-a", "1"),
            ("x-md-global-user", "ada"),
            ("x-tenant-2", "u"),
        ]);
        assert_eq!(
            propagation.select(&all),
            headers(&[("x-tenant", "t"), ("x-app-a", "1")])
        );
    }

    #[test]
    fn a_wide_prefix_takes_no_credentials_along() {
        let propagation = Propagation::new(["a*", "x-*"]).unwrap();
        assert!(
            propagation
                .select(&headers(&[("authorization", "Bearer x")]))
                .is_empty()
        );
    }

    #[test]
    fn what_must_not_travel_cannot_be_named() {
        for key in ["authorization", "grpc-timeout", "micro-service", "a b", "*"] {
            assert!(Propagation::new([key]).is_err(), "{key}");
        }
    }

    #[tokio::test]
    async fn spawned_work_takes_the_context_along_explicitly() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let context = CallContext::new(Some(deadline), HeaderMap::new());
        context
            .scope(async {
                assert_eq!(CallContext::current().deadline(), Some(deadline));
                assert_eq!(
                    tokio::spawn(async { CallContext::current().deadline() })
                        .await
                        .unwrap(),
                    None
                );
                let taken = CallContext::current().scope(async { CallContext::current().deadline() });
                assert_eq!(tokio::spawn(taken).await.unwrap(), Some(deadline));
            })
            .await;
        assert_eq!(CallContext::current().deadline(), None);
    }
}
