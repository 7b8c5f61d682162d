//! Standard output: results and nothing else.

use std::io::{self, Write};

use anstyle::Style;
use serde_json::json;

use crate::failure::{Failure, Result};

/// Writes one line of a result and hands it on at once, so that a stream can be followed.
///
/// # Errors
///
/// A silent one when the reader has gone away.
pub(crate) fn print(line: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(line.as_bytes())
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush());
    written.map_err(unwritten)
}

/// Writes one line of a result in colours, where standard output is a terminal that has them.
pub(crate) fn print_styled(parts: &[(Style, &str)]) -> Result<()> {
    let mut output = anstream::stdout().lock();
    let written = parts
        .iter()
        .try_for_each(|(style, part)| write!(output, "{style}{part}{style:#}"))
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush());
    written.map_err(unwritten)
}

/// Writes a value as JSON that people can read, too.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    print(&format!("{value:#}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn unwritten(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::unread(),
        _ => Failure::because("write the result", &error),
    }
}

/// How what is no result is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs, an object a line.
    Json,
}

impl Form {
    /// The form of a command to which `--json` was given, or was not.
    pub(crate) fn of(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Text }
    }

    /// Says something that is no result, on standard error.
    pub(crate) fn say(self, words: &str) {
        match self {
            Self::Text => say(words),
            Self::Json => say(&json!({ "message": words }).to_string()),
        }
    }

    /// Says what went wrong without ending the command.
    pub(crate) fn tell(self, failure: &Failure) {
        match self {
            Self::Text => say(&failure.to_string()),
            Self::Json => say(&failure.to_json().to_string()),
        }
    }
}

/// Says something to people that is no result, on standard error.
pub(crate) fn say(words: &str) {
    // There is no better place to say that standard error is closed.
    let _ = writeln!(io::stderr(), "{words}");
}

/// Whether standard error is a terminal whose user wants colours.
pub(crate) fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Rows in columns as wide as their widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_trailing_space() {
        let rows = [["NODE", "AT"], ["é-1", "127.0.0.1:9090"], ["greeter-1", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        assert_eq!(
            table(&rows),
            ["NODE       AT", "é-1        127.0.0.1:9090", "greeter-1"]
        );
    }
}
