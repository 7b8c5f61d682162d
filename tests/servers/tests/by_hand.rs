//! What `cargo xtask servers` runs: it says how to find what it started, and takes all of it away when it is stopped.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro-test-servers"));
    command.args(arguments);
    command
}

/// The program, and what it has said. It is told to stop when this is dropped.
struct ByHand {
    id: Pid,
    ended: mpsc::Receiver<ExitStatus>,
    lines: Vec<String>,
}

impl ByHand {
    /// Starts it, and waits until it has said all.
    fn start(arguments: &[&str]) -> Self {
        let mut child = program(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (tell_line, lines) = mpsc::channel();
        let (tell_end, ended) = mpsc::channel();
        let mut started = Self {
            id: Pid::from_raw(i32::try_from(child.id()).unwrap()),
            ended,
            lines: Vec::new(),
        };
        thread::spawn(move || {
            hear(&mut child, &tell_line);
            // Nobody listens to who failed before.
            let _ = tell_end.send(child.wait().unwrap());
        });
        while !started
            .lines
            .iter()
            .any(|line| line.starts_with("Ctrl-C stops it"))
        {
            let line = lines.recv_timeout(LIMIT);
            started.lines.push(line.expect("it says how to stop it"));
        }
        started
    }

    /// The variables that it says are to be pasted.
    fn variables(&self) -> HashMap<&str, &str> {
        let exports = self.lines.iter().filter_map(|line| line.strip_prefix("export "));
        exports.filter_map(|export| export.split_once('=')).collect()
    }

    /// Where it says that services find the registry: host and port.
    fn addresses(&self) -> Vec<String> {
        let all = self.variables()["MICRO_REGISTRY_ADDRESS"].split(',');
        all.map(|address| address.trim_start_matches("https://").to_owned())
            .collect()
    }

    fn stop(&self) -> ExitStatus {
        kill(self.id, Signal::SIGINT).unwrap();
        self.ended.recv_timeout(LIMIT).expect("it ends")
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // Of one that has ended, somebody else may have the id.
        if matches!(self.ended.try_recv(), Err(mpsc::TryRecvError::Empty)) {
            let _ = kill(self.id, Signal::SIGTERM);
        }
    }
}

fn hear(child: &mut Child, tell: &mpsc::Sender<String>) {
    let said = child.stdout.take().unwrap();
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        let _ = tell.send(line);
    }
}

fn is_found_and_gone(registry: &str, options: &[&str], servers: usize, of_tls: &[&str], of_rights: &str) {
    let arguments: Vec<_> = [registry].iter().chain(options).copied().collect();
    let running = ByHand::start(&arguments);
    let variables = running.variables();
    assert_eq!(variables["MICRO_REGISTRY"], registry);
    let (has_tls, has_rights) = (options.contains(&"--tls"), options.contains(&"--acl"));
    assert_eq!(variables.contains_key(of_rights), has_rights, "{variables:?}");
    for file in of_tls {
        assert_eq!(variables.contains_key(file), has_tls, "{variables:?}");
    }
    let files: Vec<_> = of_tls.iter().filter_map(|file| variables.get(file)).collect();
    assert!(files.iter().all(|file| Path::new(file).is_file()), "{files:?}");
    let nodes = running
        .lines
        .iter()
        .filter(|line| line.contains(" runs at "))
        .count();
    assert_eq!(nodes, servers, "{:?}", running.lines);
    let addresses = running.addresses();
    for address in &addresses {
        TcpStream::connect(address).expect(address);
    }
    let status = running.stop();
    assert!(status.success(), "{status}");
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
    assert!(!files.iter().any(|file| Path::new(file).exists()), "{files:?}");
}

const CONSULS: [&str; 3] = ["CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"];
const ETCDS: [&str; 3] = ["ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"];

#[test]
fn consul_is_found_by_what_is_said_and_gone_after_ctrl_c() {
    is_found_and_gone("consul", &[], 1, &CONSULS, "CONSUL_HTTP_TOKEN");
    is_found_and_gone(
        "consul",
        &["--nodes", "3", "--acl", "--tls"],
        3,
        &CONSULS,
        "CONSUL_HTTP_TOKEN",
    );
}

#[test]
fn etcd_is_found_by_what_is_said_and_gone_after_ctrl_c() {
    is_found_and_gone("etcd", &[], 1, &ETCDS, "ETCD_PASSWORD");
    is_found_and_gone(
        "etcd",
        &["--nodes", "3", "--acl", "--tls"],
        3,
        &ETCDS,
        "ETCD_PASSWORD",
    );
}

#[test]
fn a_file_has_what_is_said_otherwise_and_goes_after_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it's the servers'");
    let running = ByHand::start(&["consul", "--acl", "--tls", "--env", file.to_str().unwrap()]);
    assert!(running.variables().is_empty(), "{:?}", running.lines);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a token is in it");

    let read = running.lines.iter().find(|line| line.starts_with(". ")).unwrap();
    let script = format!("{read}\nexec env");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let environment = String::from_utf8(output.stdout).unwrap();
    let read: HashMap<_, _> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    assert_eq!(read["MICRO_REGISTRY"], "consul");
    let address = read["MICRO_REGISTRY_ADDRESS"].trim_start_matches("https://");
    TcpStream::connect(address).expect(address);
    assert!(!read["CONSUL_HTTP_TOKEN"].is_empty());
    assert!(
        CONSULS.iter().all(|name| Path::new(read[name]).is_file()),
        "{read:?}"
    );

    let status = running.stop();
    assert!(status.success(), "{status}");
    assert!(!file.exists());
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let output = program(&["consul", "--env", path]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains(path) && said.contains("exists"),
        "{said}"
    );
    assert_eq!(fs::read(path).unwrap(), b"", "nothing was written");
}

#[test]
fn what_is_not_allowed_says_what_is() {
    for (arguments, expected) in [
        (&["zookeeper"][..], "allowed are consul, etcd"),
        (&[], "allowed are consul, etcd"),
        (&["consul", "--nodes", "2"], "allowed are 1, 3 and 5"),
        (&["etcd", "--nodes"], "allowed are 1, 3 and 5"),
        (&["consul", "--env"], "--env names no file"),
        (
            &["etcd", "--verbose"],
            "allowed are --nodes N, --acl, --tls and --env FILE",
        ),
    ] {
        let output = program(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(expected),
            "{arguments:?}: {said}"
        );
    }
}
