//! A mistake in a proto file ends the build with one message that names file, line and column.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{error::Error as _, fs, path::Path};

use micro_build::{Error, ErrorKind};
use tempfile::TempDir;

/// Compiles `proto/greeter.proto` with this text, beside a correct `proto/common.proto`.
fn compile(text: &str) -> (TempDir, Result<(), Error>) {
    let folder = tempfile::tempdir().unwrap();
    let proto = folder.path().join("proto");
    fs::create_dir(&proto).unwrap();
    fs::write(
        proto.join("common.proto"),
        "syntax = \"proto3\";\npackage common;\nmessage Money {}\n",
    )
    .unwrap();
    fs::write(proto.join("greeter.proto"), text).unwrap();
    let result = compile_in(folder.path(), "proto/greeter.proto");
    (folder, result)
}

fn compile_in(folder: &Path, file: &str) -> Result<(), Error> {
    micro_build::configure()
        .out_dir(folder)
        .compile(&[folder.join(file)])
}

/// The message for this text, with the temporary folder's name taken off.
fn message(text: &str) -> String {
    let (folder, result) = compile(text);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Proto);
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn an_unknown_type_is_shown_where_it_stands() {
    let text = "syntax = \"proto3\";\npackage greeter;\n\nmessage Reply {\n  Mesage body = 1;\n}\n";
    assert_eq!(
        message(text),
        "proto/greeter.proto:5:3: name 'Mesage' is not defined\n  |\n5 |   Mesage body = 1;\n  |   ^^^^^^"
    );
}

#[test]
fn a_syntax_error_is_shown_where_it_stands() {
    let text = "syntax = \"proto3\";\nmessage Reply {\n\tstring body 1;\n}\n";
    assert_eq!(
        message(text),
        "proto/greeter.proto:3:14: expected '=', but found '1'\n  |\n3 | \tstring body 1;\n  | \t            ^"
    );
}

#[test]
fn a_file_that_ends_too_early_is_shown_at_its_end() {
    let text = "syntax = \"proto3\";\nmessage Reply {\n  string body = 1;\n";
    assert!(
        message(text).starts_with("proto/greeter.proto:3:19: expected "),
        "{}",
        message(text)
    );
}

#[test]
fn a_collision_is_shown_at_its_second_place() {
    let text = "syntax = \"proto3\";\nmessage Reply {\n  string a = 1;\n  string b = 1;\n}\n";
    assert!(
        message(text).starts_with("proto/greeter.proto:4:"),
        "{}",
        message(text)
    );
}

#[test]
fn an_import_that_is_not_there_is_shown_where_it_is_imported() {
    let text = "syntax = \"proto3\";\nimport \"comon.proto\";\n";
    assert!(
        message(text).starts_with("proto/greeter.proto:2:1: import 'comon.proto' not found\n"),
        "{}",
        message(text)
    );
}

#[test]
fn every_mistake_is_shown() {
    let text = "syntax = \"proto3\";\nmessage Reply {\n  A a = 1;\n  B b = 2;\n}\n";
    let message = message(text);
    assert!(
        message.contains("proto/greeter.proto:3:3: name 'A' is not defined"),
        "{message}"
    );
    assert!(
        message.contains("proto/greeter.proto:4:3: name 'B' is not defined"),
        "{message}"
    );
}

#[test]
fn a_mistake_in_an_imported_file_names_that_file() {
    let (folder, _) = compile("");
    fs::write(
        folder.path().join("proto/common.proto"),
        "syntax = \"proto3\";\nmessage {}\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("proto/greeter.proto"),
        "syntax = \"proto3\";\nimport \"common.proto\";\n",
    )
    .unwrap();
    let error = compile_in(folder.path(), "proto/greeter.proto").unwrap_err();
    assert!(
        error.to_string().contains("proto/common.proto:2:9: expected "),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = compile_in(folder.path(), "proto/greter.proto").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("proto/greter.proto: there is no such file"),
        "{error}"
    );
}

#[test]
fn a_circle_of_imports_is_named_without_a_place() {
    assert_eq!(
        message("syntax = \"proto3\";\nimport \"greeter.proto\";\n"),
        "proto/greeter.proto: import cycle detected: greeter.proto -> greeter.proto"
    );
}

#[test]
fn two_files_that_an_import_could_mean_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a", "b"].map(|name| {
        fs::create_dir(folder.path().join(name)).unwrap();
        let file = folder.path().join(name).join("x.proto");
        fs::write(&file, "syntax = \"proto3\";\n").unwrap();
        file
    });
    let error = micro_build::configure()
        .out_dir(folder.path())
        .compile(&files)
        .unwrap_err()
        .to_string();
    assert!(error.contains("b/x.proto' is shadowed by"), "{error}");
    assert!(!error.contains(" | "), "{error}");
}

#[test]
fn debug_is_the_message_because_cargo_shows_it() {
    let (_folder, result) = compile("syntax = \"proto3\";\nmessage {}\n");
    let error = result.unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn code_that_cannot_be_written_names_the_place_and_the_cause() {
    let (folder, _) = compile("");
    let error = micro_build::configure()
        .out_dir(folder.path().join("missing"))
        .compile(&[folder.path().join("proto/common.proto")])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
    assert!(error.to_string().contains("missing/common.rs"), "{error}");
    assert!(error.source().is_some());
}
