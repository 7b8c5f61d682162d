//! A Rust file as the rules see it: its lines, and its tokens with what stands around each of them.

use std::{collections::BTreeSet, rc::Rc};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A Rust file. Comments and the contents of strings are in `text` alone, so no rule takes them for code.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// It is part of a library that others link.
    pub(crate) library: bool,
    /// The files that `#[cfg(test)] mod name;` makes test code as a whole.
    pub(crate) test_files: BTreeSet<String>,
}

/// One word, literal or sign, brackets included.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Where the token stands.
    pub(crate) around: Around,
}

/// What stands around a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// It is inside an item that only tests have.
    pub(crate) test: bool,
    /// It is inside a function whose test has time stand still.
    pub(crate) paused: bool,
    /// It is inside an attribute.
    pub(crate) attribute: bool,
    /// The innermost function it is inside of.
    pub(crate) function: Option<Rc<str>>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The lexer's message when the text is not Rust.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Result<Self, String> {
        let (path, text) = (path.into(), text.into());
        let stream = text.parse::<TokenStream>().map_err(|error| error.to_string())?;
        let mut source = Self {
            path,
            text,
            tokens: Vec::new(),
            library: false,
            test_files: BTreeSet::new(),
        };
        source.take(stream, &Around::default());
        Ok(source)
    }

    /// Makes all of the file test code, as it is when only tests include it.
    pub(crate) fn all_test(mut self) -> Self {
        for token in &mut self.tokens {
            token.around.test = true;
        }
        self
    }

    /// Makes it a file of a library that others link.
    pub(crate) fn in_library(mut self) -> Self {
        self.library = true;
        self
    }

    /// Where `pattern`, written as Rust, begins.
    pub(crate) fn find(&self, pattern: &str) -> impl Iterator<Item = (usize, &Token)> {
        let pattern = Self::new("pattern", pattern).expect("a rule's pattern is Rust");
        let windows = self.tokens.windows(pattern.tokens.len()).enumerate();
        windows.filter_map(move |(index, window)| {
            let equal = window
                .iter()
                .zip(&pattern.tokens)
                .all(|(token, wanted)| token.text == wanted.text);
            equal.then(|| (index, &window[0]))
        })
    }

    /// The text of the token at `index`; empty behind the last.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// The tokens inside the brackets that open at `open`.
    pub(crate) fn inside(&self, open: usize) -> &[Token] {
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return &self.tokens[open + 1..index];
            }
        }
        &[]
    }

    /// Takes the tokens of one pair of brackets, or of the whole file.
    fn take(&mut self, stream: TokenStream, outside: &Around) {
        let mut item = Item::default();
        let mut before = String::new();
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            let around = item.around(outside);
            if let TokenTree::Group(group) = &tree {
                if group.delimiter() == Delimiter::Bracket && (before == "#" || before == "#!") {
                    item.attribute(&before, group);
                    self.take_group(group, &around.in_attribute());
                } else {
                    self.take_group(group, &around);
                    if group.delimiter() == Delimiter::Brace {
                        item.end();
                    }
                }
                before.clear();
                continue;
            }
            let mut text = tree.to_string();
            // `'a` is one word: otherwise `'static` would read as the item `static`.
            if text == "'" {
                text.extend(trees.next().map(|name| name.to_string()));
            }
            if before == "mod" && around.test && matches!(trees.peek(), Some(TokenTree::Punct(_))) {
                self.test_files.extend(files_of_module(&self.path, &text));
            }
            item.word(&before, &text);
            self.push(text.clone(), tree.span().start().line, &around);
            before = if before == "#" && text == "!" {
                "#!".to_owned()
            } else {
                text
            };
        }
    }

    fn take_group(&mut self, group: &Group, around: &Around) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            // Only macros make these.
            Delimiter::None => return,
        };
        self.push(open.to_owned(), group.span_open().start().line, around);
        self.take(group.stream(), around);
        self.push(close.to_owned(), group.span_close().start().line, around);
    }

    fn push(&mut self, text: String, line: usize, around: &Around) {
        let around = around.clone();
        self.tokens.push(Token { text, line, around });
    }
}

impl Around {
    fn in_attribute(self) -> Self {
        Self {
            attribute: true,
            ..self
        }
    }
}

/// The item being read: what its attributes and its name say about the tokens inside it.
#[derive(Debug, Default)]
struct Item {
    test: bool,
    paused: bool,
    function: Option<Rc<str>>,
    /// An inner attribute made all that follows test code.
    rest: bool,
}

impl Item {
    fn around(&self, outside: &Around) -> Around {
        Around {
            test: outside.test || self.test || self.rest,
            paused: outside.paused || self.paused,
            attribute: outside.attribute,
            function: self.function.clone().or_else(|| outside.function.clone()),
        }
    }

    /// Reads an attribute; `before` tells an inner one from an outer one.
    fn attribute(&mut self, before: &str, group: &Group) {
        let text = group.stream().to_string().replace(' ', "");
        if text.starts_with("doc=") {
            return;
        }
        let of_tests = text == "cfg(test)" || text.starts_with("cfg(all(test,");
        self.rest |= before == "#!" && of_tests;
        self.test |= of_tests || is_test_attribute(&text);
        self.paused |= text.contains("start_paused=true");
    }

    /// Reads a word outside all brackets of the item.
    fn word(&mut self, before: &str, text: &str) {
        if before == "fn" {
            self.function = Some(text.into());
        }
        if text == ";" {
            self.end();
        }
    }

    fn end(&mut self) {
        *self = Self {
            rest: self.rest,
            ..Self::default()
        };
    }
}

/// Whether an attribute is `test` or a runtime's own `test`, with or without arguments.
fn is_test_attribute(text: &str) -> bool {
    let path = text.split('(').next().unwrap_or_default();
    path == "test" || path.ends_with("::test")
}

/// Where `mod name;` in the file at `path` finds its file.
fn files_of_module(path: &str, name: &str) -> [String; 2] {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let folder = match stem {
        "lib" | "main" | "mod" => folder.to_owned(),
        _ => format!("{folder}/{stem}"),
    };
    [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("a/src/lib.rs", text).unwrap()
    }

    /// The tokens around which `what` holds, put together.
    fn words(text: &str, what: impl Fn(&Around) -> bool) -> String {
        let source = source(text);
        let tokens = source.tokens.iter().filter(|token| what(&token.around));
        tokens
            .map(|token| token.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn test_code_is_what_only_tests_have() {
        let text = "fn a() {} #[cfg(test)] mod tests { fn b() {} } fn c() {}";
        assert_eq!(words(text, |around| around.test), "mod tests { fn b ( ) { } }");
        let text = "#[tokio::test(start_paused = true)] async fn a() {} fn b() {}";
        assert_eq!(words(text, |around| around.test), "async fn a ( ) { }");
        assert_eq!(words(text, |around| around.paused), "async fn a ( ) { }");
        let text = "#[cfg(test)] use a::b; fn c() {}";
        assert_eq!(words(text, |around| around.test), "use a : : b ;");
        assert_eq!(words("#[cfg(not(test))] fn a() {}", |around| around.test), "");
    }

    #[test]
    fn an_inner_attribute_makes_the_rest_test_code() {
        let text = "#![cfg(test)] fn a() {} fn b() {}";
        assert_eq!(words(text, |around| around.test), "fn a ( ) { } fn b ( ) { }");
    }

    #[test]
    fn a_token_knows_its_function() {
        let text = "fn a() { x; fn b() { y } z } impl C { fn d(); }";
        assert_eq!(
            words(text, |around| around.function.as_deref() == Some("b")),
            "( ) { y }"
        );
        assert_eq!(
            words(text, |around| around.function.as_deref() == Some("d")),
            "( ) ;"
        );
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "//! env::var\n/* env::var */ fn a() { \"env::var\" } // env::var";
        assert_eq!(source(text).find("env::var").count(), 0);
    }

    #[test]
    fn code_inside_a_macro_is_code_and_has_its_line() {
        let source = source("fn a() {\n    select! {\n        _ = b.unwrap() => {}\n    }\n}");
        let lines: Vec<_> = source.find(".unwrap()").map(|(_, token)| token.line).collect();
        assert_eq!(lines, [3]);
    }

    #[test]
    fn a_lifetime_is_one_word() {
        let source = source("static A: &'static str = \"\";");
        assert_eq!(source.find("static").count(), 1);
    }

    #[test]
    fn the_file_of_a_test_module_is_test_code() {
        let files = |path| {
            Source::new(path, "#[cfg(test)]\nmod cases;\nmod other;")
                .unwrap()
                .test_files
        };
        assert!(files("a/src/lib.rs").contains("a/src/cases.rs"));
        assert!(files("a/src/b/mod.rs").contains("a/src/b/cases/mod.rs"));
        assert!(files("a/src/b.rs").contains("a/src/b/cases.rs"));
        assert!(!files("a/src/lib.rs").contains("a/src/other.rs"));
    }

    #[test]
    fn what_is_not_rust_is_refused() {
        assert!(Source::new("a.rs", "fn a() {").is_err());
    }
}
