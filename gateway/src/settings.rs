//! What can be set, from the table `[gateway]` of `micro.toml` or in code.

use std::{collections::BTreeSet, fmt, time::Duration};

use http::{HeaderName, header};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    cors::Cors,
    export::{Export, ExportError},
    proxies::Proxies,
    rate::RateLimit,
    tokens::{self, Tokens},
};

/// The longest duration: a year is as good as for ever.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Headers that mean something between two programs, or to micro and gRPC themselves: they are never passed on.
const NEVER_FORWARDED: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("timeout"),
];
/// Nor are those that begin like this.
const NEVER_FORWARDED_PREFIXES: [&str; 5] = ["grpc-", "micro-", "proxy-", "x-forwarded-", "x-content-"];

/// What a gateway exports, and its limits.
///
/// ```
/// use std::time::Duration;
/// use micro_gateway::Settings;
///
/// let settings = Settings::exporting(["greeter", "shop/Orders/Get"])?.timeout(Duration::from_secs(2));
/// # Ok::<(), micro_gateway::ExportError>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
#[must_use]
pub struct Settings {
    pub(crate) export: Vec<Export>,
    pub(crate) hosts: BTreeSet<Host>,
    pub(crate) forward: Vec<Forwarded>,
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout_max: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) stream_timeout_max: Duration,
    #[serde(deserialize_with = "count")]
    pub(crate) body_size_max: usize,
    #[serde(deserialize_with = "count")]
    pub(crate) json_depth_max: usize,
    #[serde(deserialize_with = "count")]
    pub(crate) calls_max: usize,
    pub(crate) dashboard: bool,
    pub(crate) compression: bool,
    pub(crate) openapi: bool,
    pub(crate) cors: Option<Cors>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) proxies: Option<Proxies>,
    #[serde(deserialize_with = "tokens::tokens")]
    pub(crate) tokens: Option<Tokens>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            export: Vec::new(),
            hosts: BTreeSet::new(),
            forward: Vec::new(),
            timeout: Duration::from_secs(5),
            timeout_max: Duration::from_secs(60),
            stream_timeout_max: Duration::from_secs(60 * 60),
            body_size_max: 1024 * 1024,
            json_depth_max: 64,
            calls_max: 1024,
            dashboard: false,
            compression: false,
            openapi: true,
            cors: None,
            rate_limit: None,
            proxies: None,
            tokens: None,
        }
    }
}

impl Settings {
    /// Exports these, and sets everything else to its default.
    ///
    /// # Errors
    ///
    /// When one is neither a service nor a part of one.
    pub fn exporting<T: AsRef<str>>(exports: impl IntoIterator<Item = T>) -> Result<Self, ExportError> {
        let export: Result<Vec<_>, _> = exports.into_iter().map(|text| text.as_ref().parse()).collect();
        Ok(Self {
            export: export?,
            ..Self::default()
        })
    }

    /// Sets what is exported, whatever was before. Default: nothing.
    pub fn with_exports(mut self, exports: Vec<Export>) -> Self {
        self.export = exports;
        self
    }

    /// What is exported.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.export
    }

    /// Reads the files that are named, such as that with the keys of tokens, to find now what would else be found at the
    /// first request.
    ///
    /// # Errors
    ///
    /// What is wrong with which file.
    pub fn check_files(&self) -> Result<(), String> {
        self.tokens.as_ref().map_or(Ok(()), tokens::check_file)
    }

    /// Sets how long a call may take whose request does not say. Default: 5 s; a stream, as long as any may.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes the body of a request may have. Default: 1 MiB.
    pub fn body_size_max(mut self, bytes: usize) -> Self {
        self.body_size_max = bytes;
        self
    }

    /// Sets whether there is a dashboard, at `/dashboard`, for those at the machine of the gateway. Default: none.
    pub fn dashboard(mut self, is_shown: bool) -> Self {
        self.dashboard = is_shown;
        self
    }

    /// Whether there is a dashboard.
    #[must_use]
    pub fn has_dashboard(&self) -> bool {
        self.dashboard
    }

    /// Sets how many requests there may be at a time. Default: 1024.
    pub fn calls_max(mut self, calls: usize) -> Self {
        self.calls_max = calls;
        self
    }
}

/// A name of this gateway that a request may call it by: its `Host`, without port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host(pub(crate) String);

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let is_fine = match inner {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !text.is_empty() && text.bytes().all(is_host),
        };
        if is_fine {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(D::Error::custom(format!(
            "{text:?} is no host; expected is a name or an address without port, such as `api.example.com` or `[::1]`"
        )))
    }
}

/// A header of requests that becomes metadata of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded(pub(crate) HeaderName);

impl<'de> Deserialize<'de> for Forwarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name: HeaderName = text
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| D::Error::custom(format!("{text:?} is no name of a header")))?;
        let is_reserved = NEVER_FORWARDED.contains(&name)
            || NEVER_FORWARDED_PREFIXES
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
            || name.as_str().ends_with("-bin");
        if is_reserved {
            return Err(D::Error::custom(format!(
                "the header `{name}` cannot be passed on: it belongs to the connection, or to micro and gRPC themselves"
            )));
        }
        Ok(Self(name))
    }
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected is a duration such as `30s`, `500ms`, or a number of seconds"
    )]
    enum Written {
        Seconds(f64),
        Text(String),
    }
    let (read, shown) = match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => (Duration::try_from_secs_f64(seconds).ok(), seconds.to_string()),
        Written::Text(text) => (read_duration(&text), text),
    };
    read.filter(|duration| !duration.is_zero() && *duration <= DURATION_MAX).ok_or_else(|| {
        D::Error::custom(format!(
            "{shown:?} is no duration; expected is one such as `30s`, `500ms`, or a number of seconds, more than nothing \
             and up to 365 days"
        ))
    })
}

/// A duration as people write it: `30s`, `500ms`, or a bare number of seconds.
pub(crate) fn read_duration(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Count;
    impl serde::de::Visitor<'_> for Count {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number above 0")
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<usize, E> {
            let count = usize::try_from(number).ok().filter(|count| *count > 0);
            count.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
        }
    }
    deserializer.deserialize_i64(Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_set() {
        let settings: Settings = toml::from_str(
            r#"
            export = ["greeter", "shop/Orders/Get"]
            hosts = ["API.example.com", "[::1]"]
            forward = ["Accept-Language", "authorization"]
            timeout = "500ms"
            timeout_max = 10
            stream_timeout_max = "10m"
            body_size_max = 1000
            json_depth_max = 8
            calls_max = 2
            dashboard = true
            "#,
        )
        .unwrap();
        assert_eq!(settings.export.len(), 2);
        assert!(settings.hosts.contains(&Host("api.example.com".to_owned())));
        assert_eq!(settings.forward[1].0, header::AUTHORIZATION);
        assert!(settings.has_dashboard() && !Settings::default().has_dashboard());
        assert_eq!(settings.timeout, Duration::from_millis(500));
        assert_eq!(settings.timeout_max, Duration::from_secs(10));
        assert_eq!(
            (
                settings.body_size_max,
                settings.json_depth_max,
                settings.calls_max
            ),
            (1000, 8, 2)
        );
    }

    #[test]
    fn what_is_wrong_says_what_is_allowed() {
        for (text, expected) in [
            ("exports = []", "expected one of `export`, `hosts`"),
            ("export = [\"grpc/a/b/c\"]", "more than three parts"),
            ("export = \"greeter\"", "expected a sequence"),
            ("hosts = [\"a:80\"]", "without port"),
            ("forward = [\"grpc-timeout\"]", "cannot be passed on"),
            ("forward = [\"Host\"]", "cannot be passed on"),
            ("forward = [\"a b\"]", "no name of a header"),
            ("timeout = 0", "more than nothing"),
            ("timeout = \"soon\"", "`500ms`"),
            ("calls_max = 0", "a whole number above 0"),
            ("calls_max = -1", "a whole number above 0"),
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
