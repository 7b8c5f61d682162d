//! What a request asks for: the method that its path leads to, by its names or by a path of its own.

use std::{collections::BTreeSet, fmt, sync::Arc};

use http::Method;
use micro::HttpRoute;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::{
    binding::Binding, bindings::Found, exported::Exported, fault::Fault, path::Path, segments::Segments,
    site::Site, table::Route,
};

/// A method that was found.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    pub(crate) exported: &'a Exported,
    pub(crate) route: Arc<Route>,
    /// The path of its own that was used, and the fields whose values it had.
    pub(crate) bound: Option<(Arc<Binding>, Values)>,
}

/// Fields, and the values that a path has for them.
pub(crate) type Values = Vec<(String, String)>;

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Destination(Destination<'a>),
    /// It asks for what there is.
    Options(Allow),
}

/// Why nothing was found.
#[derive(Debug)]
pub(crate) enum Lost {
    Fault(Fault),
    /// This service is not known, for this reason.
    Service(String, Status),
}

/// The HTTP methods by which a path may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allow(BTreeSet<String>);

impl<'a> Destination<'a> {
    /// A method that was asked for by names.
    fn named(exported: &'a Exported, route: &Arc<Route>) -> Self {
        Self {
            exported,
            route: Arc::clone(route),
            bound: None,
        }
    }

    /// What it is in metrics: the template of its path, or its names as they are, whichever way they were spelt.
    pub(crate) fn http_route(&self) -> HttpRoute {
        match &self.bound {
            Some((binding, _)) => HttpRoute::new(Arc::clone(&binding.text)),
            None => self.route.http_route.clone(),
        }
    }
}

impl Site {
    /// What a request of `method` for the path `raw` asks for by names that are known already, as most do: nothing is waited for.
    pub(crate) fn find_known(&self, raw: &str, method: &Method) -> Option<Destination<'_>> {
        let names = Path::parse(raw).ok()?;
        let exported = self.service(&names.service)?;
        let table = exported.known_table()?;
        let route = table.find(&names).filter(|route| route.takes(method))?;
        Some(Destination::named(exported, route))
    }

    /// Finds what a request of `method` for the path `raw` asks for. The names of services and methods come before paths of their own: they need nothing
    /// to be known of other services.
    pub(crate) async fn find(
        &self,
        raw: &str,
        method: &Method,
        deadline: Instant,
    ) -> Result<Lookup<'_>, Lost> {
        let names = Path::parse(raw);
        let mut allow = Allow::default();
        let exported = names
            .as_ref()
            .ok()
            .and_then(|names| Some((names, self.service(&names.service)?)));
        if let Some((names, exported)) = exported {
            let table = timeout_at(deadline, exported.table()).await;
            let table =
                table.unwrap_or_else(|_| Err(Status::deadline_exceeded("the service is not known yet")));
            let table = table.map_err(|status| Lost::Service(names.service.clone(), status))?;
            if let Some(route) = table.find(names) {
                if route.takes(method) {
                    return Ok(Lookup::Destination(Destination::named(exported, route)));
                }
                allow = Allow::of_names(route);
            }
        }
        let mut is_partial = false;
        if let Some(segments) = Segments::parse(raw) {
            let overview = self.overview(deadline).await;
            is_partial = overview.is_partial;
            match overview.bindings.find(&segments, method) {
                Found::Bound(bound, values) => {
                    let exported = self
                        .service(&bound.service)
                        .ok_or(Lost::Fault(Fault::not_found()))?;
                    return Ok(Lookup::Destination(Destination {
                        exported,
                        route: Arc::clone(&bound.binding.route),
                        bound: Some((bound.binding, values)),
                    }));
                }
                Found::Others(others) => allow.0.extend(others),
                Found::Nothing => {}
            }
        } else if let Err(error) = names {
            return Err(Lost::Fault(Fault::invalid(error.to_string())));
        }
        Err(Lost::Fault(if !allow.0.is_empty() {
            allow.0.insert(Method::OPTIONS.to_string());
            if method == Method::OPTIONS {
                return Ok(Lookup::Options(allow));
            }
            Fault::not_allowed(&allow)
        } else if is_partial {
            Fault::not_known()
        } else {
            Fault::not_found()
        }))
    }
}

impl Site {
    /// Finds what a request of gRPC-Web asks for: by the path of gRPC, or with the service of the registry before it.
    pub(crate) async fn find_grpc(&self, raw: &str, deadline: Instant) -> Result<Lookup<'_>, Lost> {
        let names = Path::parse(raw).map_err(|error| Lost::Fault(Fault::invalid(error.to_string())))?;
        if names.kind.is_some() {
            return self.find(raw, &Method::POST, deadline).await;
        }
        let overview = self.overview(deadline).await;
        for (service, table) in &overview.tables {
            let is_asked = |route: &&Arc<Route>| {
                route.method.parent_service().full_name() == names.service
                    && route.method.name() == names.method
            };
            // Of several services that have it the first by name, as with paths of their own.
            let found = table.routes().iter().find(is_asked).zip(self.service(service));
            if let Some((route, exported)) = found {
                return Ok(Lookup::Destination(Destination::named(exported, route)));
            }
        }
        Err(Lost::Fault(if overview.is_partial {
            Fault::not_known()
        } else {
            Fault::not_found()
        }))
    }
}

impl Allow {
    fn of_names(route: &Route) -> Self {
        let methods = [Method::GET, Method::HEAD, Method::POST];
        let taken = methods.iter().filter(|method| route.takes(method));
        Self(taken.map(Method::to_string).collect())
    }

    pub(crate) fn of(methods: &[Method]) -> Self {
        Self(methods.iter().map(Method::to_string).collect())
    }

    /// What can only be read.
    pub(crate) fn reading() -> Self {
        Self(
            [Method::GET, Method::HEAD]
                .iter()
                .map(Method::to_string)
                .collect(),
        )
    }

    pub(crate) fn holds(&self, method: &Method) -> bool {
        self.0.contains(method.as_str())
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::from_iter(self.0.iter().map(String::as_str)).join(", "))
    }
}
