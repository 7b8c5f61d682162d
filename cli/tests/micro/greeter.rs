//! The first minutes of a newcomer: the greeter of `examples/`, run, called, killed and stopped.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    gateway::{answer, try_answer},
    running::{Running, eventually},
    support::{Ended, micro},
};

/// How many call at the same time as it is stopped.
const CALLERS: usize = 4;
/// How long the dashboard may take to show what has changed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where this test's nodes announce themselves, apart from any other on this machine.
fn registry_address() -> String {
    // Below the range from which the system gives out ports.
    format!("127.0.0.1:{}", 20_000 + process::id() % 10_000)
}

fn in_registry(arguments: &[&str]) -> Command {
    let mut command = micro(arguments);
    command.env("MICRO_REGISTRY_ADDRESS", registry_address());
    command
}

fn ended(mut command: Command) -> Ended {
    command.output().unwrap().into()
}

/// The process ids of the nodes, as their parent has them.
fn nodes_of(run: &Running) -> Vec<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", run.pid());
    let children = std::fs::read_to_string(children).unwrap();
    children
        .split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()))
        .collect()
}

#[test]
fn the_greeter_is_run_called_killed_and_stopped() {
    let greeter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/greeter");
    let mut command = in_registry(&["run", "--nodes", "2", "--gateway", "127.0.0.1:0"]);
    command.arg(greeter);
    let mut run = Running::start(command);

    run.errors_until("2 nodes of `greeter` are ready");
    let line = run.errors_until(" call greeter ").pop().unwrap();
    let mut pasted = Command::new("sh");
    pasted.args(["-c", &line]);
    let greeting = "{\"message\":\"Hello Ada\"}\n".to_owned();
    assert_eq!(ended(pasted), success(greeting.clone()));
    let line = run.errors_until("HTTP and JSON are at http://").pop().unwrap();
    let (_, rest) = line.split_once("http://").unwrap();
    let (address, _) = rest.split_once(',').unwrap();
    let reply = answer(address, "/greeter/say/hello", r#"{"name":"Ada"}"#);
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.ends_with(greeting.trim()), "{reply}");
    assert!(
        line.contains(&format!(
            "http://localhost:{}/dashboard",
            address.rsplit(':').next().unwrap()
        )),
        "{line}"
    );
    let at_first = both_ready(address, &BTreeSet::new());
    let curl = run.errors_until("    curl ").pop().unwrap();
    let (_, port) = address.split_once(':').unwrap();
    assert_eq!(
        curl,
        format!("    curl -d '{{\"name\":\"Ada\"}}' localhost:{port}/greeter/say/hello")
    );
    let mut second = in_registry(&["run", "--gateway", address]);
    second.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/greeter"));
    let refused = ended(second);
    assert_eq!(refused.code, 1);
    assert!(
        refused.errors.contains("where another program listens"),
        "{}",
        refused.errors
    );

    for command in ["health", "describe"] {
        let shown = ended(in_registry(&[command, "greeter"]));
        assert_eq!(shown.code, 0, "{}", shown.errors);
        assert!(
            shown.output.contains("greeter-1-") && shown.output.contains("greeter-2-"),
            "{}",
            shown.output
        );
    }
    // Each of them says what it has to do, and answered a call.
    let shown = ended(in_registry(&["endpoints", "greeter", "--json"]));
    assert_eq!(shown.code, 0, "{}", shown.errors);
    let nodes: Vec<Value> = serde_json::from_str(&shown.output).unwrap();
    assert_eq!(nodes.len(), 2, "{}", shown.output);
    for node in nodes {
        assert!(
            node["calls"].is_u64() && node["callsLimit"].as_u64() > Some(0),
            "{node}"
        );
        assert!(node["latencyMs"].as_f64() > Some(0.0), "{node}");
    }
    let streamed = ended(in_registry(&[
        "call",
        "greeter",
        "Greetings",
        r#"{"name":"Ada"}"#,
    ]));
    assert_eq!(streamed.code, 0, "{}", streamed.errors);
    assert!(streamed.output.lines().count() > 1, "{}", streamed.output);

    let watch = Running::start(in_registry(&["watch", "greeter"]));
    for id in ["greeter-1-", "greeter-2-"] {
        let line = watch.output_until(&format!("  up       greeter  {id}"));
        assert!(line.last().unwrap().contains("  127.0.0.1:"), "{line:?}");
    }
    let watch_all = Running::start(in_registry(&["watch", "--json"]));
    watch_all.output_until("\"service\":\"greeter\"");

    // Whoever gets a connection gets an answer, until there are none to be had.
    let answered = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (address, answered) = (address.to_owned(), Arc::clone(&answered));
            thread::spawn(move || call_until_refused(&address, &answered))
        })
        .collect();
    let hundred_more = || {
        let before = answered.load(Ordering::Relaxed);
        eventually(|| answered.load(Ordering::Relaxed) > before + 100);
    };
    hundred_more();
    kill(nodes_of(&run)[0], Signal::SIGKILL).unwrap();
    run.errors_until("crashed (killed by SIGKILL)");
    assert_eq!(
        ended(in_registry(&[
            "call",
            "greeter",
            "Say.Hello",
            r#"{"name":"Ada"}"#
        ])),
        success(greeting)
    );
    run.errors_until("is ready");
    let now = both_ready(address, &at_first);
    assert_eq!(
        now.intersection(&at_first).count(),
        1,
        "{now:?}, before {at_first:?}"
    );
    hundred_more();
    run.signal(Signal::SIGINT);
    let pressed = Instant::now();
    for caller in load {
        assert_eq!(caller.join().unwrap(), Ok(()));
    }
    assert_eq!(run.exit_code(), Some(0));
    println!("all was over {:?} after Ctrl-C", pressed.elapsed());
    for _ in 0..2 {
        watch.output_until("  down     greeter  ");
        watch_all.output_until("\"change\":\"down\"");
    }
    eventually(|| ended(in_registry(&["services"])).output.is_empty());
}

/// Waits until the dashboard shows two nodes of the greeter that are ready, and are not those of `before`.
fn both_ready(address: &str, before: &BTreeSet<String>) -> BTreeSet<String> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET /dashboard.events HTTP/1.1\r\nhost: {address}\r\n\r\n"
    )
    .unwrap();
    for line in BufReader::new(socket).lines() {
        let line = line.unwrap();
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let sight: Value = serde_json::from_str(data).unwrap();
        let services = sight["services"].as_array().unwrap().iter();
        let nodes = services.filter(|service| service["name"] == "greeter");
        let ready: BTreeSet<_> = nodes
            .flat_map(|service| service["nodes"].as_array().unwrap())
            .filter(|node| node["state"] == "ready")
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect();
        if ready.len() == 2 && &ready != before {
            return ready;
        }
    }
    panic!("the events ended");
}

/// Calls over HTTP, with a connection each, until none is to be had; fails if a call was not answered well.
fn call_until_refused(address: &str, answered: &AtomicUsize) -> Result<(), String> {
    loop {
        let began = Instant::now();
        match try_answer(address, "/greeter/say/hello", r#"{"name":"Ada"}"#) {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 OK\r\n") => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            other => return Err(format!("{:?} after it began: {other:?}", began.elapsed())),
        }
    }
}

fn success(output: String) -> Ended {
    Ended {
        code: 0,
        output,
        errors: String::new(),
    }
}
