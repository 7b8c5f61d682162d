//! The file with the keys, read again when it changes.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    task::spawn_blocking,
    time::{Duration, Instant},
};

use super::Keys;

/// How often it is looked whether the file has changed, while there are requests.
const INTERVAL: Duration = Duration::from_secs(1);
/// The largest file in bytes.
const SIZE_MAX: u64 = 1024 * 1024;

/// The keys of a file.
pub(crate) struct KeyFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<Keys>>,
    bytes: Vec<u8>,
    looked: Option<Instant>,
    /// What was wrong last time, so that it is told once.
    told: Option<String>,
}

impl KeyFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: Mutex::default(),
        }
    }

    /// The keys as of a second ago at most. A file that cannot be used takes no keys away that could be.
    ///
    /// # Errors
    ///
    /// Why there never were any.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, String> {
        {
            let mut state = self.state.lock().expect("no panic while it is locked");
            let is_fresh = state.looked.is_some_and(|looked| looked.elapsed() < INTERVAL);
            if let Some(keys) = state.keys.as_ref().filter(|_| is_fresh) {
                return Ok(Arc::clone(keys));
            }
            // Others go on with the keys there are.
            state.looked = Some(Instant::now());
        }
        let path = self.path.clone();
        let read = spawn_blocking(move || read(&path)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        let mut state = self.state.lock().expect("no panic while it is locked");
        match read {
            Ok((keys, bytes)) => {
                if state.bytes != bytes {
                    tracing::info!(file = %self.path.display(), keys = keys.len(), "keys of tokens were read");
                    state.bytes = bytes;
                    state.keys = Some(keys);
                }
                state.told = None;
            }
            Err(reason) => {
                if state.keys.is_some() && state.told.as_ref() != Some(&reason) {
                    tracing::error!(
                        reason,
                        "keys of tokens could not be read again; those there were stay"
                    );
                    state.told = Some(reason.clone());
                }
                return state.keys.clone().ok_or(reason);
            }
        }
        state.keys.clone().ok_or_else(|| "there are no keys".to_owned())
    }
}

/// Reads the keys, and the bytes they were read from.
pub(super) fn read(path: &Path) -> Result<(Arc<Keys>, Vec<u8>), String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("open {shown}: {error}"))?;
    let reading = file.take(SIZE_MAX + 1).read_to_end(&mut bytes);
    reading.map_err(|error| format!("read {shown}: {error}"))?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(format!("{shown} is larger than {SIZE_MAX} bytes"));
    }
    let keys = Keys::parse(&bytes).map_err(|reason| format!("{shown}: {reason}"))?;
    Ok((Arc::new(keys), bytes))
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
