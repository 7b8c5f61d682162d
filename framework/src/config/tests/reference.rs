//! The reference says everything that can be set, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn the_reference_holds_every_key_with_its_default() {
    let loaded = load(REFERENCE, &[]).unwrap();
    assert_changes_nothing(&loaded);
    for table in [
        "registry",
        "server",
        "server.tls",
        "client",
        "client.tls",
        "consul",
        "telemetry.otlp",
    ] {
        assert_eq!(keys_in_reference(table), keys_allowed(table), "[{table}]");
    }
}

#[test]
fn what_the_reference_shows_in_comments_is_allowed_too() {
    let uncommented: String = REFERENCE
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
        .collect();
    load(&uncommented, &[]).unwrap();
}

const REFERENCE: &str = include_str!("../reference.toml");

/// The keys of `table` in the reference, set or in a comment.
fn keys_in_reference(table: &str) -> BTreeSet<String> {
    let header = format!("[{table}]");
    let lines = REFERENCE
        .lines()
        .skip_while(|line| !line.starts_with(&header))
        .skip(1);
    let mut in_sub_table = false;
    lines
        .take_while(|line| !line.starts_with('[') || line.starts_with(&format!("[{table}.")))
        .filter_map(|line| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            match line.strip_prefix(&format!("[{table}.")) {
                Some(sub) => {
                    in_sub_table = true;
                    sub.split(']').next()
                }
                None if in_sub_table => None,
                None => line.split_once(" = ").map(|(key, _)| key.trim()),
            }
        })
        .map(str::to_owned)
        .collect()
}

/// The keys of `table` that the error about an unknown one lists.
fn keys_allowed(table: &str) -> BTreeSet<String> {
    let message = refused(&format!("[{table}]\nno_such_key = 1"), &[]);
    let (_, listed) = message.split_once(" expected ").unwrap();
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_limit_of_server_and_client_can_be_set() {
    let changed: String = REFERENCE
        // Its default is no number, so it stands in a comment.
        .replace("# pending_resets_max", "pending_resets_max")
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((key, value)) if !line.starts_with('#') => format!("{key} = {}\n", another(value)),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = load(&changed, &[]).unwrap();
    let (before, after) = (defaults(), laid_over_defaults(&loaded));
    let (before, after) = (fields(&before), fields(&after));
    assert_eq!(before.len(), after.len());
    for (field, value) in before {
        // What has no default to change stands in comments.
        let free = "own name version id advertise metadata reach zone subset_seed tls";
        let (_, key) = field;
        assert!(
            value != after[&field] || free.split(' ').any(|free| free == key),
            "not set: {key}: {value}"
        );
    }
}

/// The fields of one struct after the other, as `{:#?}` shows them: by the number of the struct and the name, as many lines as
/// a value has.
fn fields(shown: &str) -> BTreeMap<(usize, &str), String> {
    let (mut fields, mut number, mut last) = (BTreeMap::<_, String>::new(), 0, None);
    for line in shown.lines() {
        let first = line
            .strip_prefix("    ")
            .filter(|line| line.starts_with(char::is_alphabetic));
        if let Some((name, value)) = first.and_then(|line| line.split_once(": ")) {
            last = Some((number, name));
            fields.insert((number, name), value.to_owned());
        } else if line.starts_with("    ") {
            fields
                .entry(last.expect("a value has a field"))
                .or_default()
                .push_str(line);
        } else {
            number += 1;
        }
    }
    fields
}

/// A value other than `value` that the same key allows.
fn another(value: &str) -> &'static str {
    match value.split('#').next().unwrap_or_default().trim() {
        "\"mdns\"" => "\"memory\"",
        "\"127.0.0.1:0\"" => "\"127.0.0.1:1\"",
        "false" => "true",
        "\"least_loaded\"" => "\"random\"",
        value if value.starts_with('[') => "[\"x-other-\"]",
        value if value.starts_with('"') => "\"7m\"",
        _ => "7",
    }
}
