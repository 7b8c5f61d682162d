//! Where the lines of all processes and our own words come together: one thread, so that a terminal that stands still holds
//! up no signal.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// How many lines may wait for the terminal; beyond that, nodes wait for it, too.
const QUEUE_LENGTH: usize = 1024;
/// How long our own words may wait for their place among the lines of the nodes, before they are left out: whoever has
/// something to say also has signals to attend to.
const SAY_WAIT: Duration = Duration::from_secs(2);
/// How long the last lines may take at the end.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// One colour a process; they come round again.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// What is shown.
enum Entry {
    /// A line of a process, to standard output.
    Theirs { index: usize, line: Vec<u8> },
    /// A line of our own, to standard error; as JSON it is with the others.
    Own { words: String, facts: Facts },
}

/// What a program wants to know of what is said, beside the words.
pub(super) type Facts = Map<String, Value>;

/// How lines are written.
#[derive(Clone, Debug)]
enum Form {
    /// For people: with these in front of the lines of processes.
    Text(Vec<String>),
    /// For programs: with these as the names of processes.
    Json(Vec<String>),
}

/// Takes lines; clones write to the same place.
#[derive(Clone)]
pub(super) struct Printer {
    entries: mpsc::Sender<Entry>,
}

/// The thread behind a [`Printer`].
pub(super) struct Printing {
    gone: watch::Receiver<bool>,
    finished: oneshot::Receiver<()>,
}

/// Starts printing the lines of processes that are called so.
pub(super) fn start(labels: &[String], is_json: bool) -> io::Result<(Printer, Printing)> {
    let (entries, receiver) = mpsc::channel(QUEUE_LENGTH);
    let (finish, finished) = oneshot::channel();
    let (gone, watched) = watch::channel(false);
    let form = Form::of(labels, is_json);
    thread::Builder::new()
        .name("micro-printer".into())
        .spawn(move || {
            print(receiver, &form, &gone);
            // Nobody waits any more when the process is ending in a hurry.
            let _ = finish.send(());
        })?;
    let printing = Printing {
        gone: watched,
        finished,
    };
    Ok((Printer { entries }, printing))
}

impl Printer {
    /// Shows a line of the process whose label has this index.
    pub(super) async fn theirs(&self, index: usize, line: Vec<u8>) {
        // The thread goes only after all printers, unless the process is ending.
        let _ = self.entries.send(Entry::Theirs { index, line }).await;
    }

    /// Says something of our own.
    pub(super) async fn say(&self, words: impl Into<String>) {
        self.tell(words, Facts::new()).await;
    }

    /// The same, with what a program wants to know.
    pub(super) async fn tell(&self, words: impl Into<String>, facts: Facts) {
        let words = words.into();
        // As above, or the terminal stands still.
        let _ = timeout(SAY_WAIT, self.entries.send(Entry::Own { words, facts })).await;
    }
}

/// What a [`Printer`] takes, in the place of a terminal.
#[cfg(test)]
pub(super) struct Heard(mpsc::Receiver<Entry>);

#[cfg(test)]
impl Heard {
    /// Nothing is printed: what is said is heard here.
    pub(super) fn new() -> (Printer, Self) {
        let (entries, receiver) = mpsc::channel(QUEUE_LENGTH);
        (Printer { entries }, Self(receiver))
    }

    /// What we say next of our own, and what a program wants to know of it.
    pub(super) async fn own(&mut self) -> (String, Facts) {
        loop {
            if let Entry::Own { words, facts } = self.0.recv().await.expect("somebody who speaks") {
                return (words, facts);
            }
        }
    }
}

impl Printing {
    /// Waits until standard output takes no more: its reader went away.
    pub(super) async fn gone(&mut self) {
        if self.gone.wait_for(|gone| *gone).await.is_err() {
            // The thread ended, and with it every interest in this question.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for the last lines, if all printers are dropped.
    pub(super) async fn finish(self) {
        // A terminal that stands still must not keep the process alive.
        let _ = timeout(FINISH_WAIT, self.finished).await;
    }
}

impl Form {
    fn of(labels: &[String], is_json: bool) -> Self {
        if is_json {
            return Self::Json(labels.to_vec());
        }
        let lengths = labels.iter().map(|label| label.chars().count());
        let width = lengths.max().unwrap_or(0);
        let prefixes = labels.iter().enumerate();
        Self::Text(
            prefixes
                .map(|(index, label)| prefix(label, index, width))
                .collect(),
        )
    }
}

fn print(mut entries: mpsc::Receiver<Entry>, form: &Form, gone: &watch::Sender<bool>) {
    let mut output = anstream::stdout();
    let mut own = anstream::stderr();
    while let Some(entry) = entries.blocking_recv() {
        let written = match (form, entry) {
            // There is no better place to say that standard error is closed.
            (Form::Text(_), Entry::Own { words, .. }) => {
                drop(writeln!(own, "micro: {words}"));
                continue;
            }
            _ if *gone.borrow() => continue,
            (Form::Text(prefixes), Entry::Theirs { index, line }) => {
                write_line(&mut output, &prefixes[index], &line)
            }
            (Form::Json(labels), entry) => write_json(&mut output, labels, entry),
        };
        if written.is_err() {
            gone.send_replace(true);
        }
    }
}

fn write_json(output: &mut impl Write, labels: &[String], entry: Entry) -> io::Result<()> {
    let object = match entry {
        Entry::Theirs { index, line } => {
            json!({ "process": labels[index], "line": String::from_utf8_lossy(&line) })
        }
        Entry::Own { words, facts } => message(&words, facts),
    };
    writeln!(output, "{object}")?;
    output.flush()
}

/// What is said, as JSON.
pub(super) fn message(words: &str, mut facts: Facts) -> Value {
    facts.insert("message".to_owned(), words.trim_end().into());
    facts.into()
}

fn write_line(output: &mut impl Write, prefix: &str, line: &[u8]) -> io::Result<()> {
    // What a node colours must not colour the next node's line.
    let reset = if line.contains(&0x1b) { "\u{1b}[0m" } else { "" };
    let text = String::from_utf8_lossy(line);
    output.write_all(format!("{prefix}{text}{reset}\n").as_bytes())?;
    output.flush()
}

fn prefix(label: &str, index: usize, width: usize) -> String {
    let style = Style::new().fg_color(Some(COLOURS[index % COLOURS.len()].into()));
    format!("{style}{label:width$} |{style:#} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(prefix: &str, line: &[u8]) -> String {
        let mut output = anstream::StripStream::new(Vec::new());
        write_line(&mut output, prefix, line).unwrap();
        String::from_utf8(output.into_inner()).unwrap()
    }

    #[test]
    fn prefixes_are_of_one_width_and_without_colour_where_there_is_no_terminal() {
        assert_eq!(written(&prefix("shop-2", 1, 9), b"on"), "shop-2    | on\n");
        assert_eq!(written(&prefix("greeter-1", 9, 9), b"on"), "greeter-1 | on\n");
    }

    #[test]
    fn a_nodes_own_colours_end_with_its_line() {
        let mut output = Vec::new();
        write_line(&mut output, "", b"\x1b[31mred").unwrap();
        assert!(output.ends_with(b"\x1b[0m\n"));
        assert_eq!(written("", b"\x1b[31mred \xff"), "red \u{fffd}\n");
    }

    #[test]
    fn as_json_each_line_is_an_object() {
        let mut output = Vec::new();
        let labels = ["shop-1".to_owned()];
        let line = b"say \"on\" \xff".to_vec();
        write_json(&mut output, &labels, Entry::Theirs { index: 0, line }).unwrap();
        let facts = Facts::from_iter([("event".to_owned(), "ready".into())]);
        let words = "all is well\n".to_owned();
        write_json(&mut output, &labels, Entry::Own { words, facts }).unwrap();
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "{\"line\":\"say \\\"on\\\" \u{fffd}\",\"process\":\"shop-1\"}\n\
             {\"event\":\"ready\",\"message\":\"all is well\"}\n"
        );
    }
}
