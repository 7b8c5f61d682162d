//! `micro new`.

use std::fs;

use serde_json::{Value, json};

use crate::support::{micro, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_is_made_and_the_next_lines_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = micro(&["new", "services/my-shop"]);
    command.current_dir(&folder);
    let ended = run(command, "").await;
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    let program = env!("CARGO_BIN_EXE_micro");
    for line in [
        format!("    {program} run services/my-shop\n"),
        format!("    {program} call my-shop Say.Hello '{{\"name\":\"Ada\"}}'\n"),
    ] {
        assert!(ended.output.contains(&line), "{}", ended.output);
    }
    assert!(folder.path().join("services/my-shop/src/handler.rs").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_json_what_was_made_and_what_is_wrong_are_objects() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").unwrap();
    let new = async |name: &str| {
        let mut command = micro(&["new", name, "--template", "client", "--calls", "orders", "--json"]);
        command.current_dir(&folder);
        run(command, "").await
    };
    let ended = new("checkout").await;
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    let made: Value = serde_json::from_str(&ended.output).unwrap();
    let workspace = made["workspace"].as_str().unwrap();
    assert!(workspace.ends_with("Cargo.toml"), "{workspace}");
    assert_eq!(
        made,
        json!({
            "service": "checkout",
            "folder": "checkout",
            "template": "client",
            "calls": "orders",
            "workspace": workspace,
        })
    );
    let ended = new("checkout").await;
    assert_eq!((ended.code, ended.output.as_str()), (2, ""));
    let error: Value = serde_json::from_str(&ended.errors).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("exists already"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exists_and_what_is_no_name_is_refused_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("taken")).unwrap();
    for (path, reason) in [
        ("taken", "exists already"),
        ("match", "keyword"),
        (".", "names no new folder"),
    ] {
        let mut command = micro(&["new", path]);
        command.current_dir(&folder);
        let ended = run(command, "").await;
        assert_eq!((ended.code, ended.output.as_str()), (2, ""), "{path}");
        assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
        assert!(ended.errors.contains(reason), "{}", ended.errors);
    }
}
