//! `micro run`, up to the registry: packages that are no services, or do not build.

use std::{fs, path::Path, process::Command};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    running::{Running, eventually, is_alive},
    support::{Ended, micro, run},
};

/// Prints what it was told and its process id, and stays.
const TALKATIVE: &str = r#"fn main() {
    for name in ["NAME", "ID", "ADDRESS", "ADVERTISE"] {
        println!("{name}={:?}", std::env::var(format!("MICRO_SERVER_{name}")));
    }
    for name in ["MICRO_REGISTRY", "MICRO_REGISTRY_ADDRESS"] {
        println!("{name}={:?}", std::env::var(name));
    }
    eprintln!("in {}", std::env::current_dir().unwrap().display());
    println!("pid={}", std::process::id());
    loop {
        std::thread::park();
    }
}"#;

/// A package of one file, without dependencies.
struct Package {
    folder: TempDir,
}

impl Package {
    fn new(name: &str, main: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        let package = Self { folder };
        package.write(
            "Cargo.toml",
            &format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n"),
        );
        package.write("src/main.rs", main);
        package
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn micro(&self, arguments: &[&str]) -> Command {
        let mut command = micro(&["run"]);
        command
            .arg(self.path())
            .args(arguments)
            .env("CARGO_TARGET_DIR", self.path().join("target"));
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        run(self.micro(arguments), "").await
    }
}

/// The process id in a line of [`TALKATIVE`].
fn pid(line: &str) -> Pid {
    Pid::from_raw(line.rsplit('=').next().unwrap().parse().unwrap())
}

#[test]
fn nodes_are_told_who_they_are_and_ctrl_c_ends_them() {
    let package = Package::new("talkative", TALKATIVE);
    let mut command = package.micro(&["--nodes", "2"]);
    for (name, value) in [
        ("NAME", "exported"),
        ("ID", "exported"),
        ("ADDRESS", "127.0.0.1:9999"),
        ("ADVERTISE", "10.0.0.1:9999"),
    ] {
        command.env(format!("MICRO_SERVER_{name}"), value);
    }
    let mut run = Running::start(command);
    let mut lines = run.output_until("pid=");
    lines.extend(run.output_until("pid="));
    for node in ["talkative-1", "talkative-2"] {
        for line in [
            format!("{node} | NAME=Err(NotPresent)"),
            format!("{node} | ADDRESS=Ok(\"127.0.0.1:0\")"),
            format!("{node} | ADVERTISE=Ok(\"127.0.0.1\")"),
        ] {
            assert!(lines.contains(&line), "{line}\n{lines:#?}");
        }
        let id = format!("{node} | ID=Ok(\"{node}-");
        assert!(lines.iter().any(|line| line.starts_with(&id)), "{lines:#?}");
    }
    let pids: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("pid="))
        .map(|line| pid(line))
        .collect();
    run.signal(Signal::SIGINT);
    run.errors_until("stopping 2 nodes; Ctrl-C again kills");
    assert_eq!(run.exit_code(), Some(0));
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn nodes_are_told_the_registry_that_was_typed() {
    let package = Package::new("talkative", TALKATIVE);
    let mut command = package.micro(&["--registry", "consul", "--registry-address", "127.0.0.1:1"]);
    command
        .env("MICRO_REGISTRY", "mdns")
        .env("MICRO_REGISTRY_ADDRESS", "127.0.0.1:2");
    let lines = Running::start(command).output_until("pid=");
    for line in [
        "talkative-1 | MICRO_REGISTRY=Ok(\"consul\")",
        "talkative-1 | MICRO_REGISTRY_ADDRESS=Ok(\"127.0.0.1:1\")",
    ] {
        assert!(lines.iter().any(|said| said == line), "{line}\n{lines:#?}");
    }
}

#[test]
fn as_json_what_nodes_write_and_what_is_said_are_objects() {
    let package = Package::new("talkative", TALKATIVE);
    let mut run = Running::start(package.micro(&["--json"]));
    let parsed =
        |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let lines = run.output_until("pid=");
    let last = parsed(lines.last().unwrap());
    assert_eq!(last["process"], "talkative-1");
    let pid = pid(last["line"].as_str().unwrap());
    fs::write(package.path().join("src/main.rs"), "fn main() { greet() }").unwrap();
    for said in [
        "`src/main.rs` has changed",
        "cannot build `talkative`; what ran before goes on",
    ] {
        let lines = run.output_until(said);
        assert_eq!(parsed(lines.last().unwrap()), json!({ "message": said }));
    }
    run.signal(Signal::SIGINT);
    let lines = run.output_until("stopping");
    let message = "stopping 1 node; Ctrl-C again kills";
    assert_eq!(parsed(lines.last().unwrap()), json!({ "message": message }));
    assert_eq!(run.exit_code(), Some(0));
    assert!(!is_alive(pid));
}

#[test]
fn nodes_run_in_the_folder_of_their_package() {
    let package = Package::new("talkative", TALKATIVE);
    let run = Running::start(package.micro(&[]));
    let folder = fs::canonicalize(package.path()).unwrap();
    run.output_until(&format!("talkative-1 | in {}", folder.display()));
}

#[cfg(target_os = "linux")]
#[test]
fn nodes_do_not_survive_a_killed_run() {
    let package = Package::new("talkative", TALKATIVE);
    let run = Running::start(package.micro(&[]));
    let pid = pid(run.output_until("pid=").last().unwrap());
    assert!(is_alive(pid));
    run.signal(Signal::SIGKILL);
    eventually(|| !is_alive(pid));
}

#[test]
fn a_reader_that_goes_away_stops_the_nodes() {
    let package = Package::new("chatter", "fn main() { loop { println!(\"more\") } }");
    let mut run = Running::start(package.micro(&[]));
    run.output_until("more");
    run.close_output();
    assert_eq!(run.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_failure_shows_the_compilers_words() {
    let package = Package::new("broken", "fn main() { greet() }");
    let ended = package.run(&[]).await;
    assert_eq!((ended.code, ended.output.as_str()), (1, ""));
    assert!(
        ended
            .errors
            .contains("cannot find function `greet` in this scope"),
        "{}",
        ended.errors
    );
    assert!(
        ended.errors.ends_with("error: cannot build `broken`\n"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_start_ends_the_run_with_its_words() {
    let package = Package::new(
        "failing",
        "fn main() { eprintln!(\"no database\"); std::process::exit(7) }",
    );
    let ended = package.run(&[]).await;
    assert_eq!(
        (ended.code, ended.output.as_str()),
        (1, "failing-1 | no database\n")
    );
    assert!(
        ended
            .errors
            .ends_with("error: failing-1 ended before it was ready: exit code 7\n"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_package_or_has_no_binary_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = micro(&["run"]);
    command.arg(folder.path());
    let ended = run(command, "").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("a folder with a Cargo.toml is needed"),
        "{}",
        ended.errors
    );

    let package = Package::new("several", "fn main() {}");
    package.write("src/lib.rs", "");
    fs::create_dir(package.path().join("src/bin")).unwrap();
    package.write("src/bin/other.rs", "fn main() {}");
    let ended = package.run(&[]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("say which with --bin: other, several"),
        "{}",
        ended.errors
    );
    let ended = package.run(&["--bin", "third"]).await;
    assert!(
        ended
            .errors
            .contains("no binary `third`; there are: other, several"),
        "{}",
        ended.errors
    );

    package.write("Cargo.toml", "[workspace]\nmembers = [\"a\", \"b\"]\n");
    fs::create_dir_all(package.path().join("a/src")).unwrap();
    package.write("a/Cargo.toml", "[package]\nname = \"inner\"\n");
    package.write("a/src/main.rs", "fn main() {}");
    fs::create_dir_all(package.path().join("b/src")).unwrap();
    package.write("b/Cargo.toml", "[package]\nname = \"library\"\n");
    package.write("b/src/lib.rs", "");
    let ended = package.run(&[]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .errors
            .ends_with("give the folder of one that has a binary: a\n"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_run_decides_what_the_command_line_does_not() {
    let package = Package::new("failing", "fn main() { std::process::exit(7) }");
    package.write("micro.toml", "[run]\nnodes = 3\nbin = \"other\"\n");
    let ended = package.run(&[]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("no binary `other`"), "{}", ended.errors);

    package.write("micro.toml", "[run]\nnodes = 0\n");
    let ended = package.run(&[]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.errors.contains("micro.toml") && ended.errors.contains("allowed are 1 to 100"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_static_registry_is_refused_with_the_reason() {
    let package = Package::new("failing", "fn main() {}");
    let ended = package
        .run(&["--registry", "static", "--registry-address", "a=127.0.0.1:1"])
        .await;
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("a list of addresses"), "{}", ended.errors);
}

#[test]
fn services_of_a_list_run_together_with_their_lines_side_by_side() {
    let list = tempfile::tempdir().unwrap();
    let (a, long) = (Package::new("a", TALKATIVE), Package::new("long", TALKATIVE));
    let listed = format!(
        "[run]\nservices = [{:?}, {:?}]\n",
        a.path().display().to_string(),
        long.path().display().to_string()
    );
    fs::write(list.path().join("micro.toml"), listed).unwrap();
    let mut command = micro(&["run", "--no-gateway"]);
    command
        .arg(list.path())
        .env("CARGO_TARGET_DIR", list.path().join("target"));
    let mut run = Running::start(command);
    let mut lines = run.output_until("pid=");
    lines.extend(run.output_until("pid="));
    for begin in ["a-1    | pid=", "long-1 | pid="] {
        assert!(lines.iter().any(|line| line.starts_with(begin)), "{lines:#?}");
    }
    // What is changed in one of them is built and said, and the other is left alone.
    fs::write(a.path().join("src/main.rs"), "fn main() { greet() }").unwrap();
    run.errors_until("`src/main.rs` has changed");
    run.errors_until("cannot find function `greet`");
    run.errors_until("cannot build `a`; what ran before goes on");
    run.signal(Signal::SIGINT);
    run.errors_until("stopping 2 nodes; Ctrl-C again kills");
    assert_eq!(run.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_would_not_find_each_other_are_refused() {
    let (a, b) = (Package::new("a", TALKATIVE), Package::new("b", TALKATIVE));
    b.write("micro.toml", "[registry]\nkind = \"consul\"\n");
    let mut command = a.micro(&[]);
    command.arg(b.path());
    let ended = run(command, "").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("is in mdns at 127.0.0.1:5353 and")
            && ended.errors.contains("say by --registry"),
        "{}",
        ended.errors
    );
    let ended = a.run(&["--registry", "memory"]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("private to the process"),
        "{}",
        ended.errors
    );
}
