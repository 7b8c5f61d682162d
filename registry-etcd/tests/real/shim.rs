//! A way to a server that can be blocked, or cut.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Passes bytes on in both directions.
pub(crate) struct Shim {
    address: String,
    way: Arc<watch::Sender<Way>>,
    /// Stops with it.
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Default)]
struct Way {
    is_blocked: bool,
    /// Connections of before end.
    cuts: u64,
}

impl Shim {
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address").to_string();
        let way = Arc::new(watch::Sender::new(Way::default()));
        let mut tasks = JoinSet::new();
        let ways = Arc::clone(&way);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                connections.spawn(connect(from, target.clone(), ways.subscribe()));
            }
        });
        Self {
            address,
            way,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Passes nothing on, and ends no connection.
    pub(crate) fn block(&self) {
        self.way.send_modify(|way| way.is_blocked = true);
    }

    /// Passes on what was held back.
    pub(crate) fn open(&self) {
        self.way.send_modify(|way| way.is_blocked = false);
    }

    /// Ends the connections that there are.
    pub(crate) fn cut(&self) {
        self.way.send_modify(|way| way.cuts += 1);
    }
}

async fn connect(from: TcpStream, target: String, mut way: watch::Receiver<Way>) {
    let cuts = way.borrow().cuts;
    let Ok(to) = TcpStream::connect(target).await else {
        return;
    };
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = pass(from_read, to_write, way.clone()) => {}
        () = pass(to_read, from_write, way.clone()) => {}
        _ = way.wait_for(|way| way.cuts != cuts) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        if way.wait_for(|way| !way.is_blocked).await.is_err() {
            return;
        }
        match from.read(&mut bytes).await {
            Ok(length @ 1..) if to.write_all(&bytes[..length]).await.is_ok() => {}
            _ => return,
        }
    }
}
