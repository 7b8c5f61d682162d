//! Which method a request is for: by its exact path, or by the last part of the service's name, as Go Micro's callers
//! write it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use http::{Request, Uri, uri::PathAndQuery};
use micro_registry::Method;
use tokio::time::Duration;
use tonic::{Code, Status};

use super::load::{Load, Place};
use crate::telemetry::{Durations, SERVER_CALL, Telemetry};

/// OpenTelemetry's name for a method that nothing is known of: what callers make up is no label.
const UNKNOWN: &str = "_OTHER";

/// A method, or what stands for all that nothing is known of.
#[derive(Debug)]
pub(crate) struct Route {
    /// `greeter.Say/Hello`
    name: String,
    durations: Durations,
    /// What its calls count towards; nothing, if it is one that every server has.
    load: Option<Arc<Load>>,
    /// Whether the caller sends one message and gets many: what it sends ends with that message, whether it says so or
    /// not.
    pub(super) ends_after_first: bool,
    /// Whether its calls take as long as the work does, and not as long as a caller likes.
    is_unary: bool,
    /// Why no handler is to see the call.
    refusal: Option<String>,
}

impl Route {
    fn new(name: &str, load: Option<&Arc<Load>>, telemetry: &Telemetry) -> Self {
        Self {
            name: name.to_owned(),
            load: load.cloned(),
            durations: Durations::new(telemetry, SERVER_CALL, name, &[]),
            ends_after_first: false,
            is_unary: false,
            refusal: None,
        }
    }

    /// The full name of the method.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it stands for all that nothing is known of.
    pub(super) fn is_unknown(&self) -> bool {
        self.name == UNKNOWN
    }

    /// Admits a call of it, to a place among those in flight if it takes one; or says why no handler is to see it.
    pub(super) fn admit(&self) -> Result<Option<Place>, Status> {
        if let Some(reason) = &self.refusal {
            return Err(Status::unimplemented(reason));
        }
        self.load.as_ref().map(Load::place).transpose()
    }

    /// A call of it has ended.
    pub(super) fn ended(&self, code: Code, duration: Duration) {
        if let Some(load) = &self.load
            && self.is_unary
        {
            load.took(code, duration);
        }
        self.durations.record(code, duration);
    }
}

/// A request, and the method that it is for.
#[derive(Debug)]
pub(crate) struct Routed<R> {
    pub(crate) request: Request<R>,
    pub(crate) route: Arc<Route>,
}

impl<R> Routed<R> {
    /// The path, where no method is known that it leads to. There may be one: descriptors are optional.
    pub(super) fn unknown_path(&self) -> Option<PathAndQuery> {
        let is_unknown = self.route.is_unknown();
        is_unknown.then(|| self.request.uri().path_and_query().cloned())?
    }
}

/// All methods of a server.
#[derive(Debug)]
pub(crate) struct Routes {
    by_path: HashMap<String, Arc<Route>>,
    /// The services that have handlers, known methods or not.
    services: BTreeSet<String>,
    /// The services that users added, by the last part of their names.
    by_last_part: BTreeMap<String, LastPart>,
    unknown: Arc<Route>,
}

#[derive(Debug)]
enum LastPart {
    Of(String),
    OfSeveral(Arc<Route>),
}

impl Routes {
    /// The routes to `added`, the services of the user's, and `own`, those that every server has.
    pub(super) fn new<'m>(
        added: &BTreeSet<String>,
        own: &[&str],
        methods: impl IntoIterator<Item = &'m Method>,
        load: &Arc<Load>,
        telemetry: &Telemetry,
    ) -> Self {
        let mut by_path = HashMap::new();
        for method in methods {
            let counts = !own.contains(&method.service.as_str());
            let mut route = Route::new(&method.to_string(), counts.then_some(load), telemetry);
            route.is_unary = method.is_unary();
            route.ends_after_first = method.server_streaming && !method.client_streaming;
            by_path.insert(method.path(), Arc::new(route));
        }
        Self {
            by_path,
            services: added
                .iter()
                .cloned()
                .chain(own.iter().map(|&name| name.to_owned()))
                .collect(),
            by_last_part: by_last_part(added, telemetry),
            unknown: Arc::new(Route::new(UNKNOWN, Some(load), telemetry)),
        }
    }

    /// Finds the method that `request` is for.
    pub(super) fn find<R>(&self, mut request: Request<R>) -> Routed<R> {
        let route = match self.by_path.get(request.uri().path()) {
            Some(exact) => Arc::clone(exact),
            None => self.find_by_last_part(request.uri_mut()),
        };
        Routed { request, route }
    }

    /// The method of a path that is none of the known ones; a path that fits by its last part is written anew.
    fn find_by_last_part(&self, uri: &mut Uri) -> Arc<Route> {
        let found = split(uri)
            .filter(|(service, _)| !self.services.contains(*service))
            .and_then(|(service, method)| Some((self.by_last_part.get(last_part(service))?, method)));
        match found {
            Some((LastPart::Of(service), method)) => {
                let path = format!("/{service}/{method}");
                let route = self.by_path.get(&path).unwrap_or(&self.unknown);
                if let Some(rewritten) = with_path(uri, &path) {
                    *uri = rewritten;
                }
                Arc::clone(route)
            }
            Some((LastPart::OfSeveral(refused), _)) => Arc::clone(refused),
            None => Arc::clone(&self.unknown),
        }
    }
}

fn by_last_part(added: &BTreeSet<String>, telemetry: &Telemetry) -> BTreeMap<String, LastPart> {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for service in added {
        names.entry(last_part(service)).or_default().push(service);
    }
    names
        .into_iter()
        .map(|(part, services)| {
            let target = match services.as_slice() {
                [service] => LastPart::Of((*service).to_owned()),
                several => LastPart::OfSeveral(Arc::new(Route {
                    refusal: Some(format!(
                        "`{part}` is the last part of several services here, and the path fits none of them whole: `{}`",
                        several.join("`, `")
                    )),
                    ..Route::new(UNKNOWN, None, telemetry)
                })),
            };
            (part.to_owned(), target)
        })
        .collect()
}

/// The service and the method of `/service/method`, and nothing of any other form.
fn split(uri: &Uri) -> Option<(&str, &str)> {
    if uri.query().is_some() {
        return None;
    }
    let (service, method) = uri.path().strip_prefix('/')?.split_once('/')?;
    let is_path = !service.is_empty() && !method.is_empty() && !method.contains('/');
    is_path.then_some((service, method))
}

fn last_part(service: &str) -> &str {
    service.rsplit_once('.').map_or(service, |(_, last)| last)
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::{Settings, metrics::REFUSED_CALLS};

    const OWN: [&str; 1] = ["grpc.health.v1.Health"];

    fn routes(added: &[&str]) -> Routes {
        let added: BTreeSet<String> = added.iter().map(|&name| name.to_owned()).collect();
        let methods: Vec<Method> = added
            .iter()
            .map(|service| Method::new(service.as_str(), "Call"))
            .collect();
        let telemetry = Telemetry::new();
        let refused = telemetry.counter(REFUSED_CALLS, &[]);
        let load = Arc::new(Load::new(&Settings::default(), refused));
        Routes::new(&added, &OWN, &methods, &load, &telemetry)
    }

    fn find(routes: &Routes, path: &str) -> (String, Arc<Route>) {
        let routed = routes.find(Request::post(path).body(()).unwrap());
        (routed.request.uri().to_string(), routed.route)
    }

    #[test]
    fn the_exact_path_comes_first() {
        let routes = routes(&["a.Say", "b.c.Say"]);
        for path in ["/a.Say/Call", "/b.c.Say/Call"] {
            let (found, route) = find(&routes, path);
            assert_eq!(found, path);
            assert!(route.refusal.is_none());
        }
        // A method that is not there is no other service's either.
        assert_eq!(find(&routes, "/a.Say/Other").0, "/a.Say/Other");
    }

    #[test]
    fn the_last_part_finds_the_one_service_that_has_it() {
        let routes = routes(&["greeter.v1.Say", "greeter.v1.Ask"]);
        for path in ["/greeter.Say/Call", "/Say/Call", "/x.y.z.Say/Call"] {
            let (found, route) = find(&routes, path);
            assert_eq!(found, "/greeter.v1.Say/Call");
            assert!(Arc::ptr_eq(&route, &routes.by_path["/greeter.v1.Say/Call"]));
        }
        assert_eq!(
            find(&routes, "http://host:1/greeter.Say/Other").0,
            "http://host:1/greeter.v1.Say/Other"
        );
    }

    #[test]
    fn two_with_the_same_last_part_are_both_named_and_neither_is_called() {
        let (path, route) = find(&routes(&["a.Say", "b.Say"]), "/greeter.Say/Call");
        assert_eq!(path, "/greeter.Say/Call");
        let refusal = route.refusal.as_ref().unwrap();
        assert!(
            refusal.contains("`a.Say`") && refusal.contains("`b.Say`"),
            "{refusal}"
        );
    }

    #[test]
    fn what_every_server_has_is_not_found_by_its_last_part() {
        let routes = routes(&["greeter.Say"]);
        for path in [
            "/greeter.Health/Check",
            "/greeter.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(find(&routes, path).0, path);
        }
    }

    proptest! {
        #[test]
        fn a_path_leads_to_what_it_names_or_is_left_alone(path in "/[a-zS/.%?&y]{0,24}") {
            let routes = routes(&["greeter.v1.Say"]);
            if let Ok(request) = Request::post(&path).body(()) {
                let found = routes.find(request).request.uri().to_string();
                prop_assert!(found == path || found.starts_with("/greeter.v1.Say/") && path.contains("Say/"));
            }
        }
    }
}
