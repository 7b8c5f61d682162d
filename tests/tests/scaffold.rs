//! What `micro new` makes: it builds without a warning, passes its own tests, runs under `micro run` and answers `micro
//! call`, with mDNS and with Consul; a second one, in the same workspace, calls it, a third is
//! a gateway in front of it; and what is changed in it runs. A registry of one's own passes the suite of all.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use micro_test_servers::Consul;
use nix::{sys::signal, unistd::Pid};
use tempfile::TempDir;

/// One that answers, and one that calls it.
const NAME: &str = "scaffolded";
const CALLER: &str = "calling";
/// One that is asked over HTTP in front of the first.
const EDGE: &str = "fronting";
/// A registry of one's own.
const BACKEND: &str = "keeping";
/// Building, starting and being found, on a machine that has other things to do.
const READY_WAIT: Duration = Duration::from_secs(300);

/// The same settings as in this workspace, so that what was built for it need not be built again.
const CARGO_CONFIG: &str = r#"
[net]
offline = true

[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
debug = false
"#;

/// A folder for new services, and the command that makes them.
struct Bench {
    folder: TempDir,
    micro: PathBuf,
    target: PathBuf,
    /// What tells of the registry.
    variables: Vec<(&'static str, String)>,
}

impl Bench {
    fn new() -> Self {
        let executable = env::current_exe().unwrap();
        let debug = executable.parent().and_then(Path::parent).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".cargo")).unwrap();
        fs::write(folder.path().join(".cargo/config.toml"), CARGO_CONFIG).unwrap();
        let port = 20_000 + process::id() % 10_000;
        let bench = Self {
            variables: vec![("MICRO_REGISTRY_ADDRESS", format!("127.0.0.1:{port}"))],
            folder,
            micro: debug.join("micro"),
            target: debug.parent().unwrap().to_owned(),
        };
        let mut build = bench.command(env!("CARGO"));
        build
            .current_dir(checkout())
            .args(["build", "--quiet", "--offline"]);
        run(&mut build);
        bench
    }

    /// A command in the folder, with no setting but a registry of this process's own.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MICRO_")) {
            command.env_remove(name);
        }
        command
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn micro(&self, arguments: &[&str]) -> String {
        run(self.command(&self.micro).args(arguments))
    }

    fn cargo(&self, arguments: &[&str]) -> String {
        run(self.command(env!("CARGO")).args(arguments))
    }
}

/// `micro run`, which is stopped when this is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(bench: &Bench, name: &str) -> Self {
        let (write, read) = mpsc::channel();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = bench.command(&bench.micro);
        command.args(["run", name, "--nodes", "2", "--no-gateway"]);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        // What is left of the writers goes with `command`; the reader ends with the processes that write.
        drop(command);
        thread::spawn(move || {
            BufReader::new(reader)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| write.send(line))
        });
        Self { child, lines: read }
    }

    /// The first line that `is` what is waited for, or all lines if there is none.
    fn line(&self, is: impl Fn(&str) -> bool) -> Result<String, String> {
        let end = Instant::now() + READY_WAIT;
        let mut seen = String::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if is(&line) {
                return Ok(line);
            }
            seen += &format!("{line}\n");
        }
        Err(seen)
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        signal::kill(pid, signal::Signal::SIGINT).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What the command says on standard output, once it has succeeded.
fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}\n{said}\n{errors}");
    said.into_owned()
}

#[tokio::test]
async fn new_services_build_are_tested_run_and_answer() {
    let mut bench = Bench::new();
    let workspace = bench.folder.path().join("Cargo.toml");
    fs::write(&workspace, "[workspace]\nresolver = \"3\"\n").unwrap();
    bench.micro(&["new", NAME]);
    bench.micro(&["new", CALLER, "--template", "client", "--calls", NAME]);
    bench.micro(&["new", EDGE, "--template", "gateway", "--calls", NAME]);
    bench.micro(&["new", BACKEND, "--template", "registry"]);
    // The versions that this repository is tested with, which are there without a network.
    fs::copy(
        checkout().join("Cargo.lock"),
        bench.folder.path().join("Cargo.lock"),
    )
    .unwrap();

    let tested = bench.cargo(&["test", "--quiet", "--workspace"]);
    let passed = |count: usize| tested.contains(&format!("test result: ok. {count} passed"));
    assert!(passed(2) && passed(1), "{tested}");
    let results: Vec<_> = tested
        .lines()
        .filter(|line| line.starts_with("test result: ok. "))
        .collect();
    assert_eq!(
        tested.matches("test result: ok. 1 passed").count(),
        3,
        "{results:?}"
    );
    // The suite of every backend has some two dozen clauses, and no other package here as many tests.
    let passed = results.iter().filter_map(|line| {
        let (_, rest) = line.split_once("ok. ")?;
        rest.split_once(" passed")?.0.parse::<usize>().ok()
    });
    assert_eq!(passed.filter(|count| *count >= 20).count(), 1, "{results:?}");
    bench.cargo(&["fmt", "--check"]);
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets"];
    bench.cargo(&[&clippy[..], &["--", "--deny", "warnings"]].concat());

    runs_and_answers(&bench);
    what_is_changed_runs_and_no_call_fails(&bench);
    assert_eq!(bench.micro(&["services", "--json"]).trim(), "[]");

    // The same programs find another registry by their environment alone.
    let consul = Consul::builder().start().await.unwrap();
    bench.variables = consul.variables();
    runs_and_answers(&bench);
    let services = bench.micro(&["services", "--json"]);
    assert!(
        !services.contains(NAME) && !services.contains(CALLER),
        "{services}"
    );
}

/// Runs both, and stops them.
fn runs_and_answers(bench: &Bench) {
    let (mut running, pasted) = started(bench, NAME);
    assert_eq!(pasted, "{\"message\":\"Hello Ada\"}\n");
    let called = bench.micro(&["call", NAME, "Say.Greetings", r#"{"name":"Grace","count":2}"#]);
    assert_eq!(
        called,
        "{\"message\":\"Hello Grace, 1 of 2\"}\n{\"message\":\"Hello Grace, 2 of 2\"}\n"
    );
    let (mut calling, pasted) = started(bench, CALLER);
    assert!(pasted.contains("Hello Ada, welcome"), "{pasted}");
    assert!(
        pasted.contains(&format!("\"{NAME}-")),
        "who greeted is named: {pasted}"
    );

    let mut fronting = Running::start(bench, EDGE);
    let ready = fronting
        .line(|line| line.contains(&format!("{EDGE}-1 is ready: ")))
        .unwrap();
    let (_, address) = ready.rsplit_once(" at ").unwrap();
    let url = format!("http://{address}/{NAME}/say/hello");
    let answered = run(bench
        .command("curl")
        .args(["-sS", "-d", r#"{"name":"Ada"}"#, &url]));
    assert_eq!(answered, r#"{"message":"Hello Ada"}"#);

    for running in [&mut fronting, &mut calling, &mut running] {
        running.interrupt();
        assert!(running.line(|_| false).is_err(), "the output ends with the nodes");
        assert!(running.child.wait().unwrap().success());
    }
}

/// Changes a handler while its service is called.
fn what_is_changed_runs_and_no_call_fails(bench: &Bench) {
    let handler = bench.folder.path().join(NAME).join("src/handler.rs");
    let before = fs::read_to_string(&handler).unwrap();
    let hello = ["call", NAME, "Say.Hello", r#"{"name":"Ada"}"#];
    let (mut running, _) = started(bench, NAME);
    let mut load = bench.command(&bench.micro);
    load.args(["bench", NAME, "Say.Hello", r#"{"name":"Ada"}"#])
        .args(["--rate", "20", "--duration", "1h", "--json"])
        .stdout(Stdio::piped());
    let load = load.spawn().unwrap();

    fs::write(&handler, format!("{before}\nfn unfinished(")).unwrap();
    running
        .line(|line| line.contains("what ran before goes on"))
        .unwrap();
    assert_eq!(bench.micro(&hello), "{\"message\":\"Hello Ada\"}\n");

    fs::write(&handler, before.replace("Hello {name}", "Good day {name}")).unwrap();
    for _ in 0..2 {
        running.line(|line| line.contains(" is replaced: ")).unwrap();
    }
    assert_eq!(bench.micro(&hello), "{\"message\":\"Good day Ada\"}\n");

    // Ctrl-C ends it with its report.
    signal::kill(
        Pid::from_raw(load.id().try_into().unwrap()),
        signal::Signal::SIGINT,
    )
    .unwrap();
    let load = load.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&load.stdout).unwrap();
    assert_eq!(report["failed"], 0, "{report}");
    assert!(
        report["nodes"].as_object().unwrap().len() >= 3,
        "old and new answered: {report}"
    );

    running.interrupt();
    assert!(running.line(|_| false).is_err(), "the output ends with the nodes");
    assert!(running.child.wait().unwrap().success());
    fs::write(&handler, before).unwrap();
}

/// Runs a service until it is ready, and answers with what the line says that it tells to type.
fn started(bench: &Bench, name: &str) -> (Running, String) {
    let running = Running::start(bench, name);
    // What nodes say has their name before it.
    let is_told =
        |line: &str| !line.contains(" | ") && (line.contains(" call ") || line.starts_with("warning"));
    let next = running.line(is_told).unwrap();
    // The line that is told can be pasted.
    let pasted = run(bench.command("sh").args(["-c", next.trim()]));
    (running, pasted)
}
