//! The exported methods of a service, by all the ways to write them in a path.

use std::{collections::HashMap, fmt, sync::Arc};

use http::{
    Method,
    uri::{InvalidUri, PathAndQuery},
};
use micro::{Channel, HttpRoute};
use prost_reflect::{MethodDescriptor, prost_types::method_options::IdempotencyLevel};

use crate::{
    binding::{self, Binding},
    export::last_part,
    names,
    path::Path,
};

/// A method that may be reached, and the channel for its calls.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The service of the registry that it is of.
    pub(crate) service: Arc<str>,
    pub(crate) method: MethodDescriptor,
    /// Where its calls go.
    pub(crate) path: PathAndQuery,
    /// Knows the methods' descriptors; and picks nodes that have this one, where not all do.
    pub(crate) channel: Channel,
    /// Whether its calls change nothing, so that GET may make them.
    pub(crate) has_no_side_effects: bool,
    /// What it is in metrics where it is found by its names, however they are spelt.
    pub(crate) http_route: HttpRoute,
}

/// All exported methods of one service.
#[derive(Clone, Default)]
pub(crate) struct Table {
    by_kind: HashMap<String, HashMap<String, Slot>>,
    routes: Vec<Arc<Route>>,
    bindings: Vec<Arc<Binding>>,
}

/// What a path of this spelling leads to: nothing where it fits several methods equally well.
#[derive(Clone)]
struct Slot {
    rank: usize,
    route: Option<Arc<Route>>,
}

impl Route {
    /// Fails where the names, which come from a node, make no path.
    pub(crate) fn new(
        service: &Arc<str>,
        method: MethodDescriptor,
        channel: Channel,
    ) -> Result<Self, InvalidUri> {
        let options = method.method_descriptor_proto().options.as_ref();
        let has_no_side_effects =
            options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects);
        let name = name(&method);
        let path = PathAndQuery::try_from(format!("/{name}"))?;
        Ok(Self {
            service: Arc::clone(service),
            http_route: HttpRoute::new(format!("/{service}/{name}")),
            method,
            path,
            channel,
            has_no_side_effects,
        })
    }

    /// `greeter.Say/Hello`
    pub(crate) fn name(&self) -> String {
        name(&self.method)
    }

    /// Whether it is asked for by this HTTP method where it is found by its names. Who answers GET answers HEAD.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        match *method {
            Method::POST => true,
            Method::GET | Method::HEAD => self.has_no_side_effects,
            _ => false,
        }
    }
}

fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

impl Table {
    pub(crate) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut table = Self::default();
        for route in routes {
            let route = Arc::new(route);
            let kinds = names::of_kind(route.method.parent_service().full_name());
            let methods = names::of_method(route.method.name());
            for (kind_rank, kind) in kinds.iter().enumerate() {
                for (method_rank, method) in methods.iter().enumerate() {
                    // A name as it is comes before another way to write one.
                    table.insert(kind, method, kind_rank.min(1) + method_rank.min(1), &route);
                }
            }
            table.bindings.extend(binding::of(&route));
            table.routes.push(route);
        }
        table
    }

    fn insert(&mut self, kind: &str, method: &str, rank: usize, route: &Arc<Route>) {
        let new = Slot {
            rank,
            route: Some(Arc::clone(route)),
        };
        let of_kind = self.by_kind.entry(kind.to_owned()).or_default();
        let Some(known) = of_kind.get_mut(method) else {
            of_kind.insert(method.to_owned(), new);
            return;
        };
        let is_same = known
            .route
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, route));
        match rank.cmp(&known.rank) {
            std::cmp::Ordering::Less => *known = new,
            std::cmp::Ordering::Equal if !is_same => known.route = None,
            _ => {}
        }
    }

    /// The method that `path` names, if there is just one.
    pub(crate) fn find(&self, path: &Path) -> Option<&Arc<Route>> {
        let kind = path.kind.as_deref().unwrap_or_else(|| last_part(&path.service));
        self.by_kind.get(kind)?.get(path.method.as_str())?.route.as_ref()
    }

    /// The paths of their own that they have.
    pub(crate) fn bindings(&self) -> &[Arc<Binding>] {
        &self.bindings
    }

    /// All of them.
    pub(crate) fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.routes.iter().map(|route| route.name());
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use micro::{Client, registry::Memory};
    use micro_dynamic::fake::pool;

    use super::*;

    /// `shop.Shop` and `shop.Archive`, which both have an `Order`.
    async fn table() -> Table {
        let client = Client::builder(Arc::new(Memory::default())).build().unwrap();
        let methods = pool()
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .collect::<Vec<_>>();
        Table::new(
            methods
                .into_iter()
                .map(|method| Route::new(&Arc::from("shop"), method, client.channel("shop")).unwrap()),
        )
    }

    fn found(table: &Table, path: &str) -> Option<String> {
        table.find(&Path::parse(path).unwrap()).map(|route| route.name())
    }

    #[tokio::test]
    async fn a_method_is_found_by_every_spelling_and_by_no_other() {
        let table = table().await;
        for path in [
            "/shop/shop.Shop/Order",
            "/shop/Shop/Order",
            "/shop/shop/order",
            "/shop/order",
            "/shop/Order",
        ] {
            assert_eq!(found(&table, path).as_deref(), Some("shop.Shop/Order"), "{path}");
        }
        assert_eq!(
            found(&table, "/shop/archive/order").as_deref(),
            Some("shop.Archive/Order")
        );
        for path in [
            "/shop/SHOP/order",
            "/shop/shop.shop/order",
            "/shop/shop/ORDER",
            "/shop/hop/order",
            "/shop/find",
        ] {
            assert_eq!(found(&table, path), None, "{path}");
        }
    }

    #[tokio::test]
    async fn only_what_has_no_side_effects_says_so() {
        let table = table().await;
        let quiet: Vec<_> = table
            .routes()
            .iter()
            .filter(|route| route.has_no_side_effects)
            .map(|route| route.name())
            .collect();
        assert_eq!(quiet, ["shop.Shop/Look"]);
    }

    #[tokio::test]
    async fn a_spelling_that_fits_two_methods_equally_leads_to_neither() {
        let client = Client::builder(Arc::new(Memory::default())).build().unwrap();
        let proto = |package: &str| {
            let mut set = prost_types::FileDescriptorProto {
                name: Some(format!("{package}.proto")),
                package: Some(package.to_owned()),
                ..Default::default()
            };
            set.message_type.push(prost_types::DescriptorProto {
                name: Some("Nothing".to_owned()),
                ..Default::default()
            });
            let method = prost_types::MethodDescriptorProto {
                name: Some("Hello".to_owned()),
                input_type: Some(format!(".{package}.Nothing")),
                output_type: Some(format!(".{package}.Nothing")),
                ..Default::default()
            };
            set.service.push(prost_types::ServiceDescriptorProto {
                name: Some("Say".to_owned()),
                method: vec![method],
                ..Default::default()
            });
            set
        };
        let set = prost_types::FileDescriptorSet {
            file: vec![proto("v1"), proto("v2")],
        };
        let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(set).unwrap();
        let methods: Vec<_> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .collect();
        let table = Table::new(
            methods
                .into_iter()
                .map(|method| Route::new(&Arc::from("greeter"), method, client.channel("greeter")).unwrap()),
        );
        assert_eq!(found(&table, "/greeter/say/hello"), None);
        assert_eq!(
            found(&table, "/greeter/v1.Say/hello").as_deref(),
            Some("v1.Say/Hello")
        );
        assert_eq!(
            found(&table, "/greeter/v2.Say/Hello").as_deref(),
            Some("v2.Say/Hello")
        );
    }
}
