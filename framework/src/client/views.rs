//! What calls of each kind pick from: made by the control task whenever the nodes that are ready have changed.

use std::sync::Arc;

use micro_registry::ServiceName;
use tracing::warn;

use super::{
    candidate::Candidate,
    outlier,
    picker::{Nodes, View},
    policy::{Balancer, CallInfo, Pick, Policy, zone::ZoneFirst},
    selection::Selection,
    settings::Settings,
    table::{Id, Table},
};

/// How many selections a service has at most; the one that was asked for first goes first. Those who ask for it again
/// wait for a turn of the control task.
const SELECTIONS_MAX: usize = 32;

/// The views of a service: first that of calls that ask for nothing, then those of the others.
#[derive(Debug)]
pub(super) struct Views {
    service: ServiceName,
    policy: Policy,
    zone: Option<Arc<str>>,
    kept: Vec<Kept>,
    /// Which nodes were ready the last time.
    ready: Nodes,
    /// Whether it was warned of too many selections.
    warned: bool,
}

#[derive(Debug)]
struct Kept {
    selection: Arc<Selection>,
    balancer: Box<dyn Balancer>,
    /// `None` until it was made of the nodes that are ready now.
    view: Option<Arc<View>>,
    /// In a large service: the nodes to connect to for this selection.
    ahead: Vec<Id>,
}

impl Views {
    pub(super) fn new(service: ServiceName, settings: &Settings) -> Self {
        let mut views = Self {
            service,
            policy: settings.policy.clone(),
            zone: settings.zone.clone(),
            kept: Vec::new(),
            ready: Arc::new([]),
            warned: false,
        };
        views.keep(Arc::default());
        views
    }

    /// Makes views of this selection from now on.
    pub(super) fn add(&mut self, selection: Arc<Selection>) {
        if self.kept.iter().any(|kept| kept.selection == selection) {
            return;
        }
        if self.kept.len() > SELECTIONS_MAX {
            if !self.warned {
                self.warned = true;
                let (service, max) = (&self.service, SELECTIONS_MAX);
                warn!(%service, max, "calls ask for nodes in too many ways, some have to wait for their turn");
            }
            self.kept.remove(1);
        }
        self.keep(selection);
    }

    fn keep(&mut self, selection: Arc<Selection>) {
        let policy = selection.policy.as_ref().unwrap_or(&self.policy);
        let zone = selection.zone.as_ref().or(self.zone.as_ref());
        let balancer: Box<dyn Balancer> = match zone.filter(|zone| !zone.is_empty()) {
            Some(zone) => Box::new(ZoneFirst::new(
                Arc::clone(zone),
                policy.balancer(),
                policy.balancer(),
            )),
            None => policy.balancer(),
        };
        self.kept.push(Kept {
            selection,
            balancer,
            view: None,
            ahead: Vec::new(),
        });
    }

    /// Looks for the nodes to connect to for selections that leave some out: the first ones in the client's order.
    pub(super) fn look_ahead(&mut self, table: &Table, size: usize) {
        for kept in self.kept.iter_mut().filter(|kept| kept.selection.is_filter()) {
            let matches = |id: &&Id| {
                table
                    .get(id)
                    .is_some_and(|endpoint| kept.selection.matches(&endpoint.node))
            };
            kept.ahead = table
                .present(usize::MAX)
                .filter(matches)
                .take(size)
                .cloned()
                .collect();
        }
    }

    /// The nodes to connect to for selections that leave some out.
    pub(super) fn ahead(&self) -> impl Iterator<Item = &Id> {
        self.kept.iter().flat_map(|kept| &kept.ahead)
    }

    /// The views of the nodes that are ready now. What has not changed is what it was before, behind the same `Arc`.
    pub(super) fn update(&mut self, ready: Vec<Arc<Candidate>>) -> (Nodes, Box<[Arc<View>]>) {
        let is_same = |(one, other): (&Arc<Candidate>, &Arc<Candidate>)| Arc::ptr_eq(one, other);
        if self.ready.len() != ready.len() || !self.ready.iter().zip(&ready).all(is_same) {
            self.ready = ready.into();
            self.kept.iter_mut().for_each(|kept| kept.view = None);
        }
        let views = self.kept.iter_mut().map(|kept| kept.view(&self.ready));
        (Arc::clone(&self.ready), views.collect())
    }
}

impl Kept {
    fn view(&mut self, ready: &Nodes) -> Arc<View> {
        let (selection, balancer) = (&self.selection, &mut self.balancer);
        let view = self.view.get_or_insert_with(|| {
            let all = if selection.is_filter() {
                let matches = |candidate: &&Arc<Candidate>| selection.matches(candidate.node());
                ready.iter().filter(matches).cloned().collect()
            } else {
                Arc::clone(ready)
            };
            let usable = outlier::usable(&all);
            let pick = pick(&mut **balancer, &usable);
            Arc::new(View::new(Arc::clone(selection), all, usable, pick))
        });
        Arc::clone(view)
    }
}

/// What the balancer picks with; it is never asked about no nodes.
fn pick(balancer: &mut dyn Balancer, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
    if nodes.is_empty() {
        return Box::new(|_nodes: &[Arc<Candidate>], _call: &CallInfo<'_>| 0);
    }
    balancer.pick_from(nodes)
}

#[cfg(test)]
mod tests {
    use super::{super::policy::tests::nodes_with, *};

    fn views() -> Views {
        Views::new("greeter".parse().unwrap(), &Settings::default())
    }

    fn zone(zone: impl Into<Arc<str>>) -> Arc<Selection> {
        Arc::new(Selection {
            metadata: vec![("zone".into(), zone.into())],
            ..Selection::default()
        })
    }

    #[test]
    fn a_view_has_the_nodes_that_match_and_is_made_anew_only_for_others() {
        let (mut views, nodes) = (views(), nodes_with("zone", &["a", "b", "a"]));
        views.add(zone("a"));
        let (ready, made) = views.update(nodes.clone());
        assert_eq!(ready.len(), 3);
        assert_eq!([made[0].all.len(), made[1].all.len()], [3, 2]);
        views.add(zone("a"));
        views.add(zone("nowhere"));
        let (_, again) = views.update(nodes.clone());
        assert!(Arc::ptr_eq(&made[0], &again[0]) && Arc::ptr_eq(&made[1], &again[1]));
        assert_eq!(again[2].all.len(), 0);
        let (_, fewer) = views.update(nodes[1..].to_vec());
        assert_eq!([fewer[0].all.len(), fewer[1].all.len()], [2, 1]);
    }

    #[test]
    fn there_are_only_so_many_and_the_client_s_own_stays() {
        let mut views = views();
        for at in 0..100 {
            views.add(zone(at.to_string()));
        }
        let (_, made) = views.update(Vec::new());
        assert_eq!(made.len(), SELECTIONS_MAX + 1);
        assert_eq!(*made[0].selection, Selection::default());
        assert_eq!(made[SELECTIONS_MAX].selection, zone("99"));
    }
}
