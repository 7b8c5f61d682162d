//! One run of a program, most often cargo, as a step of a command: shown, timed, and its failure passed on.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::Result;

/// A step: a program, its arguments and its environment, run at the root of the repository.
#[derive(Debug)]
pub(crate) struct Step {
    shown: String,
    command: Command,
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
}

/// Where cargo builds, unless a step says otherwise.
pub(crate) fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A step that runs cargo.
pub(crate) fn cargo(arguments: &str) -> Step {
    // Cargo says which cargo runs this; another one could be another toolchain.
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(
        program,
        format!("cargo {arguments}"),
        arguments.split_whitespace(),
    )
}

impl Step {
    /// A step that runs `program`, shown as `shown`.
    pub(crate) fn new<'a>(
        program: impl AsRef<OsStr>,
        shown: impl Into<String>,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root());
        // What a developer exported for a service of theirs must not change what a test sees.
        let exported = env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("MICRO_") && !name.starts_with("MICRO_TEST_")
        });
        for name in exported {
            command.env_remove(name);
        }
        Self {
            shown: shown.into(),
            command,
        }
    }

    /// Sets one variable of the step's environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref();
        self.shown = format!("{name}={} {}", value.to_string_lossy(), self.shown);
        self.command.env(name, value);
        self
    }

    /// Adds an argument that may have spaces.
    pub(crate) fn arg(mut self, argument: &Path) -> Self {
        self.shown = format!("{} {}", self.shown, argument.display());
        self.command.arg(argument);
        self
    }

    /// Runs the step in `folder` rather than at the root.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs the step with its output where ours goes; fails when it fails.
    pub(crate) fn run(mut self) -> Result<()> {
        println!("\n$ {}", self.shown);
        let started = Instant::now();
        let status = self
            .command
            .status()
            .map_err(|error| format!("start `{}`: {error}", self.shown))?;
        let seconds = started.elapsed().as_secs();
        if !status.success() {
            return Err(format!("`{}` failed after {seconds} s ({status})", self.shown).into());
        }
        println!("  took {seconds} s");
        Ok(())
    }

    /// Runs the step to its end and returns whether it succeeded and what it wrote to standard error.
    pub(crate) fn outcome(mut self) -> Result<(bool, String)> {
        println!("\n$ {}", self.shown);
        let output = self
            .command
            .output()
            .map_err(|error| format!("start `{}`: {error}", self.shown))?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}
