//! A page as what a reader does with it, one thing after the other.

/// What a reader does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Types this.
    Run {
        line: usize,
        script: String,
        /// What the page shows as the answer.
        shown: Option<String>,
        /// The terminal that it stays in, and what it says once it has begun.
        terminal: Option<(String, String)>,
    },
    /// Waits until a terminal says that.
    Wait {
        line: usize,
        terminal: String,
        text: String,
        shown: Option<String>,
    },
    /// Presses Ctrl-C.
    Interrupt {
        line: usize,
        terminal: String,
        shown: Option<String>,
    },
    /// Reads what to type elsewhere.
    NotRun,
}

/// What a page has a reader do.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) steps: Vec<Step>,
}

const NOT_RUN: &str = "*Not run by the tests: ";

impl Page {
    /// The steps of a page, or what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut steps: Vec<Step> = Vec::new();
        let mut terminal = None;
        let mut is_excused = false;
        let mut lines = text.lines().enumerate();
        while let Some((index, content)) = lines.next() {
            let line = index + 1;
            if let Some(words) = comment(content) {
                if let Some((name, until)) = between(words, "terminal ", ", until: ") {
                    terminal = Some((name.to_owned(), until.to_owned()));
                } else if let Some((name, text)) = between(words, "terminal ", " says: ") {
                    steps.push(Step::Wait {
                        line,
                        terminal: name.to_owned(),
                        text: text.to_owned(),
                        shown: None,
                    });
                } else if let Some(name) = words.strip_prefix("Ctrl-C in terminal ") {
                    let terminal = name.to_owned();
                    let shown = None;
                    steps.push(Step::Interrupt {
                        line,
                        terminal,
                        shown,
                    });
                }
                continue;
            }
            if let Some(reason) = content.strip_prefix(NOT_RUN) {
                if reason.trim_end_matches("*").trim_end_matches('.').is_empty() {
                    return Err(format!("line {line}: why is it not run?"));
                }
                is_excused = true;
                continue;
            }
            let Some(language) = content.strip_prefix("```") else {
                is_excused &= content.trim().is_empty();
                continue;
            };
            let mut block = String::new();
            loop {
                match lines.next() {
                    Some((_, "```")) => break,
                    Some((_, inner)) => block += &format!("{inner}\n"),
                    None => return Err(format!("line {line}: the block does not end")),
                }
            }
            match language {
                "sh" if is_excused => steps.push(Step::NotRun),
                "sh" => steps.push(Step::Run {
                    line,
                    script: block,
                    shown: None,
                    terminal: terminal.take(),
                }),
                "text" => match steps.last_mut() {
                    Some(
                        Step::Run { shown, .. } | Step::Wait { shown, .. } | Step::Interrupt { shown, .. },
                    ) if shown.is_none() => {
                        *shown = Some(block);
                    }
                    _ => {}
                },
                // Whatever stands between a command and a text makes that something else.
                _ => steps.push(Step::NotRun),
            }
            is_excused = false;
        }
        Ok(Self { steps })
    }
}

fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}

fn between<'a>(words: &'a str, begin: &str, middle: &str) -> Option<(&'a str, &'a str)> {
    words.strip_prefix(begin)?.split_once(middle)
}

#[test]
fn a_page_is_read_as_what_is_done_with_it() {
    let page = Page::read(
        "# A\n<!-- terminal 1, until: is ready -->\n```sh\nmicro run .\n```\n\nIt says:\n```text\nready\n```\n\
         <!-- terminal 1 says: more -->\n\n*Not run by the tests: needs a cluster.*\n\n```sh\nkubectl\n```\n\
         <!-- Ctrl-C in terminal 1 -->\n```sh\nls\n```\n",
    )
    .unwrap();
    let expected = [
        Step::Run {
            line: 3,
            script: "micro run .\n".to_owned(),
            shown: Some("ready\n".to_owned()),
            terminal: Some(("1".to_owned(), "is ready".to_owned())),
        },
        Step::Wait {
            line: 11,
            terminal: "1".to_owned(),
            text: "more".to_owned(),
            shown: None,
        },
        Step::NotRun,
        Step::Interrupt {
            line: 18,
            terminal: "1".to_owned(),
            shown: None,
        },
        Step::Run {
            line: 19,
            script: "ls\n".to_owned(),
            shown: None,
            terminal: None,
        },
    ];
    assert_eq!(page.steps, expected);
    assert!(Page::read("```sh\nls\n").unwrap_err().contains("line 1"));
    assert!(Page::read("*Not run by the tests: .*\n").is_err());
}
