//! What a clause is doing, and how it ends when that does not get done.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time;

use crate::{Error, ErrorKind, Node, Result, Snapshot};

/// How long one call into the registry may take: three times the framework's registry timeout.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The most nodes of each kind in a message.
const SHOWN_MAX: usize = 5;

/// The steps of one clause, for the messages of what fails.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    clause: &'static str,
    last: Arc<Mutex<String>>,
}

impl Steps {
    pub(super) fn new(clause: &'static str) -> Self {
        Self {
            clause,
            last: Arc::new(Mutex::new("start".into())),
        }
    }

    /// What was begun last, for a clause that does not end.
    pub(super) fn last(&self) -> String {
        self.last
            .lock()
            .expect("no panic while the step is locked")
            .clone()
    }

    /// Notes what is being done.
    pub(super) fn begin(&self, what: &str) {
        what.clone_into(&mut self.last.lock().expect("no panic while the step is locked"));
    }

    /// Waits for a call that has to answer in time, whatever it answers.
    pub(super) async fn answer<T>(&self, what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.begin(what);
        match time::timeout(CALL_TIMEOUT, call).await {
            Ok(answer) => answer,
            Err(_) => self.fail(what, format_args!("no answer within {CALL_TIMEOUT:?}")),
        }
    }

    /// Waits for a call that has to succeed in time.
    pub(super) async fn success<T>(&self, what: &str, call: impl Future<Output = Result<T>>) -> T {
        match self.answer(what, call).await {
            Ok(answer) => answer,
            Err(error) => self.fail(what, Chain(&error)),
        }
    }

    /// Waits for a call that has to be refused as `kind` in time.
    pub(super) async fn refusal<T>(
        &self,
        what: &str,
        kind: ErrorKind,
        call: impl Future<Output = Result<T>>,
    ) {
        match self.answer(what, call).await {
            Err(error) if error.kind() == kind => {}
            Err(error) => self.fail(what, format_args!("expected is `{kind}`, not {}", Chain(&error))),
            Ok(_) => self.fail(what, format_args!("expected is `{kind}`, not success")),
        }
    }

    pub(super) fn fail(&self, what: &str, message: impl fmt::Display) -> ! {
        panic!("{}: {what}: {message}", self.clause)
    }
}

/// An error with all its causes on one line.
pub(super) struct Chain<'a>(pub(super) &'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.0.kind(), self.0)?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What is wrong with a snapshot, in few words however large it is.
pub(super) struct Difference<'a> {
    pub(super) found: &'a Snapshot,
    pub(super) expected: &'a Snapshot,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, expected } = self;
        write!(f, "{} nodes, expected are {}", found.len(), expected.len())?;
        let without = |snapshot: &Snapshot, node: &Node| snapshot.get(node.id()).is_none();
        for node in expected
            .nodes()
            .iter()
            .filter(|node| without(found, node))
            .take(SHOWN_MAX)
        {
            write!(f, "\n  missing: {}", Shown(node))?;
        }
        for node in found
            .nodes()
            .iter()
            .filter(|node| without(expected, node))
            .take(SHOWN_MAX)
        {
            write!(f, "\n  not expected: {}", Shown(node))?;
        }
        let other = |node: &&std::sync::Arc<Node>| found.get(node.id()).is_some_and(|found| found != *node);
        for node in expected.nodes().iter().filter(other).take(SHOWN_MAX) {
            let found = found.get(node.id()).expect("the filter found it");
            write!(f, "\n  found: {}\n  expected: {}", Shown(found), Shown(node))?;
        }
        Ok(())
    }
}

/// A node with the values of its metadata, which are the suite's own.
struct Shown<'a>(&'a Node);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} with {:?} and {:?}",
            self.0,
            self.0.metadata(),
            self.0.methods()
        )
    }
}
