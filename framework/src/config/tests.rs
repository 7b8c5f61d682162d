//! Precedence, and what each mistake is answered with.

mod reference;

use std::{fs, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    ErrorKind,
    backends::RegistrySettings,
    client, server,
    service::{Identity, Settings},
};

struct World {
    _folder: TempDir,
    environment: Environment,
}

/// A file with `text`, and `variables`.
fn world(text: &str, variables: &[(&str, &str)]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("micro.toml");
    fs::write(&path, text).unwrap();
    let file = ("MICRO_CONFIG", path.to_str().unwrap());
    let variables = variables.iter().copied().chain([file]);
    World {
        environment: Environment::Given(variables.map(|(name, text)| (name.into(), text.into())).collect()),
        _folder: folder,
    }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded> {
    Loaded::load(&world(text, variables).environment)
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    let error = load(text, variables).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    format!("{error:#}")
}

/// Everything that can be set, as it is when `loaded` is laid over the defaults.
fn laid_over_defaults(loaded: &Loaded) -> String {
    let (mut registry, mut lifecycle, mut who) =
        (RegistrySettings::default(), Settings::default(), identity());
    let (mut server, mut client) = (server::Settings::default(), client::Settings::default());
    loaded.registry(&mut registry);
    loaded.lifecycle(&mut lifecycle);
    loaded.identity(&mut who);
    loaded.server(&mut server);
    loaded.client(&mut client);
    format!("{registry:#?} {lifecycle:#?} {who:#?} {server:#?} {client:#?}")
}

/// Everything, with nothing set.
fn defaults() -> String {
    laid_over_defaults(&Loaded::load(&Environment::Given(Default::default())).unwrap())
}

fn identity() -> Identity {
    Identity::new("greeter".parse().unwrap())
}

#[test]
fn later_wins_from_defaults_over_code_and_file_to_the_environment() {
    let loaded = load(
        "[registry]\nttl = 40\n[server]\nversion = '2'\ndrain_delay = '4s'",
        &[("MICRO_REGISTER_TTL", "50s")],
    )
    .unwrap();
    let mut settings = Settings {
        drain_timeout: Duration::from_secs(7),
        drain_delay: Duration::from_secs(7),
        ..Settings::default()
    };
    loaded.lifecycle(&mut settings);
    assert_eq!(settings.ttl, Duration::from_secs(50));
    assert_eq!(settings.drain_delay, Duration::from_secs(4));
    assert_eq!(settings.drain_timeout, Duration::from_secs(7));
    assert_eq!(settings.hook_timeout, Settings::default().hook_timeout);
    let mut identity = Identity {
        version: "1".to_owned(),
        ..identity()
    };
    loaded.identity(&mut identity);
    assert_eq!(identity.version, "2");
}

#[test]
fn metadata_adds_up_key_by_key() {
    let loaded = load(
        "[server.metadata]\n\"a.b/c\" = 'file'\nzone = 'file'",
        &[("MICRO_SERVER_METADATA", "zone=environment,rack=7")],
    )
    .unwrap();
    let mut identity = identity();
    identity.metadata.insert("team".into(), "code".into());
    identity.metadata.insert("zone".into(), "code".into());
    loaded.identity(&mut identity);
    let expected = [
        ("a.b/c", "file"),
        ("rack", "7"),
        ("team", "code"),
        ("zone", "environment"),
    ];
    let metadata: Vec<_> = identity
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(metadata, expected);
}

#[test]
fn variables_that_are_unset_empty_or_unknown_change_nothing() {
    let variables = TABLE_NAMES.map(|name| (name, " "));
    let foreign = [
        ("MICRO_GREETER_PORT_9090_TCP", "tcp://10.0.0.1:9090"),
        ("MICRO_X", "?"),
    ];
    let loaded = load("", &[&variables[..], &foreign[..]].concat()).unwrap();
    assert_changes_nothing(&loaded);
}

/// Whatever it is applied to stays at its default.
fn assert_changes_nothing(loaded: &Loaded) {
    let (mut registry, mut settings, mut who) =
        (RegistrySettings::default(), Settings::default(), identity());
    loaded.registry(&mut registry);
    loaded.lifecycle(&mut settings);
    loaded.identity(&mut who);
    assert_eq!(
        format!("{registry:?}"),
        format!("{:?}", RegistrySettings::default())
    );
    assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
    assert_eq!(format!("{who:?}"), format!("{:?}", identity()));
}

const TABLE_NAMES: [&str; env::TABLE.len()] = {
    let mut names = [""; env::TABLE.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = env::TABLE[at].0;
        at += 1;
    }
    names
};

#[test]
fn every_variable_sets_its_key() {
    let values = [
        "consul", "a:1, b:2", "3", "orders", "1.2.3", "orders-1", ":8080", "10.0.0.7", "zone=a", "7s",
    ];
    let variables: Vec<_> = TABLE_NAMES.into_iter().zip(values).collect();
    let loaded = load("", &variables).unwrap();
    let (mut registry, mut settings, mut who) =
        (RegistrySettings::default(), Settings::default(), identity());
    loaded.registry(&mut registry);
    loaded.lifecycle(&mut settings);
    loaded.identity(&mut who);
    assert_eq!(
        (registry.kind(), registry.addresses()),
        ("consul", &["a:1".to_owned(), "b:2".to_owned()][..])
    );
    assert_eq!(settings.ttl, Duration::from_secs(3));
    assert_eq!((who.name.as_str(), who.version.as_str()), ("orders", "1.2.3"));
    assert_eq!(who.id.as_deref(), Some("orders-1"));
    assert_eq!(who.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(who.advertise, Some("10.0.0.7".parse().unwrap()));
    assert_eq!(who.metadata["zone"], "a");
}

#[test]
fn an_unknown_key_is_refused_with_the_keys_there_are() {
    let message = refused("[server]\ndrian_delay = 1", &[]);
    assert!(
        message.contains("micro.toml: server: unknown key `drian_delay`"),
        "{message}"
    );
    assert!(message.contains("`drain_delay`"), "{message}");
    let message = refused("[sever]", &[]);
    assert!(
        message.contains("micro.toml: unknown key `sever`, expected one of `registry`"),
        "{message}"
    );
}

#[test]
fn a_value_that_is_not_allowed_is_refused_by_file_and_key() {
    for (text, key, expected) in [
        (
            "[registry]\nttl = 'soon'",
            "registry.ttl",
            "a duration such as `30s`",
        ),
        ("[registry]\nttl = -1", "registry.ttl", "a duration such as `30s`"),
        (
            "[registry]\nttl = true",
            "registry.ttl",
            "a duration such as `30s`",
        ),
        (
            "[server]\naddress = '9090'",
            "server.address",
            "expected host:port",
        ),
        ("[server]\nversion = 1.20", "server.version", "expected a string"),
        (
            "[server]\nname = 'a/b'",
            "server.name",
            "allowed are 1 to 63 letters",
        ),
        (
            "[server.metadata]\nzone = 1",
            "server.metadata.zone",
            "expected a string",
        ),
        ("[server]\nid = 'a b'", "server.id", "has a space"),
        (
            "[server.metadata]\nzone = \"a\\u0000b\"",
            "server.metadata",
            "without NUL",
        ),
        (
            "[server]\nstreams_max = 4294967296",
            "server.streams_max",
            "expected a whole number from 1 to 4294967295",
        ),
        (
            "[server]\ncalls_max = 0",
            "server.calls_max",
            "expected a whole number of at least 1",
        ),
        (
            "[client]\nstream_window = 0",
            "client.stream_window",
            "expected a whole number from 1 to 2147483647",
        ),
        (
            "[client]\nstream_window = 2147483648",
            "client.stream_window",
            "expected a whole number from 1 to 2147483647",
        ),
        (
            "[client]\nstream_window = '2 MiB'",
            "client.stream_window",
            "expected a whole number from 1 to 2147483647",
        ),
        ("server = 1", "server", "expected a table"),
        (
            "[registry]\naddress = [1]",
            "registry.address[0]",
            "expected a string",
        ),
    ] {
        let message = refused(text, &[]);
        assert!(message.contains(&format!("micro.toml: {key}: ")), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_value_that_is_not_allowed_is_refused_by_its_variable() {
    for (variable, value, expected) in [
        ("MICRO_REGISTER_TTL", "soon", "a duration such as `30s`"),
        ("MICRO_SERVER_ADDRESS", "9090", "expected host:port"),
        ("MICRO_SERVER_ADVERTISE", "0.0.0.0", "expected host:port"),
        ("MICRO_SERVER_METADATA", "zone", "expected key=value"),
        ("MICRO_SERVER_ID", "a b", "has a space"),
        ("MICRO_SERVER_NAME", "../agent", "allowed are 1 to 63 letters"),
    ] {
        let message = refused("", &[(variable, value)]);
        assert!(message.starts_with(&format!("{variable}: ")), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_variable_whose_pairs_no_registry_can_hold_is_named() {
    let long = format!("zone={}", "a".repeat(5_000));
    let message = refused("", &[("MICRO_SERVER_METADATA", &long)]);
    assert!(message.starts_with("MICRO_SERVER_METADATA: "), "{message}");
}

#[test]
fn a_variable_hides_no_mistake_in_the_file() {
    let message = refused("[registry]\nttl = 'soon'", &[("MICRO_REGISTER_TTL", "30s")]);
    assert!(message.contains("micro.toml: registry.ttl"), "{message}");
}

#[test]
fn what_is_no_toml_is_shown_with_its_line() {
    let message = refused("[server]\nname = ", &[]);
    assert!(
        message.contains("micro.toml") && message.contains("line 2"),
        "{message}"
    );
}

#[test]
fn a_file_that_was_named_and_is_missing_is_an_error() {
    let variables = [("MICRO_CONFIG".to_owned(), "/nowhere/micro.toml".to_owned())];
    let error = Loaded::load(&Environment::Given(variables.into())).unwrap_err();
    assert!(error.to_string().contains("read /nowhere/micro.toml"), "{error}");
    assert!(Loaded::load(&Environment::Given(Default::default())).is_ok());
}

#[test]
fn the_largest_window_of_http_2_is_allowed() {
    let loaded = load("[client]\nstream_window = 2147483647", &[]);
    let set = laid_over_defaults(&loaded.unwrap());
    assert!(set.contains("stream_window: 2147483647"), "{set}");
}

#[test]
fn ranges_of_addresses_are_set_and_checked() {
    let loaded = load("[client]\nallow = '10.0.0.0/8'\ndeny = ['loopback']", &[]);
    let set = laid_over_defaults(&loaded.unwrap());
    assert!(set.contains("10.0.0.0/8") && set.contains("loopback"), "{set}");
    let loaded = load(
        "[client]\nown_loopback = false",
        &[("MICRO_CLIENT_OWN_LOOPBACK", "true")],
    );
    let set = laid_over_defaults(&loaded.unwrap());
    assert!(set.contains("own_loopback: true"), "{set}");
    let message = refused("[client]\ndeny = ['10.0.0.1/8']", &[]);
    assert!(message.contains("client.deny: \"10.0.0.1/8\" is an"), "{message}");
}

#[test]
fn the_table_of_micro_run_is_skipped() {
    load(
        "[run]\nnodes = 2\nanything = ['goes']\n[gateway]\nexport = ['greeter']",
        &[],
    )
    .unwrap();
}
