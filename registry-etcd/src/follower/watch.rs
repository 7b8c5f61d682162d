//! One watch: what it has seen, what it makes of a message, and when it has to do something by itself.

use std::time::Duration;

use micro_registry::WatchSender;
use tokio::time::Instant;

use super::{Content, Event, Message, Position};
use crate::nodes::Nodes;

/// How long a server may be silent until it is asked for a sign of life.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long the sign of life may take; a server with too much to do takes a few seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The shortest rest between two snapshots: changes that come faster arrive together.
const REST_MIN: Duration = Duration::from_millis(50);
/// The longest rest, however long making a snapshot took.
const REST_MAX: Duration = Duration::from_secs(1);
/// As many times as long as making a snapshot took is the rest, so that making them takes a tenth of a percent of a core
/// at most while changes have no end.
const REST_SHARE: u32 = 999;

/// What is to be done after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing but to wait for the next.
    Go,
    /// To list, and go on with this watch if that is possible.
    List,
    /// To list, and begin another watch.
    Leave,
}

/// The state of a watch.
#[derive(Debug)]
pub(super) struct Watch {
    /// The revision that it was asked to begin at.
    start: i64,
    /// As of when everything was listed.
    listed: i64,
    /// The server has been here: what is before is another history.
    seen: Position,
    /// The revision of the last event.
    last_event: i64,
    heard: Instant,
    asked: Option<Instant>,
    /// Whether there are changes that nobody has been told.
    is_changed: bool,
    /// Whether the rest of a message is still to come.
    is_partial: bool,
    /// No snapshot before.
    rest_until: Instant,
}

impl Watch {
    /// A watch that was asked to begin where everything was listed; an answer is due.
    pub(super) fn new(listed: Position) -> Self {
        let now = Instant::now();
        Self {
            start: listed.revision,
            listed: listed.revision,
            seen: listed,
            last_event: 0,
            heard: now,
            asked: Some(now),
            is_changed: false,
            is_partial: false,
            rest_until: now + REST_MIN,
        }
    }

    /// Makes the changes of a message.
    pub(super) fn take(&mut self, message: Message, nodes: &mut Nodes) -> Step {
        (self.heard, self.asked) = (Instant::now(), None);
        let Message { at, content } = message;
        let is_back = at.term < self.seen.term;
        match content {
            Content::Compacted => Step::Leave,
            Content::Created if is_back || at.revision < self.seen.revision => {
                // Either it lost its state, or it is another one that has yet to hear what the first has told.
                self.seen = at;
                Step::List
            }
            // What a server says of itself later on is behind what was listed when it has fallen behind.
            Content::Progress if is_back || at.revision < self.seen.revision => Step::Leave,
            Content::Created | Content::Progress => {
                self.seen = at;
                Step::Go
            }
            Content::Events { .. } if is_back => Step::Leave,
            Content::Events { events, has_more } => {
                // The revision of such a message may be ahead of signs of life that come later.
                self.seen.term = at.term;
                self.is_partial = has_more;
                self.change(events, nodes)
            }
        }
    }

    fn change(&mut self, events: Vec<Event>, nodes: &mut Nodes) -> Step {
        for event in events {
            if event.revision <= self.listed {
                continue;
            }
            if event.revision < self.last_event {
                return Step::Leave;
            }
            self.last_event = event.revision;
            self.is_changed |= match event.record {
                Some(record) => nodes.put(&event.key, &record),
                None => nodes.delete(&event.key),
            };
        }
        Step::Go
    }

    /// Whether all that comes after `listed` will come: a server that lost its state says nothing until it has come to
    /// where the watch was to begin, and what is behind the watch is another history.
    pub(super) fn goes_on_from(&mut self, listed: Position) -> bool {
        let reached = self.start.max(self.seen.revision).max(self.last_event);
        let goes_on = listed.revision >= reached && listed.term >= self.seen.term;
        if goes_on {
            self.listed = listed.revision;
            self.seen = listed;
            let now = Instant::now();
            // What the server said in the meantime is still to be read.
            (self.heard, self.asked) = (now, None);
        }
        goes_on
    }

    /// When there will be something to do.
    pub(super) fn wake(&self) -> Instant {
        let alive = self
            .asked
            .map_or(self.heard + SILENCE_MAX, |asked| asked + ANSWER_WITHIN);
        if self.is_changed && !self.is_partial {
            return alive.min(self.rest_until);
        }
        alive
    }

    /// Sends what changed, unless the last time was just now or more is about to come.
    pub(super) fn send_if_due(&mut self, nodes: &mut Nodes, sender: &WatchSender) {
        if self.rest_until <= Instant::now() {
            self.flush(nodes, sender);
        }
    }

    /// Sends what changed, unless more is about to come.
    pub(super) fn flush(&mut self, nodes: &mut Nodes, sender: &WatchSender) {
        if self.is_changed && !self.is_partial {
            self.send(nodes, sender);
        }
    }

    /// Sends what was listed.
    pub(super) fn flush_listed(&mut self, nodes: &mut Nodes, sender: &WatchSender) {
        self.send(nodes, sender);
    }

    /// Sends all; how long that takes decides when it is done again at the soonest.
    fn send(&mut self, nodes: &mut Nodes, sender: &WatchSender) {
        let begun = Instant::now();
        self.is_changed = false;
        sender.send(nodes.snapshot());
        let now = Instant::now();
        self.rest_until = now + ((now - begun) * REST_SHARE).clamp(REST_MIN, REST_MAX);
    }

    /// Whether a sign of life is to be asked for now; then one is due.
    pub(super) fn ask_if_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.asked.is_none() && self.heard + SILENCE_MAX <= now;
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }

    /// Why the watch has to be given up, if the sign of life did not come.
    pub(super) fn silence(&self) -> Option<String> {
        let asked = self.asked?;
        (asked + ANSWER_WITHIN <= Instant::now()).then(|| format!("no sign of life within {ANSWER_WITHIN:?}"))
    }
}
