//! The paths of their own that all exported methods have, and how a request finds its.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use http::Method;

use crate::{binding::Binding, segments::Segments, template::Segment};

/// All of them, as a tree of segments. A path is compared with each of its nodes once at most.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    root: Node,
    all: Vec<Bound>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    /// What ends here with `**`.
    rest: Vec<Bound>,
    /// What ends here.
    ends: Vec<Bound>,
}

/// A binding, and the service of the registry that it is of.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) service: Arc<str>,
    pub(crate) binding: Arc<Binding>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    /// A method, and the fields whose values the path has.
    Bound(Bound, Vec<(String, String)>),
    /// Methods that are asked for by these HTTP methods only.
    Others(BTreeSet<String>),
    Nothing,
}

impl Bindings {
    /// Adds one. Of two with the same path and HTTP method the first stays, and the other is told.
    pub(crate) fn add(&mut self, service: &Arc<str>, binding: &Arc<Binding>) {
        let mut node = &mut self.root;
        let mut is_rest = false;
        for segment in &binding.template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::One => node = node.one.get_or_insert_default(),
                Segment::Rest => is_rest = true,
            }
        }
        let bounds = if is_rest { &mut node.rest } else { &mut node.ends };
        let is_same = |known: &&Bound| {
            known.binding.template.verb == binding.template.verb && known.binding.method == binding.method
        };
        if let Some(first) = bounds.iter().find(is_same) {
            tracing::warn!(
                path = &*binding.text,
                service = &**service,
                method = binding.route.name(),
                taken_by_service = &*first.service,
                taken_by_method = first.binding.route.name(),
                "a path that is taken already is left out"
            );
            return;
        }
        let bound = Bound {
            service: Arc::clone(service),
            binding: Arc::clone(binding),
        };
        // What names its HTTP method comes before what takes any.
        let at = if binding.method.is_some() {
            bounds
                .iter()
                .take_while(|known| known.binding.method.is_some())
                .count()
        } else {
            bounds.len()
        };
        bounds.insert(at, bound.clone());
        self.all.push(bound);
    }

    /// All that were added and had not been taken.
    pub(crate) fn all(&self) -> &[Bound] {
        &self.all
    }

    /// Finds what `method` of this path is bound to: a literal comes before `*`, that before `**`, and a verb before none.
    pub(crate) fn find(&self, path: &Segments, method: &Method) -> Found {
        let mut search = Search {
            method,
            verb: None,
            others: BTreeSet::new(),
        };
        if let Some((last, verb)) = &path.verb {
            let mut parts = path.parts.clone();
            parts.pop();
            parts.push(last.clone());
            search.verb = Some(verb);
            if let Some(bound) = search.walk(&self.root, &parts) {
                return found(bound, &parts);
            }
            search.verb = None;
        }
        match search.walk(&self.root, &path.parts) {
            Some(bound) => found(bound, &path.parts),
            None if search.others.is_empty() => Found::Nothing,
            None => Found::Others(search.others),
        }
    }
}

fn found(bound: &Bound, parts: &[String]) -> Found {
    Found::Bound(bound.clone(), bound.binding.template.values(parts))
}

struct Search<'a> {
    method: &'a Method,
    verb: Option<&'a String>,
    others: BTreeSet<String>,
}

impl Search<'_> {
    fn walk<'b>(&mut self, node: &'b Node, parts: &[String]) -> Option<&'b Bound> {
        let Some((first, rest)) = parts.split_first() else {
            return self.pick(&node.ends).or_else(|| self.pick(&node.rest));
        };
        let literal = node.literals.get(first).and_then(|node| self.walk(node, rest));
        let one = literal.or_else(|| node.one.as_deref().and_then(|node| self.walk(node, rest)));
        one.or_else(|| self.pick(&node.rest))
    }

    fn pick<'b>(&mut self, bounds: &'b [Bound]) -> Option<&'b Bound> {
        let of_verb = |bound: &&Bound| bound.binding.template.verb.as_ref() == self.verb;
        let picked = bounds
            .iter()
            .filter(of_verb)
            .find(|bound| bound.binding.takes(self.method));
        if picked.is_none() {
            let methods = bounds
                .iter()
                .filter(of_verb)
                .filter_map(|bound| bound.binding.method.as_ref());
            for method in methods {
                self.others.insert(method.to_string());
                if method == Method::GET {
                    self.others.insert(Method::HEAD.to_string());
                }
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use micro::{Client, registry::Memory};
    use micro_dynamic::fake::desk_pool;

    use super::*;
    use crate::{binding, table::Route};

    /// The methods of the test protos, of the services in this order.
    fn bindings(services: &[&str]) -> Bindings {
        let client = Client::builder(Arc::new(Memory::default())).build().unwrap();
        let desk = desk_pool().get_service_by_name("desk.Desk").unwrap();
        let mut bindings = Bindings::default();
        for service in services {
            for method in desk.methods() {
                let route =
                    Arc::new(Route::new(&Arc::from(*service), method, client.channel(service)).unwrap());
                for binding in binding::of(&route) {
                    bindings.add(&Arc::from(*service), &binding);
                }
            }
        }
        bindings
    }

    fn find(bindings: &Bindings, method: &str, path: &str) -> String {
        let path = Segments::parse(path).unwrap();
        match bindings.find(&path, &method.parse().unwrap()) {
            Found::Bound(bound, values) => {
                let values: Vec<_> = values
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let method = bound.binding.route.method.name().to_owned();
                format!("{} {method} {}", bound.service, values.join(" "))
                    .trim_end()
                    .to_owned()
            }
            Found::Others(others) => Vec::from_iter(others).join(","),
            Found::Nothing => String::new(),
        }
    }

    #[tokio::test]
    async fn a_path_leads_to_the_method_whose_template_it_fits() {
        let bindings = bindings(&["desk"]);
        for (method, path, expected) in [
            (
                "GET",
                "/v1/shelves/3/books/7",
                "desk GetBook name=shelves/3/books/7",
            ),
            ("HEAD", "/v1/books/7", "desk GetBook id=7"),
            ("PUT", "/v1/books/7", "desk PutBook id=7"),
            ("DELETE", "/v1/books/a:b", "desk DeleteBook id=a:b"),
            ("POST", "/v1/books/7:archive", "desk ArchiveBook id=7"),
            ("POST", "/v1/books/7%3Aarchive", "DELETE,GET,HEAD,PUT"),
            ("GET", "/v1/books:watch", "desk WatchBooks"),
            ("GET", "/v1/files/a/b/c.txt", "desk ReadFile name=a/b/c.txt"),
            ("GET", "/v1/files", "desk ReadFile name="),
            (
                "PATCH",
                "/v1/titles/Dune",
                "desk UpdateBook book.title=titles/Dune",
            ),
            ("PURGE", "/v1/books", "desk PurgeBooks"),
            ("GET", "/v1/books", "PURGE"),
            ("GET", "/v2/books/7", ""),
            ("GET", "/v1/books/7/pages", ""),
            ("GET", "/v1", ""),
        ] {
            assert_eq!(find(&bindings, method, path), expected, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn of_two_services_with_the_same_path_the_first_has_it() {
        let bindings = bindings(&["a", "b"]);
        assert_eq!(find(&bindings, "GET", "/v1/books/7"), "a GetBook id=7");
    }
}
