//! The servers of the calls: the same handlers on tonic's server and on ours.

use std::{io::Read as _, net::SocketAddr, sync::Arc, thread, time::Duration};

use clap::{Args, ValueEnum};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::{
    Result,
    bench::{
        self, CountRequest, Payload,
        bench_server::{Bench, BenchServer},
    },
};

/// What a server is told.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    kind: Kind,
    /// On a single thread, so that its instructions can be counted
    #[arg(long)]
    one_thread: bool,
}

/// Whose server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// `tonic::transport::Server`, as it is.
    Tonic,
    /// `micro::Service`, with everything on that is on by default.
    Micro,
}

/// Serves until standard input ends; the first line of output is the address.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let mut runtime = if settings.one_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || {
        // Ends with the process that started this one, however that ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = stop.send(());
    });
    match settings.kind {
        Kind::Tonic => runtime.block_on(tonic(stopped)),
        Kind::Micro => runtime.block_on(micro(stopped)),
    }
}

async fn tonic(stopped: oneshot::Receiver<()>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?);
    // As tonic's own listener does.
    let incoming = TcpListenerStream::new(listener);
    let incoming = tokio_stream::StreamExt::map(incoming, |accepted| {
        accepted.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
    });
    // The settings that ours has by default.
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(200)
        .add_service(BenchServer::new(Handlers))
        .serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        })
        .await?;
    Ok(())
}

async fn micro(stopped: oneshot::Receiver<()>) -> Result<()> {
    let service = micro::Service::builder("bench")
        .registry(Arc::new(micro::registry::Memory::default()))
        .address("127.0.0.1:0")
        .add_service(BenchServer::new(Handlers))
        .descriptors(bench::FILE_DESCRIPTOR_SET)
        .after_start(|context| async move {
            let address = context.local_address().ok_or("the service has no address")?;
            announce(address);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })
        .build()?;
    tokio::select! {
        result = service.run() => Ok(result?),
        _ = stopped => Ok(()),
    }
}

fn announce(address: SocketAddr) {
    println!("{address}");
}

/// The handlers of all contestants.
struct Handlers;

#[tonic::async_trait]
impl Bench for Handlers {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    type CountStream = tokio_stream::Iter<std::vec::IntoIter<Result<Payload, Status>>>;

    async fn count(&self, request: Request<CountRequest>) -> Result<Response<Self::CountStream>, Status> {
        let messages = request.into_inner().messages as usize;
        let messages = vec![Ok(Payload::default()); messages];
        Ok(Response::new(tokio_stream::iter(messages)))
    }
}
