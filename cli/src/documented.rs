//! What the pages for users show of settings is given to what reads them: to the framework, and to the gateway.

use std::{fs, time::Duration};

use micro::Service;
use serde::Deserialize;

use crate::settings;

const GATEWAY: &str = include_str!("../../docs/gateway.md");
const SECURE: &str = include_str!("../../docs/howto/secure.md");
const KUBERNETES: &str = include_str!("../../docs/howto/kubernetes.md");
const SYSTEMD: &str = include_str!("../../docs/howto/systemd.md");
const REFERENCE: &str = include_str!("../../framework/src/config/reference.toml");
const VARIABLES: &str = include_str!("../../framework/src/config/env.rs");
const DOCKERFILE: &str = include_str!("../../templates/service/Dockerfile");

/// What is the gateway's in `micro.toml`.
#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    gateway: micro_gateway::Settings,
}

/// The blocks of a page that are in this language.
fn blocks(page: &'static str, language: &str) -> Vec<&'static str> {
    let behind = page.split("\n```").skip(1).step_by(2);
    behind
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .collect()
}

/// Whether a service can be made of this `micro.toml` and these variables, where all files it names are there.
fn taken(text: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let names = ["orders".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    let mut text = text.to_owned();
    for name in text.clone().split('"').filter(|quoted| !quoted.contains('\n')) {
        let file = name.rsplit('/').next().unwrap_or_default();
        let content = match file.rsplit_once('.') {
            Some((_, "pem")) => signed.cert.pem(),
            Some((_, "key")) => signed.signing_key.serialize_pem(),
            _ if file == "consul-token" => "secret".to_owned(),
            _ => continue,
        };
        let path = folder.path().join(file);
        fs::write(&path, content).unwrap();
        text = text.replace(&format!("\"{name}\""), &format!("\"{}\"", path.display()));
    }
    let path = folder.path().join("micro.toml");
    fs::write(&path, &text).unwrap();
    settings::parse(&text).map(|file: File| drop(file.gateway))?;
    let path = path.display().to_string();
    let mut variables = variables.to_vec();
    variables.push(("MICRO_CONFIG", &path));
    let built = Service::builder("orders").environment(variables).build();
    built.map(drop).map_err(|error| format!("{error:#}"))
}

/// What stands behind `key` on its line, without a comment.
fn said<'a>(text: &'a str, key: &str) -> &'a str {
    let (_, rest) = text
        .split_once(key)
        .unwrap_or_else(|| panic!("no {key} in\n{text}"));
    let line = rest.lines().next().unwrap_or_default();
    line.split(" #")
        .next()
        .unwrap_or_default()
        .trim()
        .trim_end_matches('}')
}

fn seconds(text: &str, key: &str) -> Duration {
    Duration::from_secs(said(text, key).parse().unwrap())
}

/// A time of `[server]`, by default.
fn default(name: &str) -> Duration {
    let reference: toml::Table = REFERENCE.parse().unwrap();
    time(&reference, name)
}

fn time(settings: &toml::Table, name: &str) -> Duration {
    humantime::parse_duration(settings["server"][name].as_str().unwrap()).unwrap()
}

#[test]
fn settings_in_the_pages_are_ones_that_there_are() {
    for (name, page) in [
        ("gateway.md", GATEWAY),
        ("secure.md", SECURE),
        ("kubernetes.md", KUBERNETES),
    ] {
        let blocks = blocks(page, "toml");
        assert!(!blocks.is_empty(), "{name}");
        for block in blocks {
            taken(block, &[]).unwrap_or_else(|wrong| panic!("{name}: {wrong}\n{block}"));
        }
    }
    for wrong in [
        "[gateway]\nexports = []",
        "[gateway.cors]\norigin = []",
        "[server]\ndrain_dely = \"1s\"",
        "[client]\nallow = [\"everything\"]",
        "[registry]\nkind = \"consul\"\n[consul]\ntoken_fil = \"consul-token\"",
    ] {
        assert!(taken(wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn the_unit_gives_the_way_down_its_time_and_sets_what_there_is() {
    let [unit] = blocks(SYSTEMD, "ini")[..] else {
        panic!("the page has one unit");
    };
    assert!(seconds(unit, "TimeoutStopSec=") > default("stop_timeout"));
    let variables: Vec<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
        .collect();
    assert_eq!(variables.len(), 2, "{unit}");
    let address = said(unit, "MICRO_SERVER_ADDRESS=").replace("%i", "1");
    let port = address.rsplit(':').next().unwrap();
    assert!(
        unit.replace("%i", "1")
            .contains(&format!("http://127.0.0.1:{port}/ready")),
        "it waits for itself: {unit}"
    );
    are_set(&variables, &address);
}

#[test]
fn manifests_give_the_way_down_its_time_and_lead_to_the_port_of_the_image() {
    let [deployment, service] = blocks(KUBERNETES, "yaml")[..] else {
        panic!("the page has two blocks of manifests");
    };
    let [raised] = blocks(KUBERNETES, "toml")[..] else {
        panic!("the page has one block of settings");
    };
    let grace = seconds(deployment, "terminationGracePeriodSeconds: ");
    assert!(grace > default("stop_timeout"));
    let raised_to: toml::Table = raised.parse().unwrap();
    let stop = time(&raised_to, "stop_timeout");
    assert!(time(&raised_to, "drain_delay") + default("drain_timeout") < stop);
    let (_, grace) = raised.split_once("# and ").unwrap();
    let (grace, _) = grace.split_once(" as terminationGracePeriodSeconds").unwrap();
    assert!(Duration::from_secs(grace.parse().unwrap()) > stop);

    let port = said(DOCKERFILE, "EXPOSE ");
    assert_eq!(said(deployment, "containerPort: "), port);
    assert_eq!(said(service, "targetPort: "), port);
    let variables: Vec<_> = deployment
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- {name: ")?.split_once(", value: "))
        .filter(|(name, _)| name.starts_with("MICRO_"))
        .map(|(name, value)| (name, value.trim_end_matches('}').trim_matches('"')))
        .collect();
    assert_eq!(variables.len(), 3, "{deployment}");
    let address = variables.iter().find(|(name, _)| *name == "MICRO_SERVER_ADDRESS");
    let address = address.unwrap().1;
    assert_eq!(address.rsplit(':').next(), Some(port));
    are_set(&variables, address);
    assert!(
        deployment.contains("- name: MICRO_SERVER_ADVERTISE"),
        "{deployment}"
    );
}

/// Whether a service can be made with these variables, listening there, and each is one that is read.
fn are_set(variables: &[(&str, &str)], address: &str) {
    for (name, _) in variables {
        assert!(VARIABLES.contains(&format!("\"{name}\"")), "{name}");
    }
    let mut variables = variables.to_vec();
    // The host of the test need not have an address of its own.
    variables.extend([
        ("MICRO_SERVER_ADDRESS", address),
        ("MICRO_SERVER_ADVERTISE", "10.0.0.7"),
    ]);
    taken("", &variables).unwrap();
}
