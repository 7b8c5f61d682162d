//! A contestant in a process of its own, so that its processor time and memory are its own; the two speak in lines.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, ValueEnum};

use super::{Backend, Scene, ours, plain, seen::Seen};
use crate::{Result, usage};

/// What a contestant is told.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    backend: Backend,
    address: String,
    kind: Kind,
    /// How many nodes each service has.
    nodes: usize,
    services: Vec<String>,
}

/// Who follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The bare library.
    Plain,
    /// The backend's watcher.
    Watch,
    /// A whole client.
    Client,
}

/// What a contestant has used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    pub(super) memory: u64,
    pub(super) peak: u64,
    pub(super) updates: u64,
}

/// A contestant's process; it ends with this.
pub(super) struct Running {
    kind: Kind,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    begun: Instant,
    /// How long the first list took, the start of the process included.
    pub(super) listed: Duration,
}

impl Running {
    pub(super) fn start(backend: Backend, address: &str, kind: Kind, scene: &Scene) -> Result<Self> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let mut process = Command::new(env::current_exe()?)
            .args(["follow", &name(backend.to_possible_value()), address])
            .args([name(kind.to_possible_value()), scene.nodes.to_string()])
            .args(&scene.services)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("the contestant has no input")?;
        let output = process.stdout.take().ok_or("the contestant has no output")?;
        Ok(Self {
            kind,
            process,
            input,
            output: BufReader::new(output),
            begun: Instant::now(),
            listed: Duration::ZERO,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "plain",
            Kind::Watch => "watcher",
            Kind::Client => "client",
        }
    }

    /// Waits until it has listed everything; it says when.
    pub(super) fn until_listed(&mut self) -> Result<()> {
        let micros: u64 = self.ask("listed")?.parse()?;
        self.listed = Duration::from_micros(micros);
        debug_assert!(self.listed <= self.begun.elapsed(), "a list from the future");
        Ok(())
    }

    /// Asks when it sees this port.
    pub(super) fn look_for_port(&mut self, port: u16) -> Result<()> {
        Ok(writeln!(self.input, "port {port}")?)
    }

    /// When it saw the port that it was asked for.
    pub(super) fn saw_port(&mut self) -> Result<SystemTime> {
        let micros = self.answer()?.parse()?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
    }

    pub(super) fn usage(&mut self) -> Result<Used> {
        let answer = self.ask("usage")?;
        let fields: Vec<u64> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [cpu, memory, peak, updates] = fields[..] else {
            return Err(format!("the contestant said {answer:?} of its usage").into());
        };
        Ok(Used {
            cpu: Duration::from_micros(cpu),
            memory,
            peak,
            updates,
        })
    }

    /// One question, one answer.
    fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.input, "{question}")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(format!("the contestant {} has ended", self.name()).into());
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Follows, and answers the questions on the standard input until it ends.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let seen = Seen::of(settings.services.len());
    let (nodes, questions) = (settings.nodes, lines());
    runtime.block_on(async {
        tokio::select! {
            ended = follow(settings, seen.clone()) => ended,
            answered = answer(questions, seen, nodes, begun) => answered,
        }
    })
}

async fn follow(settings: Settings, seen: Seen) -> Result<()> {
    let Settings {
        backend,
        address,
        kind,
        services,
        ..
    } = settings;
    match kind {
        Kind::Plain => plain::follow(backend, address, services, seen).await,
        Kind::Watch => ours::watch(ours::open(backend, &address)?, services, seen).await,
        Kind::Client => ours::call(ours::open(backend, &address)?, services, seen).await,
    }
}

/// The lines of the standard input, which a thread waits for.
fn lines() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, lines) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(io::Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

async fn answer(
    mut questions: tokio::sync::mpsc::Receiver<String>,
    seen: Seen,
    nodes: usize,
    begun: Instant,
) -> Result<()> {
    let listed = async {
        seen.until_listed(nodes).await;
        begun.elapsed()
    };
    // Taken when it happens, and not when somebody asks.
    let (mut listed, mut listed_after) = (std::pin::pin!(listed), None);
    loop {
        let question = tokio::select! {
            after = &mut listed, if listed_after.is_none() => {
                listed_after = Some(after);
                continue;
            }
            question = questions.recv() => question,
        };
        let Some(question) = question else {
            return Ok(());
        };
        match question.split_once(' ') {
            Some(("port", port)) => {
                seen.until_port(port.parse()?).await;
                println!(
                    "{}",
                    SystemTime::now()
                        .duration_since(SystemTime::UNIX_EPOCH)?
                        .as_micros()
                );
            }
            _ if question == "listed" => {
                if listed_after.is_none() {
                    listed_after = Some((&mut listed).await);
                }
                println!("{}", listed_after.unwrap_or_default().as_micros());
            }
            _ => {
                let cpu = usage::own_cpu()?.as_micros();
                let (memory, peak) = (usage::own_memory()?, usage::own_peak_memory()?);
                println!("{cpu} {memory} {peak} {}", seen.updates());
            }
        }
    }
}
