//! The signals that ask `micro run` to end.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};

/// How many signals may wait to be noticed: the second one already kills.
const QUEUE_LENGTH: usize = 2;

/// Ctrl-C, SIGTERM, SIGQUIT, and the end of the terminal, as messages.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) received: mpsc::Receiver<()>,
    _listeners: JoinSet<()>,
}

impl Signals {
    /// Takes the signals over from here on; they no longer end the process.
    pub(super) fn listen() -> io::Result<Self> {
        let (sender, received) = mpsc::channel(QUEUE_LENGTH);
        let mut listeners = JoinSet::new();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::quit(),
            SignalKind::hangup(),
        ] {
            let mut signal = signal(kind)?;
            let sender = sender.clone();
            listeners.spawn(async move {
                while signal.recv().await.is_some() && sender.send(()).await.is_ok() {}
            });
        }
        Ok(Self {
            received,
            _listeners: listeners,
        })
    }
}
