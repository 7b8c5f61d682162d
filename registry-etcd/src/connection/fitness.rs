//! Whether a server can do its work, told before anything is asked of it.

use std::time::Duration;

use etcd_client::Client;
use micro_registry::ErrorKind;
use tokio::time;

use crate::error;

/// How long a server may take to say how it is, where there are others.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What can be had from a server, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fitness {
    /// It is connected and says nothing: it sleeps, or is slow.
    Silent,
    /// It has lost the others, and knows what it knew.
    Alone,
    Fit,
}

impl Fitness {
    /// That of the server of `client`.
    pub(super) async fn of(client: &Client) -> Self {
        let mut client = client.maintenance_client();
        match time::timeout(PROBE_TIMEOUT, client.status()).await {
            Err(_) => Self::Silent,
            Ok(Ok(status)) if status.leader() == 0 => Self::Alone,
            Ok(Err(error)) if error::is_of_transport(&error) => Self::Silent,
            Ok(Err(error)) if error::kind(&error) == ErrorKind::Unavailable => Self::Alone,
            // What it says of our rights is the business of the call that needs them.
            Ok(_) => Self::Fit,
        }
    }
}
