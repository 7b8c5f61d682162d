//! Starts the binary and reads what it says.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use micro_dynamic::fake::{Fake, Reflection};

/// The binary, in a world of its own: no registry but what is given, no colours, no settings file.
pub(crate) fn micro(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_micro"));
    command
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .env_remove("CARGO_PKG_NAME")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MICRO_") {
            command.env_remove(name);
        }
    }
    command
}

/// A server called `shop` in a static registry.
pub(crate) struct Shop {
    fake: Fake,
}

impl Shop {
    pub(crate) async fn start(reflection: Reflection) -> Self {
        Self {
            fake: Fake::start(reflection).await.unwrap(),
        }
    }

    /// How many of its calls are open.
    pub(crate) fn open(&self) -> usize {
        self.fake.open()
    }

    /// The binary with the registry in which the shop is found.
    pub(crate) fn micro(&self, arguments: &[&str]) -> Command {
        let address = format!("shop={}", self.fake.address());
        let mut command = micro(arguments);
        command
            .env("MICRO_REGISTRY", "static")
            .env("MICRO_REGISTRY_ADDRESS", address);
        command
    }

    /// Runs the binary to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        run(self.micro(arguments), "").await
    }

    /// Runs the binary to its end with this on its standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        run(self.micro(arguments), input).await
    }
}

/// What a run of the binary left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs the binary to its end without holding up the server that it calls.
pub(crate) async fn run(mut command: Command, input: &str) -> Ended {
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A binary that does not read its input may be gone before it comes.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    output.await.unwrap().into()
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
