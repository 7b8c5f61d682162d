//! What the nodes of one version of a service say of themselves.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use micro::{CallOptions, Channel};
use micro_dynamic::{Catalog, reflect};
use tokio::time::{Duration, Instant, timeout};
use tonic::Status;

use crate::{
    export::Export,
    table::{Route, Table},
};

/// How long a node may take to describe itself.
const REFLECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a description is believed of nodes that do not say when they were started, so that another program in their
/// place would go unnoticed.
const UNCERTAIN_AGE_MAX: Duration = Duration::from_secs(60);

/// One version of a service, described.
#[derive(Clone, Debug)]
pub(crate) struct Edition {
    pub(crate) version: Arc<str>,
    catalog: Catalog,
    /// The starts of those nodes that may have described it.
    boots: BTreeSet<String>,
    described: Instant,
}

impl Edition {
    /// Asks one of the nodes of `version`; only they are asked if `is_one_of_several`.
    pub(crate) async fn describe(
        channel: &Channel,
        version: Arc<str>,
        boots: BTreeSet<String>,
        is_one_of_several: bool,
    ) -> Result<Self, Status> {
        let options = CallOptions::new().timeout(REFLECTION_TIMEOUT);
        let options = if is_one_of_several {
            options.version(Arc::clone(&version))
        } else {
            options
        };
        let reflected = timeout(REFLECTION_TIMEOUT, reflect(channel.clone().options(options))).await;
        let catalog = reflected
            .map_err(|_| Status::deadline_exceeded("the service did not describe itself in time"))??;
        Ok(Self {
            version,
            catalog,
            boots,
            described: Instant::now(),
        })
    }

    /// Has it described anew, whoever is there.
    pub(crate) fn doubt(&mut self) {
        self.boots.clear();
    }

    /// Whether it still holds for nodes with these starts.
    pub(crate) fn holds_for(&self, boots: &BTreeSet<String>) -> bool {
        let is_uncertain = boots.iter().any(String::is_empty);
        if is_uncertain && self.described.elapsed() > UNCERTAIN_AGE_MAX {
            return false;
        }
        !self.boots.is_disjoint(boots)
    }
}

/// The exported methods of all `editions`: as the newest version that has a method describes it.
pub(crate) fn table(
    service: &Arc<str>,
    channel: &Channel,
    editions: &[Edition],
    exports: &[Export],
) -> micro::Result<Table> {
    let mut newest_first: Vec<_> = editions.iter().collect();
    newest_first.sort_by(|a, b| compare(&b.version, &a.version));
    let has = |edition: &Edition, kind: &str, method: &str| {
        let mut services = edition.catalog.services();
        services.any(|service| {
            service.full_name() == kind && service.methods().any(|known| known.name() == method)
        })
    };
    let mut routes: Vec<Route> = Vec::new();
    for edition in newest_first {
        let channel = channel.clone().descriptors(&edition.catalog.descriptor_set())?;
        for described in edition.catalog.services() {
            for method in described.methods() {
                let kind = described.full_name();
                let is_known = routes.iter().any(|route| {
                    route.method.parent_service().full_name() == kind && route.method.name() == method.name()
                });
                if is_known || !exports.iter().any(|export| export.holds(kind, method.name())) {
                    continue;
                }
                let is_everywhere = editions.iter().all(|other| has(other, kind, method.name()));
                let channel = if is_everywhere {
                    channel.clone()
                } else {
                    // Nodes of the other versions would answer that they do not have it.
                    let options = CallOptions::new().version(Arc::clone(&edition.version));
                    channel.clone().options(options)
                };
                match Route::new(service, method.clone(), channel) {
                    Ok(route) => routes.push(route),
                    Err(error) => {
                        let method = method.full_name();
                        tracing::warn!(%service, method, %error, "a method that no path can name is left out");
                    }
                }
            }
        }
    }
    Ok(Table::new(routes))
}

/// Orders versions as people do: numbers by their value, and the rest as text.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split(['.', '-', '+']), b.split(['.', '-', '+']));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_people_give_them() {
        let mut versions = ["1.10.0", "", "1.9.3", "2", "1.9", "v2"];
        versions.sort_by(|a, b| compare(a, b));
        assert_eq!(versions, ["", "1.9", "1.9.3", "1.10.0", "2", "v2"]);
    }
}
