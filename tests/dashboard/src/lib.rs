//! What the tests of the dashboard and its pictures are made with: a browser that is driven, and services behind a gateway.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![allow(
    clippy::missing_panics_doc,
    missing_docs,
    reason = "used by the tests beside it, and by nobody else"
)]

mod browser;
mod driver;
mod system;
mod terminal;

pub use self::{
    browser::{Browser, Page},
    system::{System, root},
    terminal::{Terminal, picture},
};

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Polls until `holds` does, and says how long that took.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    begun.elapsed()
}
