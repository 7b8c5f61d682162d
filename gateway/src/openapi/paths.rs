//! The paths of the document: OpenAPI knows variables of one segment, and no two paths that differ in their names alone.

use std::collections::BTreeMap;

use crate::template::{Segment, Template};

/// The parameter of a path, and what goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathParameter {
    pub(super) name: String,
    /// The field that it is, or is a part of; nothing where it is only matched.
    pub(super) field: Option<String>,
    /// Whether it is all of the field.
    pub(super) is_whole: bool,
    /// Whether it may have several segments.
    pub(super) is_rest: bool,
}

/// The paths given so far, by what they are without the names of their variables.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<String, Vec<String>>);

impl Paths {
    /// A template as a path, and its parameters in their order.
    pub(super) fn of(&mut self, template: &Template) -> (String, Vec<PathParameter>) {
        let mut parameters: Vec<_> = parameters(template);
        let verb = template
            .verb
            .as_ref()
            .map_or_else(String::new, |verb| format!(":{verb}"));
        let shape = path(template, &mut std::iter::repeat("")) + &verb;
        let names = parameters.iter().map(|parameter| parameter.name.clone());
        let names = self.0.entry(shape).or_insert_with(|| names.collect());
        for (parameter, name) in parameters.iter_mut().zip(&*names) {
            parameter.name.clone_from(name);
        }
        (
            path(template, &mut names.iter().map(String::as_str)) + &verb,
            parameters,
        )
    }
}

fn path<'a>(template: &Template, names: &mut impl Iterator<Item = &'a str>) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::One | Segment::Rest => format!("/{{{}}}", names.next().unwrap_or_default()),
    };
    template.segments.iter().map(segment).collect()
}

fn parameters(template: &Template) -> Vec<PathParameter> {
    let mut parameters = Vec::new();
    for (at, segment) in template.segments.iter().enumerate() {
        if matches!(segment, Segment::Literal(_)) {
            continue;
        }
        let variable = template
            .variables
            .iter()
            .find(|variable| variable.segments.contains(&at));
        let is_whole = variable.is_some_and(|variable| variable.segments.len() == 1);
        let name = match variable {
            Some(variable) if is_whole => variable.field.clone(),
            Some(variable) => format!("{}_{}", variable.field, at - variable.segments.start + 1),
            None => format!("segment_{}", at + 1),
        };
        parameters.push(PathParameter {
            name,
            field: variable.map(|variable| variable.field.clone()),
            is_whole,
            is_rest: *segment == Segment::Rest,
        });
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_star_is_a_parameter_and_the_same_path_has_the_same_names() {
        let mut paths = Paths::default();
        let mut path = |text: &str| paths.of(&Template::parse(text).unwrap()).0;
        assert_eq!(
            path("/v1/{name=shelves/*/books/*}"),
            "/v1/shelves/{name_2}/books/{name_4}"
        );
        assert_eq!(path("/v1/books/{id}:archive"), "/v1/books/{id}:archive");
        assert_eq!(path("/v1/books/{id}"), "/v1/books/{id}");
        assert_eq!(path("/v1/books/{name}"), "/v1/books/{id}");
        assert_eq!(path("/v1/*/{path=**}"), "/v1/{segment_2}/{path}");
    }
}
