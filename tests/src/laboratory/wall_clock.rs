//! A wall clock for processes that can be set while they run; that of the machine stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = include_str!("wall_clock.c");

/// A wall clock. Processes started with it read it wherever they ask for the time of day, and their monotonic clocks
/// know nothing of it.
#[derive(Debug)]
pub(super) struct WallClock {
    library: PathBuf,
    error: PathBuf,
}

impl WallClock {
    /// Makes one that is right, with its files in `folder`.
    ///
    /// # Panics
    ///
    /// Without a C compiler named `cc`, which linking Rust programs needs, too.
    pub(super) fn new(folder: &Path) -> Self {
        let source = folder.join("wall_clock.c");
        let clock = Self {
            library: folder.join("wall_clock.so"),
            error: folder.join("wall_clock_error"),
        };
        fs::write(&source, SOURCE).expect("the folder can be written to");
        clock.set(0);
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&clock.library)
            .arg(&source);
        let output = compiler.output().expect("a C compiler named cc");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compiler:?}: {said}");
        clock
    }

    /// The same command, with this wall clock.
    pub(super) fn command(&self, mut command: Command) -> Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("WALL_CLOCK_ERROR", &self.error);
        command
    }

    /// From now on it is wrong by this many seconds.
    pub(super) fn set(&self, error: i64) {
        // Put in place at once: a reader must not find half of it.
        let next = self.error.with_extension("next");
        fs::write(&next, error.to_string()).expect("the folder can be written to");
        fs::rename(next, &self.error).expect("it is the same folder");
    }
}
