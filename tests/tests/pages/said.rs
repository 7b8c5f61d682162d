//! Whether what a page shows is what was said, but for what differs each time: ports, ids of nodes, times, and where the
//! registry of the test is. `…` in a page stands for whatever is there.

/// What a page shows for whatever is there.
const ANYTHING: &str = "…";

/// Whether it is the same, line by line.
pub(crate) fn same(shown: &str, said: &str) -> Result<(), String> {
    let (expected, found) = (lines(shown), lines(said));
    let fits = expected.len() == found.len() && expected.iter().zip(&found).all(|(a, b)| fits(a, b));
    if fits {
        return Ok(());
    }
    Err(format!(
        "shown is\n{}\nand said was\n{}",
        expected.join("\n"),
        found.join("\n")
    ))
}

/// Whether all that is shown is said, whatever the order: lines of several processes are.
pub(crate) fn is_said(shown: &str, said: &str) -> Result<(), String> {
    let found = lines(said);
    let missing = lines(shown)
        .into_iter()
        .find(|line| !found.iter().any(|said| fits(line, said)));
    match missing {
        None => Ok(()),
        Some(line) => Err(format!("shown is\n{line}\nand said was\n{}", found.join("\n"))),
    }
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| plain(line).trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// A line with a mark for each thing that differs every time.
fn plain(line: &str) -> String {
    let mut words = Vec::new();
    let mut skip_next = false;
    for word in line.split(' ') {
        if std::mem::take(&mut skip_next) {
            continue;
        }
        if word == "--registry-address" {
            skip_next = true;
            continue;
        }
        words.push(plain_word(word));
    }
    words.join(" ")
}

fn plain_word(word: &str) -> String {
    if word.len() > 20 && word.ends_with('Z') && word.starts_with("20") {
        return "TIME".to_owned();
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut plain = String::new();
    let mut rest = word;
    while let Some(begin) = rest.find(is_part) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (part, after) = from.split_at(end);
        plain += before;
        let is_port =
            before.ends_with(':') && part.len() == 5 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain += &if is_port {
            "PORT".to_owned()
        } else {
            plain_id(part)
        };
        rest = after;
    }
    plain + rest
}

/// `greeter-2-x4go` as `greeter-N-ID`, and `gateway-x4go` as `gateway-ID`.
fn plain_id(part: &str) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((head, suffix)) = part.rsplit_once('-') else {
        return part.to_owned();
    };
    if suffix.len() != 4 {
        return part.to_owned();
    }
    match head.rsplit_once('-') {
        Some((service, number)) if is_number(number) => format!("{service}-N-ID"),
        _ if head == "gateway" => "gateway-ID".to_owned(),
        _ => part.to_owned(),
    }
}

/// Whether a line fits one that may have `…` in it.
fn fits(shown: &str, said: &str) -> bool {
    let mut parts = shown.split(ANYTHING);
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    // What stands behind the last `…` is the end of the line.
    rest.is_empty() || last.is_some_and(|last| last.is_empty() || rest.ends_with(last))
}

#[test]
fn what_differs_each_time_is_left_out_and_nothing_else() {
    let shown = "micro: greeter-1 is ready: greeter-1-cz22 at 127.0.0.1:39423\n\n    micro call greeter Say.Hello '{}'\n";
    let said = "micro: greeter-1 is ready: greeter-1-x0y9 at 127.0.0.1:41111\n    micro call greeter Say.Hello '{}' \
                --registry-address 127.0.0.1:20001\n";
    assert_eq!(same(shown, said), Ok(()));
    assert!(same(shown, &said.replace("ready", "there")).is_err());
    assert!(same(shown, &said.replace("greeter-1 is", "greeter-2 is")).is_err());
    assert!(same("{\"by\":\"greeter-1-cz22\"}", "{\"by\":\"greeter-2-abcd\"}").is_ok());
    assert!(same("localhost:8080", "localhost:8081").is_err());
    assert_eq!(is_said("b\n", "a\nb\nc\n"), Ok(()));
    assert!(is_said("d\n", "a\nb\nc\n").is_err());
    assert!(fits("a … c", "a bb c") && fits("a …", "a b") && fits("… c", "b c") && !fits("a … c", "a bb d"));
}
