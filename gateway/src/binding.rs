//! One path of its own that a method has, checked against what the method takes and gives.

use std::sync::Arc;

use http::Method;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::{
    http_rule::{self, Rule},
    query,
    table::Route,
    template::Template,
};

/// A path that leads to a method.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) route: Arc<Route>,
    /// Nothing stands for any.
    pub(crate) method: Option<Method>,
    /// The template as it was written.
    pub(crate) text: Arc<str>,
    pub(crate) template: Template,
    pub(crate) body: BodyPlace,
    /// The only field of the answer that is shown.
    pub(crate) response_body: Option<FieldDescriptor>,
}

/// Where the body of a request goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BodyPlace {
    /// There is none: what is not in the path is in the query.
    Nowhere,
    /// It is the message, without what is in the path.
    Whole,
    /// It is one field; what is not in the path either is in the query.
    Field(FieldDescriptor),
}

/// The bindings of a method's annotations. Those that make no sense are left out and told, as nobody can call them.
pub(crate) fn of(route: &Arc<Route>) -> Vec<Arc<Binding>> {
    let rules = http_rule::of(&route.method);
    let bindings = rules
        .into_iter()
        .filter_map(|rule| match Binding::new(route, &rule) {
            Ok(binding) => Some(Arc::new(binding)),
            Err(reason) => {
                let (method, path) = (route.name(), rule.template);
                tracing::warn!(method, path, reason, "a path of an annotation is left out");
                None
            }
        });
    bindings.collect()
}

impl Binding {
    fn new(route: &Arc<Route>, rule: &Rule) -> Result<Self, String> {
        let method = match rule.verb.as_str() {
            "*" => None,
            verb => Some(Method::from_bytes(verb.as_bytes()).map_err(|error| error.to_string())?),
        };
        if matches!(method, Some(Method::OPTIONS | Method::CONNECT | Method::TRACE)) {
            return Err("OPTIONS, CONNECT and TRACE are the gateway's own".to_owned());
        }
        let template = Template::parse(&rule.template)?;
        let input = route.method.input();
        for variable in &template.variables {
            check_variable(&input, &variable.field)?;
        }
        let body = match rule.body.as_str() {
            "" => BodyPlace::Nowhere,
            "*" => BodyPlace::Whole,
            name => BodyPlace::Field(field(&input, name)?),
        };
        if let BodyPlace::Field(body) = &body {
            let is_within = |variable: &str| variable.split('.').next() == Some(body.name());
            if template
                .variables
                .iter()
                .any(|variable| is_within(&variable.field))
            {
                return Err("a field is both in the path and the body".to_owned());
            }
        }
        let response_body = match rule.response_body.as_str() {
            "" => None,
            name => Some(field(&route.method.output(), name)?),
        };
        Ok(Self {
            route: Arc::clone(route),
            method,
            text: rule.template.as_str().into(),
            template,
            body,
            response_body,
        })
    }

    /// Whether a request with this method is for it. Who answers GET answers HEAD.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        match &self.method {
            Some(own) => own == method || own == Method::GET && method == Method::HEAD,
            None => !matches!(*method, Method::OPTIONS | Method::CONNECT | Method::TRACE),
        }
    }
}

fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    let unknown = || format!("`{}` has no field `{name}`", message.full_name());
    message.get_field_by_name(name).ok_or_else(unknown)
}

/// A variable is a single value that has a text: neither a list nor a message.
fn check_variable(input: &MessageDescriptor, path: &str) -> Result<(), String> {
    let mut message = input.clone();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = field(&message, name)?;
        if field.is_list() || field.is_map() {
            return Err(format!("`{path}` holds several values"));
        }
        message = match (field.kind(), names.peek()) {
            (Kind::Message(inner), Some(_)) if !query::is_well_known(&inner) => inner,
            (Kind::Message(inner), None) if !query::is_text(inner.full_name()) => {
                return Err(format!("`{path}` is a message"));
            }
            (_, None) => return Ok(()),
            (_, Some(_)) => return Err(format!("`{path}` leads into what is no message")),
        };
    }
    Ok(())
}
