//! Where a node stands in etcd: `/micro/registry/<service>/<node id>`, as Go Micro has it.

use std::{borrow::Cow, str, sync::Arc};

use micro_registry::{Error, ErrorKind, Result, ServiceName};

/// Below which all keys stand, unless the builder says otherwise; Go Micro's prefix.
const DEFAULT_PREFIX: &str = "/micro/registry";
/// The longest prefix in bytes.
const PREFIX_LENGTH_MAX: usize = 255;
/// What stands between the parts of a key.
const SEPARATOR: char = '/';
/// What marks a character that stands for another one.
const ESCAPE: char = '%';

/// The keys below a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// With a separator at its end.
    prefix: Arc<str>,
}

impl Keys {
    /// The keys below `prefix`, with or without a `/` at its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for a prefix without a name between its `/`.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let names = prefix.strip_suffix(SEPARATOR).unwrap_or(prefix);
        let mut parts = names.strip_prefix(SEPARATOR).unwrap_or(names).split(SEPARATOR);
        let is_name = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        if names.len() > PREFIX_LENGTH_MAX || !parts.all(is_name) {
            let shown: String = prefix.chars().take(PREFIX_LENGTH_MAX).collect();
            let message = format!(
                "key prefix {shown:?} is not allowed; allowed are up to {PREFIX_LENGTH_MAX} printable ASCII characters \
                 without spaces, with a `/` between names, as in `{DEFAULT_PREFIX}`"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self {
            prefix: format!("{names}{SEPARATOR}").into(),
        })
    }

    /// How the keys of all services begin.
    pub(crate) fn all(&self) -> &str {
        &self.prefix
    }

    /// How the keys of all nodes of `service` begin.
    pub(crate) fn service(&self, service: &ServiceName) -> String {
        format!("{}{service}{SEPARATOR}", self.prefix)
    }

    /// The key of the node `id` of `service`.
    pub(crate) fn node(&self, service: &ServiceName, id: &str) -> String {
        format!("{}{service}{SEPARATOR}{}", self.prefix, place(id))
    }

    /// The first key behind those of all nodes of the service that `key` is one of.
    pub(crate) fn behind_service_of(&self, key: &[u8]) -> Option<Vec<u8>> {
        Some(behind(&self.service(&self.service_of(key)?)))
    }

    /// The service that a node at `key` is one of, if it can be asked for.
    pub(crate) fn service_of(&self, key: &[u8]) -> Option<ServiceName> {
        let rest = str::from_utf8(key).ok()?.strip_prefix(&*self.prefix)?;
        let (service, place) = rest.split_once(SEPARATOR)?;
        is_place(place).then_some(service)?.parse().ok()
    }
}

/// Those of Go Micro.
impl Default for Keys {
    fn default() -> Self {
        Self::new(DEFAULT_PREFIX).expect("the default is allowed")
    }
}

/// The last part of a node's key, another one for each id: a `/` is not allowed in it, and written as URLs have it.
pub(crate) fn place(id: &str) -> Cow<'_, str> {
    if id.contains([SEPARATOR, ESCAPE]) {
        return id.replace(ESCAPE, "%25").replace(SEPARATOR, "%2F").into();
    }
    id.into()
}

/// Whether a node with this id can stand at `place`: where we put it, or where Go Micro does, whose `-` may be a `/`.
pub(crate) fn is_place_of(place: &str, id: &str) -> bool {
    place == self::place(id) || place == id.replace(SEPARATOR, "-")
}

/// The last part of `key`, whose other parts are `service`, as [`Keys::service`] has them; `None` if no node can stand
/// there.
pub(crate) fn place_in<'a>(service: &str, key: &'a [u8]) -> Option<&'a str> {
    let place = str::from_utf8(key.strip_prefix(service.as_bytes())?).ok()?;
    is_place(place).then_some(place)
}

/// The first key behind all that begin with `prefix`, which ends in a separator.
pub(crate) fn behind(prefix: &str) -> Vec<u8> {
    let mut key = prefix.as_bytes().to_vec();
    if let Some(last) = key.last_mut() {
        *last += 1;
    }
    key
}

fn is_place(text: &str) -> bool {
    !text.is_empty() && !text.contains(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeter() -> ServiceName {
        "greeter".parse().unwrap()
    }

    #[test]
    fn a_node_stands_where_go_micro_looks_for_it() {
        let keys = Keys::default();
        for (id, key) in [
            ("greeter-4f9f8e6c", "/micro/registry/greeter/greeter-4f9f8e6c"),
            ("a/b//c", "/micro/registry/greeter/a%2Fb%2F%2Fc"),
            ("\u{e9}=%2F", "/micro/registry/greeter/\u{e9}=%252F"),
        ] {
            let found = keys.node(&greeter(), id);
            assert_eq!(found, key);
            assert_eq!(
                place_in(&keys.service(&greeter()), found.as_bytes()),
                Some(&*place(id))
            );
            assert_eq!(keys.service_of(found.as_bytes()), Some(greeter()));
        }
    }

    #[test]
    fn ids_that_are_alike_stand_apart_and_where_go_micro_puts_them_they_are_found_too() {
        let ids = ["a/b", "a-b", "a%2Fb", "a%252Fb", "a%2fb"];
        for id in ids {
            let taken: Vec<_> = ids
                .into_iter()
                .filter(|other| place(other) == place(id))
                .collect();
            assert_eq!(taken, [id]);
            assert!(is_place_of(&place(id), id));
        }
        assert!(is_place_of("a-b", "a/b"));
        assert!(is_place_of("a%2Fb", "a%2Fb"));
        assert!(!is_place_of("a-b", "a.b"));
        assert!(!is_place_of("a/b", "a/b"));
    }

    #[test]
    fn what_is_behind_a_service_is_behind_all_its_keys_and_before_all_others() {
        let keys = Keys::default();
        let behind = keys
            .behind_service_of("/micro/registry/greeter/\u{e9}".as_bytes())
            .unwrap();
        assert_eq!(behind, b"/micro/registry/greeter0");
        for other in [
            "greeter-v2",
            "greeter.v2",
            "Greeter",
            "greeter0",
            "greeter_v2",
            "greeters",
        ] {
            let key = keys.node(&other.parse().unwrap(), "1").into_bytes();
            let own = keys.node(&greeter(), "1").into_bytes();
            assert_eq!(key < own, key < behind, "{other}");
        }
        assert_eq!(super::behind(keys.all()), b"/micro/registry0");
    }

    #[test]
    fn a_service_has_no_key_of_one_whose_name_begins_with_its_own() {
        let keys = Keys::new("/a").unwrap();
        let other = keys.node(&"greeter-v2".parse().unwrap(), "1");
        assert_eq!(place_in(&keys.service(&greeter()), other.as_bytes()), None);
    }

    #[test]
    fn what_is_no_key_of_a_node_names_neither_service_nor_node() {
        let keys = Keys::default();
        for key in [
            &b"/micro/registry/greeter"[..],
            b"/micro/registry/greeter/",
            b"/micro/registry/greeter/a/b",
            b"/micro/registry/greeter/\xff",
            b"/micro/registry/-/a",
            b"/micro/registry//a",
            b"/micro/registries/greeter/a",
            b"",
        ] {
            let shown = String::from_utf8_lossy(key);
            assert_eq!(keys.service_of(key), None, "{shown}");
            assert_eq!(place_in(&keys.service(&greeter()), key), None, "{shown}");
        }
    }

    #[test]
    fn prefixes_are_taken_with_and_without_their_ends() {
        for (prefix, all) in [
            ("/micro/registry", "/micro/registry/"),
            ("/micro/registry/", "/micro/registry/"),
            ("team-a", "team-a/"),
        ] {
            assert_eq!(Keys::new(prefix).unwrap().all(), all);
        }
    }

    #[test]
    fn prefixes_that_are_none_say_what_is_allowed() {
        let long = "x".repeat(PREFIX_LENGTH_MAX + 1);
        for prefix in ["", "/", "//", "/a//b", "a b", "/\u{e9}", "/a\0", "/a\n", &long] {
            let error = Keys::new(prefix).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("allowed are"), "{error}");
        }
    }
}
