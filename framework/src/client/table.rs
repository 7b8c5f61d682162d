//! The endpoints of a service by id, with indexes over those that a turn of the control task has to look at.
//!
//! A turn costs what has changed and what is connected, however many nodes are known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    candidate::Candidate,
    endpoint::Endpoint,
    subset::{Order, Ranked},
};

/// A node's id, shared by the indexes.
pub(super) type Id = Arc<str>;

/// The endpoints of a service, sorted by id.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Id, Entry>,
    order: Order,
    /// Those that have connections.
    connected: BTreeSet<Id>,
    /// Those that the registry no longer lists.
    held: BTreeSet<Id>,
    /// Those that calls have named.
    named: BTreeSet<Id>,
}

#[derive(Debug)]
struct Entry {
    endpoint: Endpoint,
    /// Where it stands now: connections end on their own, so the endpoint may say otherwise by now.
    marks: Marks,
}

/// In which indexes an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    failing: bool,
    connected: bool,
    held: bool,
    named: bool,
}

impl Marks {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            failing: endpoint.is_failing(),
            connected: endpoint.has_connections(),
            held: endpoint.held_until.is_some(),
            named: endpoint.was_named(),
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Endpoint> {
        self.entries.get(id).map(|entry| &entry.endpoint)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &Id> {
        self.entries.keys()
    }

    /// Those that have connections, sorted by id.
    pub(super) fn connected(&self) -> impl Iterator<Item = &Id> {
        self.connected.iter()
    }

    /// Those with connections that `belongs` picks.
    pub(super) fn find_connected(&self, belongs: impl Fn(&Endpoint) -> bool) -> Vec<Id> {
        if !self.is_mostly_connected() {
            let found = self
                .connected
                .iter()
                .filter(|id| self.get(id).is_some_and(&belongs));
            return found.cloned().collect();
        }
        let found = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.marks.connected && belongs(&entry.endpoint));
        found.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// What calls pick from of those with connections, sorted by id.
    pub(super) fn ready(&mut self, now: Instant) -> Vec<Arc<Candidate>> {
        if !self.is_mostly_connected() {
            let entries = &mut self.entries;
            let ready = self
                .connected
                .iter()
                .filter_map(|id| entries.get_mut(id)?.endpoint.ready(now));
            return ready.collect();
        }
        let connected = self.entries.values_mut().filter(|entry| entry.marks.connected);
        connected.filter_map(|entry| entry.endpoint.ready(now)).collect()
    }

    /// Whether to look at all of them is less than to look each connected one up.
    fn is_mostly_connected(&self) -> bool {
        self.connected.len() * 4 > self.entries.len()
    }

    /// The ids of all that `belongs` picks.
    pub(super) fn find(&self, belongs: impl Fn(&Endpoint) -> bool) -> Vec<Id> {
        let found = self.entries.iter().filter(|(_, entry)| belongs(&entry.endpoint));
        found.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Those that the registry no longer lists.
    pub(super) fn held(&self) -> impl Iterator<Item = &Id> {
        self.held.iter()
    }

    /// Those that calls have named.
    pub(super) fn named(&self) -> impl Iterator<Item = &Id> {
        self.named.iter()
    }

    /// Puts an endpoint in, in place of another one of its id.
    pub(super) fn insert(&mut self, endpoint: Endpoint) {
        let id = Id::from(endpoint.node.id());
        self.remove(&id);
        let marks = Marks::of(&endpoint);
        self.order.insert((endpoint.rank, Arc::clone(&id)), marks.failing);
        self.mark(&id, marks);
        self.entries.insert(id, Entry { endpoint, marks });
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some((id, Entry { endpoint, marks })) = self.entries.remove_entry(id) else {
            return;
        };
        self.order
            .remove(&(endpoint.rank, Arc::clone(&id)), marks.failing);
        for index in [&mut self.connected, &mut self.held, &mut self.named] {
            index.remove(&id);
        }
    }

    /// Changes an endpoint, and the indexes with it; `None` when there is none of this id.
    pub(super) fn change<T>(&mut self, id: &str, change: impl FnOnce(&mut Endpoint) -> T) -> Option<T> {
        let Entry { endpoint, marks } = self.entries.get_mut(id)?;
        let changed = change(endpoint);
        let (before, after, rank) = (*marks, Marks::of(endpoint), endpoint.rank);
        if before != after {
            *marks = after;
            let id = self.entries.get_key_value(id).map(|(id, _)| Arc::clone(id))?;
            if before.failing != after.failing {
                let ranked: Ranked = (rank, Arc::clone(&id));
                self.order.remove(&ranked, before.failing);
                self.order.insert(ranked, after.failing);
            }
            self.mark(&id, after);
        }
        Some(changed)
    }

    fn mark(&mut self, id: &Id, marks: Marks) {
        for (index, belongs) in [
            (&mut self.connected, marks.connected),
            (&mut self.held, marks.held),
            (&mut self.named, marks.named),
        ] {
            if belongs {
                index.insert(Arc::clone(id));
            } else {
                index.remove(id);
            }
        }
    }

    /// Of a service that is larger than `size`: the nodes to have connections to now.
    pub(super) fn present(&self, size: usize) -> impl Iterator<Item = &Id> {
        self.order.present(size)
    }

    /// The nodes to connect to ahead of calls, and those that calls have named.
    pub(super) fn wanted(&self, size: usize) -> BTreeSet<Id> {
        let ahead = self.order.present(size).chain(self.order.preferred(size));
        ahead.chain(&self.named).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::row::Seat, *};
    use micro_registry::Node;
    use proptest::prelude::*;

    /// What may happen to an endpoint.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Insert,
        Remove,
        Fail,
        Succeed,
        Hold,
        List,
        Name,
        ForgetName,
    }

    fn endpoint(id: u8) -> Endpoint {
        let address = "127.0.0.1:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), id.to_string(), address);
        Endpoint::new(Arc::new(node.build().unwrap()), 1, Seat::default())
    }

    fn happen(table: &mut Table, id: u8, event: Event, now: Instant) {
        let later = now + Duration::from_secs(3600);
        let change = |endpoint: &mut Endpoint| match event {
            Event::Fail => endpoint.connect_failed(now),
            Event::Succeed => endpoint.failures = 0,
            Event::Hold => endpoint.held_until = Some(later),
            Event::List => endpoint.held_until = None,
            Event::Name => endpoint.named(now),
            Event::ForgetName => endpoint.forget_name(later),
            Event::Insert | Event::Remove => {}
        };
        match event {
            Event::Insert => table.insert(endpoint(id)),
            Event::Remove => table.remove(&id.to_string()),
            _ => {
                table.change(&id.to_string(), change);
            }
        }
    }

    /// The ids of the endpoints that `belongs` picks, as a look at all of them finds them.
    fn all(table: &Table, belongs: impl Fn(&Endpoint) -> bool) -> Vec<&Id> {
        let entries = table.entries.iter().filter(|(_, entry)| belongs(&entry.endpoint));
        entries.map(|(id, _)| id).collect()
    }

    /// The first of all endpoints by `key`.
    fn first<K: Ord>(table: &Table, size: usize, key: impl Fn(&Endpoint) -> K) -> Vec<&Id> {
        let mut ids: Vec<_> = table.ids().collect();
        ids.sort_by_key(|id| key(table.get(id).unwrap()));
        ids.truncate(size);
        ids
    }

    fn event() -> impl Strategy<Value = Event> {
        use Event::{Fail, ForgetName, Hold, Insert, List, Name, Remove, Succeed};
        prop_oneof![
            1 => Just(Insert),
            3 => proptest::sample::select(vec![Remove, Fail, Succeed, Hold, List, Name, ForgetName]),
        ]
    }

    proptest! {
        #[test]
        fn the_indexes_hold_what_a_look_at_all_endpoints_finds(
            events in proptest::collection::vec((0..20_u8, event()), 0..200),
            size in 1..10_usize,
        ) {
            let (mut table, now) = (Table::default(), Instant::now());
            for (id, event) in events {
                happen(&mut table, id, event, now);
            }
            prop_assert_eq!(table.held().collect::<Vec<_>>(), all(&table, |endpoint| endpoint.held_until.is_some()));
            prop_assert_eq!(table.named().collect::<Vec<_>>(), all(&table, Endpoint::was_named));
            let present = first(&table, size, |endpoint| (endpoint.is_failing(), endpoint.rank));
            prop_assert_eq!(table.present(size).collect::<Vec<_>>(), present);
            let preferred = first(&table, size, |endpoint| endpoint.rank);
            prop_assert_eq!(table.order.preferred(size).collect::<Vec<_>>(), preferred);
        }
    }
}
