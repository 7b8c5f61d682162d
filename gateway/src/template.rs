//! The path of an annotation: `/v1/{name=shelves/*}/books/{id}:archive`.

use std::ops::Range;

use crate::segments::SEGMENT_LENGTH_MAX;

/// The most segments of a template.
const SEGMENTS_MAX: usize = 32;

/// What a segment of a path has to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// This, once it is decoded.
    Literal(String),
    /// `*`: anything.
    One,
    /// `**`: all that follows, be it nothing. It is the last.
    Rest,
}

/// A part of the path that goes into a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// `book.name`
    pub(crate) field: String,
    /// Its segments within the template; one that ends with `**` takes all that is left.
    pub(crate) segments: Range<usize>,
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    /// What stands after the last `:`.
    pub(crate) verb: Option<String>,
}

impl Template {
    /// Reads a template; an error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut rest = text.strip_prefix('/').ok_or("it does not begin with `/`")?;
        let mut template = Self {
            segments: Vec::new(),
            variables: Vec::new(),
            verb: None,
        };
        // A `:` within braces is none of a verb, so that only what follows the last brace is looked at.
        let after_braces = rest.rfind('}').map_or(0, |at| at + 1);
        if let Some(at) = rest[after_braces..].rfind(':') {
            let (path, verb) = rest.split_at(after_braces + at);
            template.verb = Some(literal(&verb[1..])?);
            rest = path;
        }
        loop {
            rest = match rest.strip_prefix('{') {
                Some(variable) => {
                    let (inner, after) = variable.split_once('}').ok_or("a `{` is not closed")?;
                    template.variable(inner)?;
                    after
                }
                None => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    template.segment(&rest[..end])?;
                    &rest[end..]
                }
            };
            if rest.is_empty() {
                break;
            }
            rest = rest
                .strip_prefix('/')
                .ok_or("a variable is not a whole segment")?;
        }
        let is_last = |at| at + 1 == template.segments.len();
        let mut segments = template.segments.iter().enumerate();
        if segments.any(|(at, segment)| *segment == Segment::Rest && !is_last(at)) {
            return Err("`**` is not at the end");
        }
        if template.segments.len() > SEGMENTS_MAX {
            return Err("it has too many segments");
        }
        Ok(template)
    }

    fn variable(&mut self, inner: &str) -> Result<(), &'static str> {
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            let first = bytes
                .next()
                .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
            first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !field.split('.').all(is_name) {
            return Err("a variable has no name of a field");
        }
        if self.variables.iter().any(|known| known.field == field) {
            return Err("a variable comes twice");
        }
        let start = self.segments.len();
        for segment in pattern.split('/') {
            self.segment(segment)?;
        }
        self.variables.push(Variable {
            field: field.to_owned(),
            segments: start..self.segments.len(),
        });
        Ok(())
    }

    fn segment(&mut self, text: &str) -> Result<(), &'static str> {
        self.segments.push(match text {
            "*" => Segment::One,
            "**" => Segment::Rest,
            text => Segment::Literal(literal(text)?),
        });
        Ok(())
    }

    /// The values of the variables, from the segments of a path that fits.
    pub(crate) fn values(&self, parts: &[String]) -> Vec<(String, String)> {
        let value = |variable: &Variable| {
            let is_rest = self.segments[variable.segments.clone()].last() == Some(&Segment::Rest);
            let end = if is_rest {
                parts.len()
            } else {
                variable.segments.end
            };
            let parts = parts.get(variable.segments.start..end).unwrap_or_default();
            (variable.field.clone(), parts.join("/"))
        };
        self.variables.iter().map(value).collect()
    }
}

/// What may stand in a path as it is.
fn literal(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()+,=@".contains(&byte);
    if text.is_empty() || text == "." || text == ".." {
        return Err("a segment is empty, or leads elsewhere");
    }
    if text.len() > SEGMENT_LENGTH_MAX {
        return Err("a segment is longer than one of a path may be");
    }
    if !text.bytes().all(is_plain) {
        return Err("a segment has a character that is not allowed");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn every_part_of_a_template_is_read() {
        let template = Template::parse("/v1/{book.name=shelves/*/books/*}/{id}:archive").unwrap();
        assert_eq!(
            template.segments,
            [
                literal("v1"),
                literal("shelves"),
                Segment::One,
                literal("books"),
                Segment::One,
                Segment::One
            ]
        );
        let fields: Vec<_> = template
            .variables
            .iter()
            .map(|variable| (variable.field.as_str(), variable.segments.clone()))
            .collect();
        assert_eq!(fields, [("book.name", 1..5), ("id", 5..6)]);
        assert_eq!(template.verb.as_deref(), Some("archive"));
        assert_eq!(
            Template::parse("/*/**").unwrap().segments,
            [Segment::One, Segment::Rest]
        );
    }

    #[test]
    fn a_variable_takes_its_segments_and_one_with_two_stars_all_that_are_left() {
        let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let value = |template: &str, path: &str| {
            let mut values = Template::parse(template).unwrap().values(&parts(path));
            values.remove(0).1
        };
        assert_eq!(
            value("/v1/{name=shelves/*}/books", "v1/shelves/7/books"),
            "shelves/7"
        );
        assert_eq!(value("/v1/{name=a/**}", "v1/a/b/c/d"), "a/b/c/d");
        assert_eq!(value("/v1/{name=**}", "v1"), "");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let long = |length: usize| Template::parse(&format!("/{}", "a".repeat(length)));
        assert!(long(SEGMENT_LENGTH_MAX).is_ok() && long(SEGMENT_LENGTH_MAX + 1).is_err());
        for text in [
            "",
            "v1",
            "/",
            "/v1/",
            "/v1//a",
            "/{a",
            "/{a}b",
            "/b{a}",
            "/{}",
            "/{a.}",
            "/{1}",
            "/{a={b}}",
            "/{a}/{a}",
            "/**/a",
            "/{a=**}/b",
            "/../a",
            "/a:",
            "/a b",
            "/%2e",
            "/a?b",
            "/***",
            &"/a".repeat(SEGMENTS_MAX + 1),
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
