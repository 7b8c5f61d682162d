//! What attackers send to the gateway: it is refused, reaches nobody, and costs no memory that stays.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::{
    support::{Network, Process, eventually, told, wait},
    world::{World, page},
};

/// How much the memory of the gateway may grow by all of one attack.
const GROWTH_MAX_KIB: u64 = 16 * 1024;

/// How often each hostile body is sent.
const ROUNDS: u32 = 20;
/// How much work one of them may be: ten times the 50 ms that are wanted, as this is no release build. A clock would time the
/// other tests as well.
const WORK_MAX: Duration = Duration::from_millis(500);
/// How many peers are slow at once.
const SLOW_PEERS: usize = 1000;
/// How much memory each of them may take.
const SLOW_PEER_MAX_KIB: u64 = 64;
/// How many streams are not read at once. The system's own buffers hold megabytes of each.
const STREAMS: usize = 64;
/// How much memory of the gateway each of them may take.
const STREAM_MAX_KIB: u64 = 1024;
/// How many files this process and the gateway may have open: one for each peer, and those of the other tests.
const FILES: u64 = 4096;

/// A greeter with a gateway before it.
struct Front {
    address: String,
    gateway: Process,
    _greeter: Process,
    _folder: TempDir,
}

impl Front {
    async fn start() -> Self {
        Self::with("").await
    }

    /// One whose gateway finds this in its `micro.toml`.
    async fn with(settings: &str) -> Self {
        let (files, files_max) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if files < FILES {
            let allowed = setrlimit(Resource::RLIMIT_NOFILE, FILES, files_max);
            allowed.expect("this test needs 4,096 files: `ulimit -Hn`");
        }
        let world = World::Mdns(Network::new());
        let greeter = world.start("greeter", &[]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("micro.toml");
        fs::write(&file, settings).unwrap();
        let mut command = told("micro", &world.variables());
        command.env("MICRO_CONFIG", file);
        let gateway = Process::start(command.args(["gateway", "greeter", "--address", "127.0.0.1:0"]));
        let line = gateway.wait_for("the gateway answers", |line| line.contains("micro: http://"));
        let (_, rest) = line.split_once("http://").unwrap();
        let front = Self {
            address: rest.split_whitespace().next().unwrap().to_owned(),
            gateway,
            _greeter: greeter,
            _folder: folder,
        };
        eventually("the greeter answers", async || front.is_well()).await;
        front
    }

    fn is_well(&self) -> bool {
        let answer = self.send(&request(r#"{"name":"Ada"}"#.as_bytes()));
        answer.starts_with("HTTP/1.1 200") && answer.contains("Hello Ada")
    }

    /// Sends bytes as they are, and gives all that is answered until the connection is closed.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may have been refused, and closed, before all was sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends bytes at once; the one answer to them, after which the gateway closes the connection within the patience of a test.
    fn refusal(&self, what: &str, bytes: &[u8]) -> String {
        let mut answer = Vec::new();
        let read = self.begin(bytes).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(read.is_ok(), "{what}: it was not closed: {read:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
        answer
    }

    /// Sends bytes, and reads nothing yet.
    fn begin(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// How long the gateway has been at work, whoever else had the processors meanwhile.
    fn work(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.gateway.pid())).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        // In user mode and in the kernel's, in hundredths of a second.
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Checks what slow peers have added to the memory that there was `before`.
    fn has_room_for_slow_peers(&self, before: u64) {
        let (now, peers) = (self.memory(), u64::try_from(SLOW_PEERS).unwrap());
        assert!(
            now < before + peers * SLOW_PEER_MAX_KIB,
            "from {before} to {now} KiB"
        );
    }

    /// The resident memory of the gateway in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn request(body: &[u8]) -> Vec<u8> {
    request_to("hello", body)
}

fn request_to(method: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /greeter/say/{method} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         x-request-timeout: 60s\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_json_is_refused_and_leaves_nothing_behind() {
    let front = Front::start().await;
    let many = |text: &str, times: usize| text.repeat(times).into_bytes();
    let keys: String = (0..60_000).map(|key| format!("\"k{key}\":0,")).collect();
    let bodies: [(&str, Vec<u8>, &str); 9] = [
        ("5 MiB", many("a", 5 << 20), "413"),
        ("deep arrays", many("[", 10_000), "400"),
        ("deep objects", many(r#"{"name":"#, 10_000), "400"),
        (
            "many keys",
            format!("{{{keys}\"name\":\"Ada\"}}").into_bytes(),
            "400",
        ),
        ("a key twice", br#"{"name":"a","name":"b"}"#.to_vec(), "400"),
        ("a number beyond all", br#"{"name":1e400}"#.to_vec(), "400"),
        ("a lone surrogate", br#"{"name":"\ud800"}"#.to_vec(), "400"),
        ("bad UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec(), "400"),
        ("no end", br#"{"name":"Ada""#.to_vec(), "400"),
    ];
    // The allocator keeps what one of each takes.
    for (_, body, _) in &bodies {
        front.send(&request(body));
    }
    let before = front.memory();
    for (what, body, status) in &bodies {
        let idle = front.work();
        for _ in 0..ROUNDS {
            let answer = front.send(&request(body));
            // The connection may be closed on what is still on its way.
            let is_closed = answer.is_empty() && *status == "413";
            assert!(
                is_closed || answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{what}: {answer}"
            );
        }
        let work = (front.work() - idle) / ROUNDS;
        assert!(work < WORK_MAX, "{what}: {work:?} of work for each");
    }
    let after = front.memory();
    assert!(after < before + GROWTH_MAX_KIB, "from {before} to {after} KiB");
    assert!(front.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_programs_could_read_in_two_ways_is_refused_and_the_connection_closed() {
    let front = Front::start().await;
    let hidden =
        "POST /greeter/say/hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 14\r\n\r\n{\"name\":\"Ada\"}";
    let begin = "POST /greeter/say/hello HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for (what, bytes) in [
        (
            "a length and chunks",
            format!("{begin}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunks and a length",
            format!("{begin}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "two lengths",
            format!("{begin}content-length: 2\r\ncontent-length: 40\r\n\r\n{{}}{hidden}"),
        ),
        (
            "a list of lengths",
            format!("{begin}content-length: 2, 40\r\n\r\n{{}}{hidden}"),
        ),
        (
            "a length with a sign",
            format!("{begin}content-length: +2\r\n\r\n{{}}{hidden}"),
        ),
        (
            "a folded header",
            format!("{begin}x-a: b\r\n content-length: 40\r\n\r\n{hidden}"),
        ),
        (
            "a space before the colon",
            format!("{begin}content-length : 2\r\n\r\n{{}}{hidden}"),
        ),
        (
            "another encoding",
            format!("{begin}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunks twice",
            format!("{begin}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a line feed alone after a header",
            format!("{begin}x-a: b\ncontent-length: 0\r\n\r\n{hidden}"),
        ),
        (
            "a line feed alone after the request line",
            begin.replacen("\r\n", "\n", 1) + "\r\n",
        ),
        (
            "line feeds alone as the end of the headers",
            format!("{}\n\n{hidden}", begin.trim_end()),
        ),
        (
            "a line feed alone after the size of a chunk",
            format!("{begin}transfer-encoding: chunked\r\n\r\n2\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a bad chunk",
            format!("{begin}transfer-encoding: chunked\r\n\r\nzz\r\n\r\n{hidden}"),
        ),
    ] {
        let answer = front.refusal(what, bytes.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
    }
    assert!(front.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_take_no_memory_and_no_time_of_others() {
    let front = Front::start().await;
    let head = "POST /greeter/say/hello HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let before = front.memory();
    let mut slow: Vec<_> = (0..SLOW_PEERS).map(|_| front.begin(head.as_bytes())).collect();
    assert_eq!(page(&front.address, "/health"), 200);
    wait("others are answered", || front.is_well()).unwrap();
    front.has_room_for_slow_peers(before);
    for stream in &mut slow {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    assert!(front.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_read_nothing_of_their_answer_take_little_memory_and_no_time_of_others() {
    let front = Front::start().await;
    let name = "a".repeat(16 * 1024);
    let request = request(format!(r#"{{"name":"{name}"}}"#).as_bytes());
    let before = front.memory();
    let mut slow: Vec<_> = (0..SLOW_PEERS).map(|_| front.begin(&request)).collect();
    assert_eq!(page(&front.address, "/health"), 200);
    wait("others are answered", || front.is_well()).unwrap();
    front.has_room_for_slow_peers(before);
    // The answers are there for whoever takes them after all.
    for stream in &mut slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(&name),
            "{}",
            &answer[..answer.len().min(1000)]
        );
    }
    assert!(front.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_take_little_memory_and_no_time_of_others() {
    // Nobody is let go meanwhile.
    let front = Front::with("[server]\nwrite_timeout = \"10m\"").await;
    // More than the buffers of the system take.
    let body = format!(r#"{{"name":"{}","count":1000}}"#, "a".repeat(16 * 1024));
    let request = request_to("greetings", body.as_bytes());
    let before = front.memory();
    let mut slow: Vec<_> = (0..STREAMS).map(|_| front.begin(&request)).collect();
    for stream in &mut slow {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    for _ in 0..ROUNDS {
        assert!(front.is_well());
    }
    let (now, streams) = (front.memory(), u64::try_from(STREAMS).unwrap());
    assert!(
        now < before + streams * STREAM_MAX_KIB,
        "from {before} to {now} KiB"
    );
}
