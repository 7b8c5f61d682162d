//! A service that may be announced in a folder: `MICRO_REGISTRY=file MICRO_REGISTRY_ADDRESS=FOLDER`.

/// What `proto/clock.proto` says, as Rust.
mod clock {
    micro::include_proto!("clock");
}

use std::{
    env,
    io::{self, IsTerminal as _},
    sync::Arc,
    time::UNIX_EPOCH,
};

use clock::{
    NowReply, NowRequest,
    clock_server::{Clock, ClockServer},
};
use file_registry::FileRegistry;
use micro::Service;
use tonic::{Request, Response, Status};

struct HostClock;

#[tonic::async_trait]
impl Clock for HostClock {
    async fn now(&self, _request: Request<NowRequest>) -> Result<Response<NowReply>, Status> {
        let since = UNIX_EPOCH
            .elapsed()
            .map_err(|_| Status::internal("the host's clock is before 1970"))?;
        let seconds = since.as_secs();
        Ok(Response::new(NowReply { seconds }))
    }
}

#[tokio::main]
async fn main() -> micro::Result<()> {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_ansi(io::stdout().is_terminal() && !is_plain)
        .log_internal_errors(false)
        .init();
    Service::builder("clock")
        .backend(file_registry::NAME, |settings| {
            Ok(Arc::new(FileRegistry::at(settings.addresses())?))
        })
        .add_service(ClockServer::new(HostClock))
        .descriptors(clock::FILE_DESCRIPTOR_SET)
        .build()?
        .run()
        .await
}
