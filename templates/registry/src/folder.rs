//! The files: `<folder>/<service>/<id>.json`, replaced as a whole, written by one process at a time. Everything here may
//! block.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind::NotFound, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use micro_registry::{Error, ErrorKind, Node, Result, ServiceName, SkippedRecords, Snapshot};

use crate::record;

/// How long to wait for the lock, which is held for the writing of one file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The most files of a service; a folder with more is no registry.
const FILES_MAX: usize = 10_000;
/// How long the record of a node that was killed is left to whoever looks for it.
const LEFT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    skipped: SkippedRecords,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let skipped = SkippedRecords::new(crate::NAME);
        Self { path, skipped }
    }

    /// Writes the record of `node`, unless another boot holds its id.
    pub(crate) fn put(&self, node: &Node, ttl: Duration) -> Result<()> {
        let text = record::encode(node, ttl)?;
        let (folder, file) = self.place(node)?;
        let _lock = self.lock()?;
        if let Some(held) = held(&file)?.filter(|held| held.boot() != node.boot()) {
            let message = format!(
                "register node `{}` of `{}`: another boot holds the id",
                held.id(),
                held.service()
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        if !folder.exists() {
            fs::create_dir(&folder).map_err(failed("create", &folder))?;
        }
        if !file.exists() {
            remove_dead(&folder)?;
        }
        // Readers see the old record or the new one, never half of one. The lock makes one name enough.
        let new = self.path.join(".new");
        fs::write(&new, text).map_err(failed("write", &new))?;
        fs::rename(&new, &file).map_err(failed("write", &file))
    }

    /// Removes the record of `node`, unless another boot holds its id.
    pub(crate) fn take(&self, node: &Node) -> Result<()> {
        let (_, file) = self.place(node)?;
        let _lock = self.lock()?;
        match held(&file)? {
            Some(held) if held.boot() == node.boot() => {
                fs::remove_file(&file).map_err(failed("remove", &file))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn nodes(&self, service: &ServiceName) -> Result<Snapshot> {
        let folder = self.path.join(record::escaped(service.as_str()));
        let nodes = self.living(&folder)?;
        Ok(Snapshot::new(
            nodes
                .into_iter()
                .filter(|node| node.service() == service)
                .map(Arc::new),
        ))
    }

    pub(crate) fn services(&self) -> Result<Vec<String>> {
        let mut services = Vec::new();
        for name in names(&self.path)? {
            let folder = self.path.join(name);
            if folder.is_dir() {
                services.extend(
                    self.living(&folder)?
                        .first()
                        .map(|node| node.service().to_string()),
                );
            }
        }
        services.sort_unstable();
        services.dedup();
        Ok(services)
    }

    /// The nodes of a service's folder that have not run out; a bad file is skipped and hides no other.
    fn living(&self, folder: &Path) -> Result<Vec<Node>> {
        if !folder.exists() {
            // No folder is no nodes, but not when the folder of all folders is away.
            return names(&self.path).map(|_| Vec::new());
        }
        let mut nodes = Vec::new();
        for name in names(folder)? {
            let file = folder.join(name);
            match read(&file)?.map(|text| record::decode(&text)) {
                Some(Ok(Some(node))) if self.place(&node)?.1 == file => nodes.push(node),
                Some(Ok(Some(_))) => {
                    let error = Error::new(ErrorKind::Protocol, "the file has the name of another node");
                    self.skipped.skip(&file.to_string_lossy(), &error);
                }
                Some(Err(error)) => self.skipped.skip(&file.to_string_lossy(), &error),
                Some(Ok(None)) | None => {}
            }
        }
        Ok(nodes)
    }

    /// The folder and the file of `node`.
    fn place(&self, node: &Node) -> Result<(PathBuf, PathBuf)> {
        let folder = self.path.join(record::escaped(node.service().as_str()));
        let file = folder.join(record::file_name(node.id())?);
        Ok((folder, file))
    }

    /// Waits until no other process writes. The lock goes with the file, also when its process is killed.
    fn lock(&self) -> Result<File> {
        let path = self.path.join(".lock");
        let file = File::create(&path).map_err(failed("open", &path))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIMEOUT => {
                    thread::sleep(LOCK_POLL_INTERVAL);
                }
                Err(error) => return Err(failed("lock", &path)(error.into())),
            }
        }
    }
}

/// The living node in `file`; nobody's, if it has run out or is no record.
fn held(file: &Path) -> Result<Option<Node>> {
    Ok(read(file)?.and_then(|text| record::decode(&text).ok().flatten()))
}

/// Removes what nodes left that were killed long ago. Whatever is no record is not ours to remove.
fn remove_dead(folder: &Path) -> Result<()> {
    let is_old = |file: &Path| {
        let written = file.metadata().and_then(|metadata| metadata.modified());
        written.is_ok_and(|at| {
            SystemTime::now()
                .duration_since(at)
                .is_ok_and(|age| age > LEFT_AFTER)
        })
    };
    for file in names(folder)?.into_iter().map(|name| folder.join(name)) {
        if is_old(&file) && read(&file)?.is_some_and(|text| matches!(record::decode(&text), Ok(None))) {
            fs::remove_file(&file).map_err(failed("remove", &file))?;
        }
    }
    Ok(())
}

/// What `file` says; `None` if it is gone, or nothing that may be read, such as a pipe.
fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    let read = || {
        if !fs::symlink_metadata(file)?.is_file() {
            return Ok(None);
        }
        let mut text = Vec::new();
        // One byte more than there may be tells what is too long from what just fits.
        let most = u64::try_from(record::LENGTH_MAX + 1).unwrap_or(u64::MAX);
        File::open(file)?.take(most).read_to_end(&mut text)?;
        Ok(Some(text))
    };
    read().or_else(|error: io::Error| match error.kind() {
        NotFound => Ok(None),
        _ => Err(failed("read", file)(error)),
    })
}

/// The names in `folder` that are not hidden.
fn names(folder: &Path) -> Result<Vec<OsString>> {
    let listed = || {
        let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
        let shown = names.filter(|name| {
            !name
                .as_ref()
                .is_ok_and(|name| name.as_encoded_bytes().starts_with(b"."))
        });
        shown.take(FILES_MAX + 1).collect::<io::Result<Vec<_>>>()
    };
    let names = listed().map_err(failed("list", folder))?;
    if names.len() > FILES_MAX {
        let message = format!("list {}: there are more than {FILES_MAX} files", folder.display());
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    Ok(names)
}

/// What could not be done with `path`: forbidden, which is told apart, or away.
fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |cause| {
        let kind = match cause.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{what} {}", path.display())).with_source(cause)
    }
}
