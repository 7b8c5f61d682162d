//! What attackers send to the gateway: it is refused, reaches nobody, and costs no memory that stays.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    support::{Network, Process, eventually, told, wait},
    world::{World, page},
};

/// How much the memory of the gateway may grow by all of one attack.
const GROWTH_MAX_KIB: u64 = 16 * 1024;

/// A greeter with a gateway before it.
struct Front {
    address: String,
    gateway: Process,
    _greeter: Process,
}

impl Front {
    async fn start() -> Self {
        let world = World::Mdns(Network::new());
        let greeter = world.start("greeter", &[]);
        let mut command = told("micro", &world.variables());
        let gateway = Process::start(command.args(["gateway", "greeter", "--address", "127.0.0.1:0"]));
        let line = gateway.wait_for("the gateway answers", |line| line.contains("micro: http://"));
        let (_, rest) = line.split_once("http://").unwrap();
        let front = Self {
            address: rest.split_whitespace().next().unwrap().to_owned(),
            gateway,
            _greeter: greeter,
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

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
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
    let head = format!(
        "POST /greeter/say/hello HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
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
    for _ in 0..20 {
        for (what, body, status) in &bodies {
            let answer = front.send(&request(body));
            // The connection may be closed on what is still on its way.
            let is_closed = answer.is_empty() && *status == "413";
            assert!(
                is_closed || answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{what}: {answer}"
            );
        }
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
            "a bad chunk",
            format!("{begin}transfer-encoding: chunked\r\n\r\nzz\r\n\r\n{hidden}"),
        ),
    ] {
        let answer = front.send(bytes.as_bytes());
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(
            answers <= 1 && !answer.contains("HTTP/1.1 200"),
            "{what}: {answer}"
        );
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
            "{what}: {answer}"
        );
    }
    assert!(front.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_peers_take_no_memory_and_no_time_of_others() {
    let front = Front::start().await;
    let head = "POST /greeter/say/hello HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let before = front.memory();
    let mut slow: Vec<_> = (0..200).map(|_| front.connect()).collect();
    for stream in &mut slow {
        stream.write_all(head.as_bytes()).unwrap();
    }
    assert_eq!(page(&front.address, "/health"), 200);
    wait("others are answered", || front.is_well()).unwrap();
    let during = front.memory();
    assert!(
        during < before + 2 * GROWTH_MAX_KIB,
        "from {before} to {during} KiB"
    );
    for stream in &mut slow {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    assert!(front.is_well());
}
