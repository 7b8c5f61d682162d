//! Asks a clock for the time that may be found in a folder: `MICRO_REGISTRY=file MICRO_REGISTRY_ADDRESS=FOLDER`.

/// What `proto/clock.proto` says, as Rust.
mod clock {
    micro::include_proto!("clock");
}

use std::{error::Error, sync::Arc};

use clock::{NowRequest, clock_client::ClockClient};
use file_registry::FileRegistry;
use micro::{Client, Peer, RegistrySettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = RegistrySettings::from_env()?.backend(file_registry::NAME, |settings| {
        Ok(Arc::new(FileRegistry::at(settings.addresses())?))
    });
    let client = Client::from_settings(&settings)?;
    let reply = ClockClient::new(client.channel("clock"))
        .now(NowRequest {})
        .await?;
    let node = reply.extensions().get::<Peer>().map_or("?", Peer::node_id);
    println!("{node}: {} s since 1970", reply.get_ref().seconds);
    Ok(())
}
