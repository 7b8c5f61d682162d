//! What is wrong with a proto file, as a compiler says it: file, line, column, and the line itself.

use std::{
    fmt::Write,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use miette::{Diagnostic, LabeledSpan};

use crate::{Error, ErrorKind};

/// How many mistakes are shown; a forgotten brace brings forth many.
const SHOWN_MAX: usize = 10;

/// Explains `error` with the place in the file, and the mistakes that were found along with it.
pub(crate) fn explain(error: &protox::Error, folders: &[PathBuf]) -> Error {
    let source = error
        .file()
        .and_then(|name| Source::open(name, folders, error.is_parse()));
    let mut message = describe(error, source.as_ref());
    let mut others = error.related().into_iter().flatten();
    for other in others.by_ref().take(SHOWN_MAX - 1) {
        message.push_str("\n\n");
        message.push_str(&describe(other, source.as_ref()));
    }
    let hidden = others.count();
    if hidden > 0 {
        let _ = write!(message, "\n\nand {hidden} more");
    }
    Error::new(ErrorKind::Proto, message)
}

fn describe(problem: &dyn Diagnostic, source: Option<&Source>) -> String {
    let mut text = match source {
        Some(source) => source.show(span(problem), &with_causes(problem)),
        None => with_causes(problem),
    };
    if let Some(help) = problem.help() {
        let _ = write!(text, "\nhelp: {help}");
    }
    text
}

fn with_causes(problem: &dyn Diagnostic) -> String {
    let mut text = problem.to_string();
    let mut source = problem.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// The place to look at: where the mistake is, rather than what it collides with.
fn span(problem: &dyn Diagnostic) -> Option<Range<usize>> {
    let labels: Vec<LabeledSpan> = problem.labels()?.collect();
    let named = |text: &str| {
        labels
            .iter()
            .find(|label| label.label().is_some_and(|label| label.contains(text)))
    };
    let label = named("found here")
        .or_else(|| named("again here"))
        .or(labels.first())?;
    Some(label.offset()..label.offset() + label.len())
}

/// A proto file that has a mistake.
struct Source {
    path: PathBuf,
    text: String,
    /// Where a mistake is that has no place: a file that ends too early is wrong at its end, and one that cannot even be
    /// imported is wrong as a whole.
    elsewhere: Option<Range<usize>>,
}

impl Source {
    /// Finds the file that an import of `name` means. There is none for files that are missing or not text.
    fn open(name: &str, folders: &[PathBuf], ends_too_early: bool) -> Option<Self> {
        folders.iter().find_map(|folder| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path).ok()?;
            let end = text.trim_end().len();
            Some(Self {
                path,
                text,
                elsewhere: ends_too_early.then_some(end..end),
            })
        })
    }

    /// `path:line:column: message`, and the line with its place underlined.
    fn show(&self, span: Option<Range<usize>>, message: &str) -> String {
        let path = display(&self.path);
        let Some(span) = span.or_else(|| self.elsewhere.clone()) else {
            return format!("{path}: {message}");
        };
        let start = self.text.floor_char_boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_number = self.text[..start].matches('\n').count() + 1;
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let before = &self.text[line_start..start];
        let marked = self.text[start..]
            .chars()
            .take_while(|character| *character != '\n')
            .count()
            .min(span.len())
            .max(1);
        // A tab stays a tab, so that the mark stands under its place whatever the width of a tab is.
        let indent: String = before
            .chars()
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        let gutter = " ".repeat(line_number.to_string().len());
        format!(
            "{path}:{line_number}:{column}: {message}\n{gutter} |\n{line_number} | {line}\n{gutter} | {indent}{mark}",
            column = before.chars().count() + 1,
            mark = "^".repeat(marked),
        )
    }
}

fn display(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
