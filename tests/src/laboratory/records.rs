//! What the records of a load say: failures, times, and who was called when.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use super::{load::Record, picks};

/// The records of a load, in the order in which the calls were begun.
#[derive(Debug)]
pub struct Records(Vec<Record>);

impl Records {
    /// Sorts them.
    #[must_use]
    pub fn new(mut records: Vec<Record>) -> Self {
        records.sort_by_key(|record| record.started);
        Self(records)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Record] {
        &self.0
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.len()
    }

    /// The calls that the caller got an error for.
    pub fn failed(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().filter(|record| record.code != tonic::Code::Ok)
    }

    /// The failures by what they said, with how often and how late after `origin` the first was begun: the most frequent
    /// ones, and those that differ by a number alone as one.
    #[must_use]
    pub fn failures(&self, origin: Instant) -> String {
        let mut kinds: BTreeMap<String, (usize, f64, &Record)> = BTreeMap::new();
        for record in self.failed() {
            let at = record.started.saturating_duration_since(origin).as_secs_f64();
            let kind = format!(
                "{:?}: {}",
                record.code,
                record.message.replace(|c: char| c.is_ascii_digit(), "")
            );
            kinds.entry(kind).or_insert((0, at, record)).0 += 1;
        }
        let mut kinds: Vec<_> = kinds.into_values().collect();
        kinds.sort_by_key(|(times, ..)| Reverse(*times));
        let lines = kinds.iter().map(|(times, at, first)| {
            format!(
                "{times} × {:?}: {} (the first at {at:.2} s)",
                first.code, first.message
            )
        });
        lines.take(8).collect::<Vec<_>>().join("\n")
    }

    /// The part of the calls begun from `from` to `to` that took `delay` or longer, or failed: where late calls are sent
    /// to a second node after `delay`, those that went to a node first which did not answer.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "no load makes 2^52 calls")]
    pub fn late(&self, delay: Duration, from: Instant, to: Instant) -> f64 {
        let late = self.between(from, to).filter(|record| record.is_late(delay));
        late.count() as f64 / self.between(from, to).count().max(1) as f64
    }

    /// How long after `since` calls that are among `ids` were begun, until there was none for a second; `None` when that
    /// did not come to pass before `until`.
    #[must_use]
    pub fn quiet_after(&self, ids: &HashSet<u64>, since: Instant, until: Instant) -> Option<Duration> {
        let there = self.0.iter().filter(|record| ids.contains(&record.id));
        picks::quiet_after(there.map(|record| record.started), since, until)
    }

    /// The part of the calls begun from `from` to `to` that are among `ids`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "no load makes 2^52 calls")]
    pub fn part_of(&self, ids: &HashSet<u64>, from: Instant, to: Instant) -> f64 {
        let there = self.between(from, to).filter(|record| ids.contains(&record.id));
        there.count() as f64 / self.between(from, to).count().max(1) as f64
    }

    /// How long the given part of the calls begun between `from` and `to` took at most.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among the calls of a load, and a part of at most one"
    )]
    pub fn percentile(&self, part: f64, from: Instant, to: Instant) -> Duration {
        let mut times: Vec<_> = self.between(from, to).map(Record::took).collect();
        times.sort();
        let rank = (times.len() as f64 * part) as usize;
        times
            .get(rank.min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Record> {
        self.0
            .iter()
            .filter(move |record| (from..to).contains(&record.started))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn records(origin: Instant, calls: &[(u64, &str, Code)]) -> Records {
        let records = calls.iter().enumerate().map(|(id, (at, node, code))| {
            let started = origin + Duration::from_millis(*at);
            Record {
                id: id as u64,
                idempotent: true,
                started,
                ended: started + Duration::from_millis(*at),
                code: *code,
                message: String::new(),
                pushback: false,
                node: Some((*node).to_owned()),
            }
        });
        Records::new(records.collect())
    }

    #[test]
    fn what_is_said_of_a_load_comes_from_its_records() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let records = records(
            origin,
            &[
                (400, "b", Code::Ok),
                (100, "a", Code::Ok),
                (200, "b", Code::Unavailable),
                (300, "a", Code::Ok),
            ],
        );
        assert_eq!(records.calls(), 4);
        assert_eq!(records.failed().count(), 1);
        let late = records.late(Duration::from_millis(300), at(0), at(1000));
        assert!((late - 0.75).abs() < f64::EPSILON, "{late}");
        let ids = HashSet::from([0, 9]);
        assert!((records.part_of(&ids, at(0), at(1000)) - 0.25).abs() < f64::EPSILON);
        let quiet_after = |until| records.quiet_after(&HashSet::from([1, 3]), at(0), at(until));
        assert_eq!(quiet_after(1300), Some(Duration::from_millis(300)));
        assert_eq!(quiet_after(1299), None);
        assert_eq!(
            records.percentile(0.5, at(0), at(1000)),
            Duration::from_millis(300)
        );
        assert_eq!(
            records.percentile(1.0, at(0), at(1000)),
            Duration::from_millis(400)
        );
    }

    #[test]
    fn failures_that_differ_by_a_number_are_one_and_the_most_frequent_come_first() {
        let origin = Instant::now();
        let calls: Vec<_> = (0..20).map(|at| (at, "a", Code::DeadlineExceeded)).collect();
        let mut records = records(origin, &calls);
        for (id, record) in records.0.iter_mut().enumerate() {
            record.message = format!("not within {}.{id} ms", 7 * id);
        }
        records.0[3].message = "away".to_owned();
        let expected = "19 × DeadlineExceeded: not within 0.0 ms (the first at 0.00 s)\n\
                        1 × DeadlineExceeded: away (the first at 0.00 s)";
        assert_eq!(records.failures(origin), expected);
    }
}
