//! The files of a package and of the workspace around it: when somebody changes one, it is told.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::ModifyKind};
use tokio::{sync::mpsc, time::Instant};

use super::supervisor::passed;
use crate::failure::{Failure, Result};

/// How long it must be quiet: an editor writes one file in several steps, and a version control many files.
const QUIET: Duration = Duration::from_millis(200);
/// How long that is waited for.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(2);
/// How many changes may wait; when more do, all that matters is that there were some.
const QUEUE_LENGTH: usize = 256;
/// The most folders that are watched; the system allows a user some thousands.
const FOLDERS_MAX: usize = 2_000;

/// What is watched.
pub(super) struct Sources {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<notify::Result<Event>>,
    /// Where cargo builds, which is no source.
    target: PathBuf,
    /// The folders in which whatever is no exception counts.
    folders: HashSet<PathBuf>,
    /// What counts wherever it is.
    files: HashSet<PathBuf>,
}

impl Sources {
    /// Watches `folders` and all below them, but not `target`, and nothing that is hidden; and `files` wherever they are.
    pub(super) fn watch(folders: &[PathBuf], target: &Path, files: &[PathBuf]) -> Result<Self> {
        let (sender, events) = mpsc::channel(QUEUE_LENGTH);
        let watcher = notify::recommended_watcher(move |event| {
            // As many as wait already say that something changed.
            let _ = sender.try_send(event);
        });
        let mut sources = Self {
            watcher: watcher.map_err(|error| Failure::because("watch files", &error))?,
            events,
            target: target.to_owned(),
            folders: HashSet::new(),
            files: files.iter().cloned().collect(),
        };
        for folder in folders {
            sources.add(folder)?;
        }
        // A file is replaced rather than written by many an editor: its folder tells.
        for folder in files.iter().filter_map(|file| file.parent()) {
            sources.follow(folder)?;
        }
        Ok(sources)
    }

    /// Waits until files have changed and it is quiet again; answers which.
    pub(super) async fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        let mut new = HashSet::new();
        let mut latest = None;
        loop {
            let quiet = latest.map(|latest: Instant| latest.min(Instant::now() + QUIET));
            tokio::select! {
                Some(event) = self.events.recv() => {
                    let before = changed.len();
                    if let Ok(Event { kind: EventKind::Create(_), paths, .. }) = &event {
                        new.extend(paths.iter().cloned());
                    }
                    changed.extend(self.sources_of(event));
                    if changed.len() > before {
                        latest.get_or_insert(Instant::now() + QUIET_WAIT_MAX);
                    }
                }
                () = passed(quiet) => {
                    // What came and went meanwhile is what an editor writes first, and is no source.
                    changed.retain(|path| !new.contains(path) || path.exists());
                    if !changed.is_empty() {
                        return changed;
                    }
                    (new, latest) = (HashSet::new(), None);
                }
            }
        }
    }

    /// The sources that an event is about.
    fn sources_of(&mut self, event: notify::Result<Event>) -> Vec<PathBuf> {
        // What could not be told may be a change, and building once too often does no harm.
        let Ok(event) = event else {
            return vec![PathBuf::new()];
        };
        if !is_change(event.kind) {
            return Vec::new();
        }
        let paths: Vec<_> = event
            .paths
            .into_iter()
            .filter(|path| self.files.contains(path) || self.is_in_folders(path) && self.is_source(path))
            .collect();
        for path in paths.iter().filter(|path| path.is_dir()) {
            // A folder that went away again, or one too many: what is in it counts from the next `micro run` on.
            let _ = self.add(path);
        }
        paths
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            if self.folders.len() >= FOLDERS_MAX {
                return Err(Failure::new(format!("there are more than {FOLDERS_MAX} folders")));
            }
            self.follow(&folder)?;
            let entries = fs::read_dir(&folder)
                .map_err(|error| Failure::because(format!("read `{}`", folder.display()), &error))?;
            self.folders.insert(folder);
            for entry in entries.filter_map(std::result::Result::ok) {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder && self.is_source(&entry.path()) {
                    open.push(entry.path());
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, folder: &Path) -> Result<()> {
        let watched = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        watched.map_err(|error| Failure::because(format!("watch `{}`", folder.display()), &error))
    }

    fn is_in_folders(&self, path: &Path) -> bool {
        path.parent().is_some_and(|folder| self.folders.contains(folder))
    }

    /// Whether it is neither built, nor hidden, nor an editor's own.
    fn is_source(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        !path.starts_with(&self.target) && !name.starts_with('.') && !name.ends_with('~')
    }
}

/// Whether what a file says may be different now.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Any | EventKind::Create(_) | EventKind::Remove(_) | EventKind::Other => true,
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
        EventKind::Access(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Longer than anything here takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn names(sources: &mut Sources) -> Vec<String> {
        let changed = timeout(PATIENCE, sources.changed())
            .await
            .expect("a change is told");
        let mut names: Vec<_> = changed
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[tokio::test]
    async fn what_is_written_is_told_and_what_is_built_or_hidden_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["src", "target", ".git"] {
            fs::create_dir(at(name)).unwrap();
        }
        let mut sources = Sources::watch(&[folder.path().to_owned()], &at("target"), &[]).unwrap();
        assert_eq!(sources.folders.len(), 2);
        for name in [
            "target/built",
            ".git/HEAD",
            ".hidden",
            "src/main.rs~",
            "src/main.rs",
        ] {
            fs::write(at(name), "changed").unwrap();
        }
        assert_eq!(names(&mut sources).await, ["main.rs"]);

        // A folder that is new is watched from then on.
        fs::create_dir(at("proto")).unwrap();
        assert_eq!(names(&mut sources).await, ["proto"]);
        fs::write(at("proto/shop.proto"), "changed").unwrap();
        assert_eq!(names(&mut sources).await, ["shop.proto"]);
        fs::remove_file(at("src/main.rs")).unwrap();
        assert_eq!(names(&mut sources).await, ["main.rs"]);
    }

    #[tokio::test]
    async fn what_an_editor_writes_first_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("handler.rs"), "old").unwrap();
        let mut sources = Sources::watch(&[folder.path().to_owned()], Path::new("/none"), &[]).unwrap();
        // What is gone again is no change by itself.
        fs::write(at("4913"), "").unwrap();
        fs::remove_file(at("4913")).unwrap();
        // As sed does it.
        fs::write(at("sedX7Qk2b"), "new").unwrap();
        fs::rename(at("sedX7Qk2b"), at("handler.rs")).unwrap();
        assert_eq!(names(&mut sources).await, ["handler.rs"]);
    }

    #[tokio::test]
    async fn a_file_that_is_named_is_told_of_wherever_it_is_and_its_neighbours_are_not() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join(".settings");
        let mut sources = Sources::watch(
            &[folder.path().to_owned()],
            Path::new("/none"),
            std::slice::from_ref(&file),
        )
        .unwrap();
        fs::write(elsewhere.path().join("neighbour"), "changed").unwrap();
        // As editors do it.
        fs::write(elsewhere.path().join("new"), "changed").unwrap();
        fs::rename(elsewhere.path().join("new"), &file).unwrap();
        assert_eq!(names(&mut sources).await, [".settings"]);
        fs::write(folder.path().join("main.rs"), "changed").unwrap();
        assert_eq!(names(&mut sources).await, ["main.rs"]);
    }
}
