//! The document: an operation for each path that a method has.

use std::sync::Arc;

use http::Method;
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value, json};

use super::{parameters, paths::Paths, schema::Schemas};
use crate::{
    binding::{Binding, BodyPlace},
    bindings::Bound,
    names,
    path::Path,
    settings::Settings,
    site::Overview,
    table::{Route, Table},
};

/// Methods that OpenAPI 3.1 knows besides those that the gateway answers itself.
const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
];

/// What is known of all services as OpenAPI 3.1.
pub(super) fn document(overview: &Overview, settings: &Settings) -> Value {
    let mut document = Document {
        settings,
        paths: Map::new(),
        templates: Paths::default(),
        schemas: Schemas::default(),
    };
    for (service, table) in &overview.tables {
        for route in table.routes() {
            document.by_names(service, table, route);
        }
    }
    for bound in overview.bindings.all() {
        document.by_annotation(bound);
    }
    document.into_value()
}

struct Document<'a> {
    settings: &'a Settings,
    paths: Map<String, Value>,
    templates: Paths,
    schemas: Schemas,
}

impl Document<'_> {
    fn by_names(&mut self, service: &str, table: &Table, route: &Arc<Route>) {
        if route.method.is_client_streaming() {
            return;
        }
        let (path, input) = (path(service, table, route), route.method.input());
        let body = json!({ "content": { "application/json": { "schema": self.schemas.of(&input) } } });
        let mut post = self.operation(service, route, "", Vec::new(), None);
        post["requestBody"] = body;
        self.add(&path, "post", post);
        if route.has_no_side_effects {
            let query = parameters::of_query(&input, &[], &mut self.schemas);
            let get = self.operation(service, route, ".get", query, None);
            self.add(&path, "get", get);
        }
    }

    fn by_annotation(&mut self, bound: &Bound) {
        let binding = &bound.binding;
        let (route, input) = (&binding.route, binding.route.method.input());
        // What takes any method is shown by the one that always fits; what has a name of its own has no place here.
        let method = binding.method.clone().unwrap_or(Method::POST);
        if route.method.is_client_streaming() || !METHODS.contains(&method) {
            return;
        }
        let (path, of_path) = self.templates.of(&binding.template);
        let mut parameters = parameters::of_path(&of_path, &input, &mut self.schemas);
        let mut taken: Vec<&str> = binding
            .template
            .variables
            .iter()
            .map(|variable| variable.field.as_str())
            .collect();
        if let BodyPlace::Field(field) = &binding.body {
            taken.push(field.name());
        }
        if binding.body != BodyPlace::Whole {
            parameters.extend(parameters::of_query(&input, &taken, &mut self.schemas));
        }
        let key = method.as_str().to_ascii_lowercase();
        let suffix = format!(".{key}{}", path.replace(['{', '}'], "").replace(['/', ':'], "."));
        let mut operation = self.operation(&bound.service, route, &suffix, parameters, Some(binding));
        if let Some(body) = self.body(binding, &input) {
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": body } } });
        }
        self.add(&path, &key, operation);
    }

    fn body(&mut self, binding: &Binding, input: &MessageDescriptor) -> Option<Value> {
        match &binding.body {
            BodyPlace::Nowhere => None,
            BodyPlace::Whole => Some(self.schemas.of(input)),
            BodyPlace::Field(field) => Some(self.schemas.field(field)),
        }
    }

    fn operation(
        &mut self,
        service: &str,
        route: &Route,
        suffix: &str,
        mut parameters: Vec<Value>,
        binding: Option<&Binding>,
    ) -> Value {
        let parent = route.method.parent_service();
        let (kind, method) = (parent.full_name(), route.method.name());
        let answer = match binding.and_then(|binding| binding.response_body.as_ref()) {
            Some(field) => self.schemas.field(field),
            None => self.schemas.of(&route.method.output()),
        };
        let content = if route.method.is_server_streaming() {
            let error = json!({ "$ref": "#/components/schemas/google.rpc.Status" });
            json!({
                "application/x-ndjson": { "schema": {
                    "type": "object",
                    "properties": { "result": answer, "error": error },
                    "description": "One of each line.",
                } },
                "text/event-stream": { "schema": {
                    "type": "string",
                    "description": "Events `result` with a message, `error` with a bad end, and `end`.",
                } },
            })
        } else {
            json!({ "application/json": { "schema": answer } })
        };
        parameters.push(json!({ "$ref": "#/components/parameters/Timeout" }));
        let mut operation = json!({
            "operationId": format!("{service}.{kind}.{method}{suffix}"),
            "tags": [service],
            "parameters": parameters,
            "responses": {
                "200": { "description": "The answer.", "content": content },
                "default": { "$ref": "#/components/responses/Error" },
            },
        });
        self.schemas.describe(
            &mut operation,
            route.method.parent_pool(),
            route.method.full_name(),
        );
        let is_deprecated = route
            .method
            .method_descriptor_proto()
            .options
            .as_ref()
            .is_some_and(prost_reflect::prost_types::MethodOptions::deprecated);
        if is_deprecated {
            operation["deprecated"] = true.into();
        }
        if let Some(tokens) = &self.settings.tokens {
            operation["security"] = if tokens.is_open(service, kind, method) {
                json!([])
            } else {
                let scopes: Vec<_> = tokens.scopes_of(service, kind, method).collect();
                json!([{ "bearer": scopes }])
            };
        }
        operation
    }

    fn add(&mut self, path: &str, method: &str, operation: Value) {
        let item = self.paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        // The names of services come before annotations, and what takes its own method before what takes any.
        if item.get(method).is_none() {
            item[method] = operation;
        }
    }

    fn into_value(self) -> Value {
        let mut schemas = self.schemas.into_value();
        schemas.insert("google.rpc.Status".to_owned(), status());
        let mut components = json!({
            "schemas": schemas,
            "parameters": { "Timeout": {
                "name": "x-request-timeout",
                "in": "header",
                "description": "How long the call may take, such as `500ms`, `2s`, or a number of seconds.",
                "schema": { "type": "string" },
            } },
            "responses": { "Error": {
                "description": "What went wrong.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/google.rpc.Status" } } },
            } },
        });
        if self.settings.tokens.is_some() {
            components["securitySchemes"] =
                json!({ "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } });
        }
        json!({
            "openapi": "3.1.0",
            "info": { "title": "Services behind this gateway", "version": env!("CARGO_PKG_VERSION") },
            "servers": [{ "url": "/" }],
            "paths": self.paths,
            "components": components,
        })
    }
}

/// The shortest path that leads to the method by its names, as Go Micro writes them.
fn path(service: &str, table: &Table, route: &Arc<Route>) -> String {
    let parent = route.method.parent_service();
    let (kinds, methods) = (
        names::of_kind(parent.full_name()),
        names::of_method(route.method.name()),
    );
    let last = |names: &[String]| names.last().cloned().unwrap_or_default();
    let short = Path {
        service: service.to_owned(),
        kind: Some(last(&kinds)),
        method: last(&methods),
    };
    if table.find(&short).is_some_and(|found| Arc::ptr_eq(found, route)) {
        return format!("/{service}/{}/{}", last(&kinds), short.method);
    }
    format!("/{service}/{}/{}", parent.full_name(), route.method.name())
}

fn status() -> Value {
    json!({
        "type": "object",
        "description": "An error, as all of gRPC has it.",
        "properties": {
            "code": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 16 },
            "message": { "type": "string" },
            "details": { "type": "array", "items": {
                "type": "object",
                "properties": { "@type": { "type": "string" } },
                "required": ["@type"],
            } },
        },
        "required": ["code", "message", "details"],
    })
}
