//! How loaded a node says that it is: the calls it has in flight, of all its clients, and how many it takes.

use std::time::Duration;

use micro::{Client, registry::Node};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    time::timeout,
};

/// How long a node may take to tell.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How much of its page is read.
const PAGE_MAX: u64 = 4 * 1024 * 1024;
/// The metrics that tell, as docs/observing.md has them.
const ACTIVE: &str = "micro_server_active_calls ";
const LIMIT: &str = "micro_server_calls_limit ";

/// What a node says of the calls that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeLoad {
    /// Those in flight.
    pub(crate) active: u64,
    /// How many there may be.
    pub(crate) limit: u64,
}

/// What `node` tells on its page `/metrics`; `None` of one that has no such page, tells nothing in time, or may not be called.
pub(crate) async fn ask(client: &Client, node: &Node) -> Option<NodeLoad> {
    timeout(TIMEOUT, read(client, node)).await.ok()?
}

async fn read(client: &Client, node: &Node) -> Option<NodeLoad> {
    // As calls are made: what was a node's address a moment ago may lead elsewhere by now.
    let mut stream = client.connect(node).await.ok()?;
    let host = node.address();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut lines = BufReader::new(stream.take(PAGE_MAX)).lines();
    let status = lines.next_line().await.ok()??;
    status.starts_with("HTTP/1.1 200 ").then_some(())?;
    let (mut active, mut limit) = (None, None);
    while let Some(line) = lines.next_line().await.ok()? {
        let value = |name| {
            line.strip_prefix(name)
                .and_then(|value| value.trim().parse().ok())
        };
        active = active.or_else(|| value(ACTIVE));
        limit = limit.or_else(|| value(LIMIT));
        if let (Some(active), Some(limit)) = (active, limit) {
            return Some(NodeLoad { active, limit });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use micro::registry::Memory;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    fn client(denied: &[&'static str]) -> Client {
        let client = Client::builder(Arc::new(Memory::default())).deny(denied.iter().copied());
        client.build().unwrap()
    }

    fn node_at(address: SocketAddr) -> Node {
        let address = address.to_string().parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), "greeter-1", address);
        node.build().unwrap()
    }

    /// What is read of a server that answers so.
    async fn asked(answer: &'static str) -> Option<NodeLoad> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = node_at(listener.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut request = Vec::new();
            // Until it is closed from there.
            let _ = stream.read_to_end(&mut request).await;
            String::from_utf8(request).unwrap()
        });
        let load = read(&client(&[]), &node).await;
        let request = answering.await.unwrap();
        assert!(request.starts_with("GET /metrics HTTP/1.1\r\n"), "{request}");
        load
    }

    #[tokio::test]
    async fn the_page_of_a_node_tells_and_what_is_no_such_page_does_not() {
        let page =
            "HTTP/1.1 200 OK\r\n\r\n# HELP x\nmicro_server_calls_limit 1000\nmicro_server_active_calls 3\n";
        let load = NodeLoad {
            active: 3,
            limit: 1000,
        };
        assert_eq!(asked(page).await, Some(load));
        let nothing =
            "HTTP/1.1 404 Not Found\r\n\r\nmicro_server_calls_limit 1000\nmicro_server_active_calls 3\n";
        assert_eq!(asked(nothing).await, None);
        assert_eq!(asked("\0\0\x12\x04\0\n").await, None);
    }

    #[tokio::test]
    async fn a_node_that_is_away_tells_nothing() {
        let nobody = node_at(SocketAddr::from(([127, 0, 0, 1], 1)));
        assert_eq!(ask(&client(&[]), &nobody).await, None);
    }

    #[tokio::test]
    async fn nobody_connects_to_an_address_that_may_not_be_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(ask(&client(&["loopback"]), &node_at(address)).await, None);
        // Connections are accepted in the order in which they came.
        let own = TcpStream::connect(address).await.unwrap();
        let (_, first) = listener.accept().await.unwrap();
        assert_eq!(first, own.local_addr().unwrap());
    }
}
