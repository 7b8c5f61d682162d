//! What somebody reads: the help of every command, and what commands say of a service that is always the same.
//!
//! `cargo xtask snapshots` writes what they say now into `snapshots/`, for a reader of the change to judge.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use micro_dynamic::fake::Reflection;
use tokio::task::spawn_blocking;

use crate::{
    running::Running,
    support::{Ended, Shop, micro, run},
};

/// Set where snapshots are to be written instead of compared.
const UPDATE: &str = "UPDATE_SNAPSHOTS";

/// Every command that is shown, and the name of no command at all.
const COMMANDS: [&str; 12] = [
    "",
    "bench",
    "call",
    "completions",
    "describe",
    "endpoints",
    "gateway",
    "health",
    "new",
    "run",
    "services",
    "watch",
];

/// What is typed to look at the service, and the name of the file with what is said.
const LOOKS: [(&str, &[&str]); 14] = [
    ("services", &["services"]),
    ("services-json", &["services", "--json"]),
    ("describe", &["describe", "shop"]),
    ("describe-json", &["describe", "shop", "--json"]),
    ("call", &["call", "shop", "Shop.Order", r#"{"name":"Ada"}"#]),
    ("call-nobody", &["call", "nobody", "Shop.Order"]),
    ("call-no-method", &["call", "shop", "Shop.Sell"]),
    ("call-no-method-json", &["call", "shop", "Shop.Sell", "--json"]),
    ("health", &["health", "shop"]),
    ("health-json", &["health", "shop", "--json"]),
    ("endpoints", &["endpoints", "shop"]),
    ("endpoints-json", &["endpoints", "shop", "--json"]),
    ("bench", &BENCH),
    (
        "bench-json",
        &[BENCH[0], BENCH[1], BENCH[2], BENCH[3], BENCH[4], "--json"],
    ),
];
const BENCH: [&str; 5] = ["bench", "shop", "Shop.Look", "--duration", "100ms"];

/// What goes on until Ctrl-C: the name of the file, what is typed, and what the last line looked at has in it.
const WATCHES: [(&str, &[&str], &str); 2] = [
    ("watch", &["watch", "shop"], "  up  "),
    ("watch-json", &["watch", "shop", "--json"], "\"up\""),
];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/micro/snapshots/{name}.txt"))
}

/// Compares what was said with the file, or writes it there.
fn hold(name: &str, said: &str, wrong: &mut Vec<String>) {
    let path = file(name);
    if env::var_os(UPDATE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(&path, said).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    if held != said {
        wrong.push(format!("{name}: held is\n{held}\nand said was\n{said}"));
    }
}

/// All of it, with marks for what differs each time.
fn shown(ended: &Ended) -> String {
    let Ended { code, output, errors } = ended;
    let text = format!("exit code {code}\n--- output\n{output}--- errors\n{errors}");
    let version = env!("CARGO_PKG_VERSION");
    let lines = text
        .lines()
        .map(|line| plain(&line.replace(version, "VERSION")).trim_end().to_owned() + "\n");
    lines.collect()
}

/// What a measurement says, with marks for numbers and units, and without bars; a histogram has a line of each kind.
fn without_measures(text: &str) -> String {
    let word = |word: &str| {
        let (bare, comma) = word.strip_suffix(',').map_or((word, ""), |bare| (bare, ","));
        match bare {
            "\u{b5}s" | "ms" | "s" => Some(format!("UNIT{comma}")),
            _ if bare.parse::<f64>().is_ok() => Some(format!("N{comma}")),
            _ if bare.chars().all(|c| c == '\u{2588}') => None,
            _ => Some(word.to_owned()),
        }
    };
    let lines = text.lines().map(|line| {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<_> = line.split_whitespace().filter_map(word).collect();
        format!("{}{}\n", " ".repeat(indent), words.join(" "))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.dedup();
    lines.concat()
}

/// The line without its moment.
fn timeless(line: &str) -> String {
    let at = |begin: usize| line.get(begin..begin + "2026-01-01T00:00:00Z".len());
    let is_moment = |word: &str| word.starts_with("20") && word.ends_with('Z') && word.contains("T");
    let moment = (0..line.len()).find_map(|begin| at(begin).filter(|word| is_moment(word)));
    moment.map_or_else(|| line.to_owned(), |moment| line.replace(moment, "TIME"))
}

/// The line with the port of the server, which has five digits, and with times left out.
fn plain(line: &str) -> String {
    if let Some((name, _)) = line.split_once("\"latencyMs\": ") {
        return format!("{name}\"latencyMs\": N,");
    }
    let line = without_latency(line);
    let mut parts = line.split("127.0.0.1:");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += "127.0.0.1:PORT5";
        plain += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    plain
}

/// The line of a table with a mark for how long something took, as wide as its column is.
fn without_latency(line: &str) -> String {
    const WIDTH: usize = "LATENCY  ".len();
    let is_time = |word: &&str| {
        let number = word.strip_suffix("ms");
        number.is_some_and(|number| number.contains('.') && number.parse::<f64>().is_ok())
    };
    match line
        .split(' ')
        .find(is_time)
        .and_then(|time| line.split_once(time).map(|(before, after)| (before, time, after)))
    {
        Some((before, time, after)) => {
            let gap = WIDTH.saturating_sub(time.len()).min(after.len());
            format!("{before}{:WIDTH$}{}", "N.Nms", &after[gap..])
        }
        None => line.to_owned(),
    }
}

fn holds(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{}\n`cargo xtask snapshots` takes it as it is",
        wrong.join("\n\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_of_every_command_is_as_it_was() {
    let mut wrong = Vec::new();
    for command in COMMANDS {
        let mut typed: Vec<_> = vec![command, "--help"];
        typed.retain(|word| !word.is_empty());
        let mut asked = micro(&typed);
        asked.env_remove("COLUMNS");
        let ended = run(asked, "").await;
        assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{command}");
        assert!(
            ended.output.contains("Exit codes: "),
            "{command}: {}",
            ended.output
        );
        let name = if command.is_empty() { "help" } else { command };
        hold(&format!("help/{name}"), &ended.output, &mut wrong);
    }
    holds(&wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_is_shown_has_a_snapshot() {
    let listed = run(micro(&["--help"]), "").await.output;
    let (_, commands) = listed.split_once("Commands:\n").unwrap();
    let listed = commands.lines().take_while(|line| !line.is_empty());
    // What is indented further goes on with the line before.
    let listed = listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let listed: BTreeSet<_> = listed.filter_map(|line| line.split(' ').next()).collect();
    let held = COMMANDS
        .into_iter()
        .chain(["help"])
        .filter(|name| !name.is_empty());
    assert_eq!(listed, held.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_service_is_as_it_was() {
    let shop = Shop::start(Reflection::V1).await;
    let mut wrong = Vec::new();
    for (name, typed) in LOOKS {
        let mut said = shown(&shop.run(typed).await);
        if typed[0] == "bench" {
            said = without_measures(&said);
        }
        hold(&format!("output/{name}"), &said, &mut wrong);
    }
    for (name, typed, last) in WATCHES {
        let command = shop.micro(typed);
        let lines = spawn_blocking(move || Running::start(command).output_until(last));
        let lines = lines
            .await
            .unwrap()
            .into_iter()
            .map(|line| timeless(&plain(&line)) + "\n");
        hold(&format!("output/{name}"), &lines.collect::<String>(), &mut wrong);
    }
    holds(&wrong);
}
