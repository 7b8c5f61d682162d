//! One process of a node: what it writes is shown, and it is told when it is ready and when it ends.

use std::{io, pin::Pin, process::ExitStatus, sync::Arc, time::Duration};

use tokio::{
    io::AsyncRead,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    keeper::{Reached, Readiness, Waiting},
    lines::Lines,
    printer::Printer,
    process::Process,
};

/// How long the last lines of a node may take after its end: a child of its own may hold the pipe open.
const LAST_LINES_WAIT: Duration = Duration::from_secs(3);

/// What happens to a process.
pub(super) enum Event {
    /// It can be called, there.
    Ready(Reached),
    /// It ended.
    Ended(io::Result<ExitStatus>),
}

/// A process that runs. Dropping it kills it.
pub(super) struct Started {
    pub(super) id: String,
    pub(super) process: Process,
    /// What it is waiting for, if it is not ready.
    pub(super) waiting: Arc<Waiting>,
    /// Since when it has been ready.
    pub(super) ready_since: Option<Instant>,
    ready: Pin<Box<dyn Future<Output = Reached> + Send>>,
    forwarding: JoinSet<()>,
}

impl Started {
    /// The process of a node, which registers under `id`, and whose lines have the label with this index.
    pub(super) fn new(
        mut process: Process,
        id: String,
        readiness: impl Readiness + Send,
        index: usize,
        printer: &Printer,
    ) -> Self {
        let (output, errors) = process.take_output();
        let mut forwarding = JoinSet::new();
        forwarding.spawn(forward(output, index, printer.clone()));
        forwarding.spawn(forward(errors, index, printer.clone()));
        let waiting = Arc::<Waiting>::default();
        let (asked, told) = (id.clone(), Arc::clone(&waiting));
        Self {
            id,
            process,
            waiting,
            ready_since: None,
            ready: Box::pin(async move { readiness.ready(&asked, &told).await }),
            forwarding,
        }
    }

    /// Waits for what happens next; it is ready once.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            status = self.process.wait() => Event::Ended(status),
            reached = &mut self.ready, if self.ready_since.is_none() => {
                self.ready_since = Some(Instant::now());
                Event::Ready(reached)
            }
        }
    }

    /// Waits for its end, which somebody asked it for.
    pub(super) async fn ended(mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await;
        self.last_lines().await;
        status
    }

    /// Waits until what it wrote is shown, after its end.
    pub(super) async fn last_lines(&mut self) {
        // Both ends were read, or somebody else holds them: nothing more is to come.
        let _ = timeout(LAST_LINES_WAIT, async {
            while self.forwarding.join_next().await.is_some() {}
        })
        .await;
    }
}

/// What happens next to a process that may not be there.
pub(super) async fn next_of(started: Option<&mut Started>) -> Event {
    match started {
        Some(started) => started.next().await,
        None => std::future::pending().await,
    }
}

async fn forward(source: impl AsyncRead + Unpin, index: usize, printer: Printer) {
    let mut lines = Lines::new(source);
    // A pipe that cannot be read any more has nothing more to show.
    while let Ok(Some(line)) = lines.next().await {
        printer.theirs(index, line).await;
    }
}
