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
        /// How large it may be on a machine with other work.
        busy: f64,
    },
}

/// What came out of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its number in FAULTS.md.
    pub fault: &'static str,
    /// How long calls went to a node before it was avoided.
    pub avoided: Option<Duration>,
    /// What else is timed: as a rule until all was well again.
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
            avoided: None,
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

    /// Adds how long calls went to a node before it was avoided; `None` when it never was.
    #[must_use]
    pub fn avoided(mut self, measured: Option<Duration>, allowed: Duration) -> Self {
        self.avoided = measured;
        match measured {
            Some(measured) => self.time("until the node was avoided", measured, allowed),
            None => self.holds("the node was avoided at some time", false),
        }
    }

    /// Adds the time that the table shows besides.
    #[must_use]
    pub fn seconds(mut self, what: impl Into<String>, measured: Duration, allowed: Duration) -> Self {
        self.seconds = Some(measured);
        self.time(what, measured, allowed)
    }

    /// Adds a part, and how large it may be on a machine without other work.
    #[must_use]
    pub fn part(self, what: impl Into<String>, measured: f64, allowed: f64) -> Self {
        let busy = allowed * f64::from(Pace::Short.tolerance());
        self.share(what, measured, allowed, busy)
    }

    /// Adds a part, and how large it may be on a machine without other work and on one with it.
    #[must_use]
    pub fn share(mut self, what: impl Into<String>, measured: f64, allowed: f64, busy: f64) -> Self {
        self.figures.push(Figure::Part {
            what: what.into(),
            measured,
            allowed,
            busy,
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
        let missed = |figure: &&Figure| !figure.is_met(pace);
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
    fn is_met(&self, pace: Pace) -> bool {
        match self {
            Self::Fact { holds, .. } => *holds,
            Self::Count {
                measured, allowed, ..
            } => measured <= allowed,
            Self::Time {
                measured, allowed, ..
            } => *measured <= *allowed * pace.tolerance(),
            Self::Part {
                measured,
                allowed,
                busy,
                ..
            } => *measured <= pace.of(*busy, *allowed),
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
                busy,
            } => write!(
                f,
                "{what}: {:.2} %, allowed are {:.2} %, and {:.2} % beside other work",
                measured * 100.0,
                allowed * 100.0,
                busy * 100.0
            ),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} calls, {} failed", self.fault, self.calls, self.failed)?;
        for figure in &self.figures {
            let mark = if figure.is_met(Pace::Full) {
                "met   "
            } else {
                "missed"
            };
            writeln!(f, "  {mark} {figure}")?;
        }
        for line in self.failures.lines() {
            writeln!(f, "  failed {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misses(outcome: &Outcome) -> [usize; 2] {
        [Pace::Full, Pace::Short].map(|pace| outcome.misses(pace).len())
    }

    #[test]
    fn a_busy_machine_gets_more_of_what_is_timed_and_no_more_of_what_is_counted() {
        let new = || Outcome::new("F00");
        let second = Duration::from_secs(1);
        assert_eq!(misses(&new().time("", second, second / 2)), [1, 0]);
        assert_eq!(misses(&new().time("", second * 6, second / 2)), [1, 1]);
        assert_eq!(misses(&new().part("", 0.3, 0.05)), [1, 0]);
        assert_eq!(misses(&new().share("", 0.3, 0.05, 0.15)), [1, 1]);
        assert_eq!(misses(&new().share("", 0.1, 0.05, 0.15)), [1, 0]);
        assert_eq!(misses(&new().count("", 2, 1)), [1, 1]);
        assert_eq!(misses(&new().holds("", false)), [1, 1]);
    }

    #[test]
    fn a_node_that_was_never_avoided_is_a_miss() {
        let second = Duration::from_secs(1);
        let soon = Outcome::new("F00").avoided(Some(second), second);
        assert_eq!((soon.avoided, misses(&soon)), (Some(second), [0, 0]));
        assert_eq!(
            misses(&Outcome::new("F00").avoided(Some(second * 2), second)),
            [1, 0]
        );
        assert_eq!(misses(&Outcome::new("F00").avoided(None, second)), [1, 1]);
    }
}
