//! All services of which something is exported, and the paths that their methods have together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures_util::future::join_all;
use micro::Client;
use tokio::time::{Duration, Instant, timeout_at};

use crate::{bindings::Bindings, export::Export, exported::Exported, table::Table};

/// How long a service that has not described itself yet is waited for by those who look at all services.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// All of them, by their names in the registry.
#[derive(Debug)]
pub(crate) struct Site {
    services: BTreeMap<Arc<str>, Exported>,
    latest: Mutex<Option<Arc<Overview>>>,
}

/// What is known of all services at one moment.
#[derive(Debug)]
pub(crate) struct Overview {
    /// Those that are known, by name.
    pub(crate) tables: BTreeMap<Arc<str>, Arc<Table>>,
    pub(crate) bindings: Bindings,
    /// Whether there are others, of which nothing is known yet.
    pub(crate) is_partial: bool,
}

impl Site {
    pub(crate) fn new(exports: &[Export], client: &Client) -> Self {
        let mut by_service: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for export in exports {
            by_service
                .entry(export.service().into())
                .or_default()
                .push(export.clone());
        }
        let services = by_service.into_iter().map(|(name, exports)| {
            let exported = Exported::new(&name, exports, client.clone());
            (name, exported)
        });
        Self {
            services: services.collect(),
            latest: Mutex::new(None),
        }
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.services.keys().map(|name| (**name).to_owned()).collect()
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Exported> {
        self.services.get(name)
    }

    /// What is known of all services. The first to ask wait for those that have not described themselves, for a while.
    pub(crate) async fn overview(&self, deadline: Instant) -> Arc<Overview> {
        let until = deadline.min(Instant::now() + WAIT_MAX);
        let tables = self.services.iter().map(|(name, exported)| async move {
            let table = timeout_at(until, exported.table()).await.ok()?.ok()?;
            Some((Arc::clone(name), table))
        });
        let tables: BTreeMap<_, _> = join_all(tables).await.into_iter().flatten().collect();
        let mut latest = self.latest.lock().expect("no panic while it is locked");
        if let Some(latest) = latest.as_ref().filter(|latest| latest.is_of(&tables)) {
            return Arc::clone(latest);
        }
        let overview = Arc::new(Overview::new(tables, self.services.len()));
        *latest = Some(Arc::clone(&overview));
        overview
    }
}

impl Overview {
    fn new(tables: BTreeMap<Arc<str>, Arc<Table>>, services: usize) -> Self {
        let mut bindings = Bindings::default();
        // In the order of the names: who was there first is nothing that two gateways would agree on.
        for (service, table) in &tables {
            for binding in table.bindings() {
                bindings.add(service, binding);
            }
        }
        Self {
            is_partial: tables.len() < services,
            bindings,
            tables,
        }
    }

    fn is_of(&self, tables: &BTreeMap<Arc<str>, Arc<Table>>) -> bool {
        let mut pairs = self.tables.iter().zip(tables);
        self.tables.len() == tables.len()
            && pairs.all(|((a_name, a), (b_name, b))| a_name == b_name && Arc::ptr_eq(a, b))
    }
}
