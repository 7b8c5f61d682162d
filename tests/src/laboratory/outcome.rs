//! What a scenario measured, beside what is allowed.

use std::{fmt, time::Duration};

use super::{Executions, Pace, Records};

/// One thing that was measured, and how much of it is allowed.
#[derive(Clone, Debug)]
pub enum Figure {
    /// Something that must be so.
    Fact {
        /// What.
        what: String,
        /// Whether it was.
        holds: bool,
    },
    /// Counts hold on every machine.
    Count {
        /// What was counted.
        what: String,
        /// How many there were.
        measured: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// A time, of which a busy machine gets more.
    Time {
        /// What was timed.
        what: String,
        /// How long it took.
        measured: Duration,
        /// How long it may take.
        allowed: Duration,
    },
    /// A part of something that depends on times.
    Part {
        /// Part of what.
        what: String,
        /// How large it was.
        measured: f64,
        /// How large it may be.
        allowed: f64,
    },
}

/// What came out of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its number in FAULTS.md.
    pub fault: &'static str,
    /// What is shown in the table's column of times: until the node was avoided, or until all was well again.
    pub seconds: Option<Duration>,
    /// How often nodes had to register anew.
    pub registrations: Option<usize>,
    /// How many calls were made.
    pub calls: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many calls that may run once ran more often.
    pub duplicates: usize,
    /// Everything that must hold.
    pub figures: Vec<Figure>,
    failures: String,
}

impl Outcome {
    /// Nothing yet.
    #[must_use]
    pub fn new(fault: &'static str) -> Self {
        Self {
            fault,
            seconds: None,
            registrations: None,
            calls: 0,
            failed: 0,
            duplicates: 0,
            figures: Vec::new(),
            failures: String::new(),
        }
    }

    /// Takes in a load and what was run of it; nothing that may run once ran twice, and calls were made.
    #[must_use]
    pub fn load(mut self, records: &Records, executions: &Executions) -> Self {
        self.calls = records.calls();
        self.failed = records.failed().count();
        self.duplicates = executions.duplicates();
        if let Some(first) = records.all().first() {
            self.failures = records.failures(first.started);
        }
        let duplicates = self.duplicates;
        self.holds("a load ran", records.calls() > 100).count(
            "calls that ran more than once and must not",
            duplicates,
            0,
        )
    }

    /// No call of the load failed.
    #[must_use]
    pub fn no_failure(self) -> Self {
        let failed = self.failed;
        self.count("failed calls", failed, 0)
    }

    /// Adds a count, and how many are allowed.
    #[must_use]
    pub fn count(mut self, what: impl Into<String>, measured: usize, allowed: usize) -> Self {
        self.figures.push(Figure::Count {
            what: what.into(),
            measured,
            allowed,
        });
        self
    }

    /// Adds a time, and how long it may take on a machine without other work.
    #[must_use]
    pub fn time(mut self, what: impl Into<String>, measured: Duration, allowed: Duration) -> Self {
        self.figures.push(Figure::Time {
            what: what.into(),
            measured,
            allowed,
        });
        self
    }

    /// Adds the time that the table shows.
    #[must_use]
    pub fn seconds(mut self, what: impl Into<String>, measured: Duration, allowed: Duration) -> Self {
        self.seconds = Some(measured);
        self.time(what, measured, allowed)
    }

    /// Adds a part, and how large it may be on a machine without other work.
    #[must_use]
    pub fn part(mut self, what: impl Into<String>, measured: f64, allowed: f64) -> Self {
        self.figures.push(Figure::Part {
            what: what.into(),
            measured,
            allowed,
        });
        self
    }

    /// Adds what must hold.
    #[must_use]
    pub fn holds(mut self, what: impl Into<String>, holds: bool) -> Self {
        self.figures.push(Figure::Fact {
            what: what.into(),
            holds,
        });
        self
    }

    /// Sets how often nodes registered anew, of which so many are allowed.
    #[must_use]
    pub fn registrations(mut self, measured: usize, allowed: usize) -> Self {
        self.registrations = Some(measured);
        self.count("registrations anew", measured, allowed)
    }

    /// The figures that are not as they must be at this pace.
    #[must_use]
    pub fn misses(&self, pace: Pace) -> Vec<&Figure> {
        let missed = |figure: &&Figure| !figure.is_met(pace.tolerance());
        self.figures.iter().filter(missed).collect()
    }

    /// Ends the test unless every figure is as it must be.
    ///
    /// # Panics
    ///
    /// With every figure that is not.
    pub fn assert(&self, pace: Pace) {
        let misses = self.misses(pace);
        assert!(misses.is_empty(), "{self}");
    }
}

impl Figure {
    fn is_met(&self, tolerance: u32) -> bool {
        match self {
            Self::Fact { holds, .. } => *holds,
            Self::Count {
                measured, allowed, ..
            } => measured <= allowed,
            Self::Time {
                measured, allowed, ..
            } => *measured <= *allowed * tolerance,
            Self::Part {
                measured, allowed, ..
            } => *measured <= allowed * f64::from(tolerance),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact { what, .. } => write!(f, "{what}"),
            Self::Count {
                what,
                measured,
                allowed,
            } => write!(f, "{what}: {measured}, allowed are {allowed}"),
            Self::Time {
                what,
                measured,
                allowed,
            } => write!(
                f,
                "{what}: {:.2} s, allowed are {:.2} s",
                measured.as_secs_f64(),
                allowed.as_secs_f64()
            ),
            Self::Part {
                what,
                measured,
                allowed,
            } => write!(
                f,
                "{what}: {:.2} %, allowed are {:.2} %",
                measured * 100.0,
                allowed * 100.0
            ),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} calls, {} failed", self.fault, self.calls, self.failed)?;
        for figure in &self.figures {
            let mark = if figure.is_met(1) { "met   " } else { "missed" };
            writeln!(f, "  {mark} {figure}")?;
        }
        for line in self.failures.lines() {
            writeln!(f, "  failed {line}")?;
        }
        Ok(())
    }
}
