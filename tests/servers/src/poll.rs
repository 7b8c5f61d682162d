//! The one way to wait for a server: asking it again and again, with a limit.

use std::time::{Duration, Instant};

use tokio::time;

use crate::{Error, Result};

/// Nothing is waited for longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(50);

/// What is being waited for, and since when.
#[derive(Debug)]
pub(crate) struct Wait {
    what: String,
    started: Instant,
}

impl Wait {
    pub(crate) fn until(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            started: Instant::now(),
        }
    }

    /// Waits a moment; fails with what `log` gives once the limit has passed.
    pub(crate) async fn on(&self, log: impl Fn() -> String + Send) -> Result<()> {
        if self.started.elapsed() > LIMIT {
            let (what, log) = (&self.what, log());
            return Err(Error::new(format!(
                "waited {LIMIT:?} in vain until {what}:\n{log}"
            )));
        }
        time::sleep(INTERVAL).await;
        Ok(())
    }
}
