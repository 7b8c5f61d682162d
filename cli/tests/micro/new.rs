//! `micro new`.

use std::fs;

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
