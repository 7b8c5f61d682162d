//! The token that requests carry, never shown.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Result};
use reqwest::header::HeaderValue;
use tokio::{task, time::Instant};

/// The most bytes of a token's file: a UUID has 36, a login's JSON web token a few thousand.
const FILE_LENGTH_MAX: u64 = 16 * 1024;
/// How long what was read from a file is sent before the file is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where the token comes from.
#[derive(Clone, Default)]
pub(crate) enum Source {
    #[default]
    None,
    Value(String),
    /// Read again now and then, and when Consul refuses what was in it.
    File(PathBuf),
}

/// The token as it is at present.
pub(crate) struct Token {
    source: Source,
    held: Mutex<Held>,
}

/// What was read, and when.
struct Held {
    present: Option<HeaderValue>,
    /// What an answer to an older request may have in it.
    before: Option<HeaderValue>,
    /// How often it was replaced.
    replaced: u64,
    looked: Instant,
}

impl Token {
    /// Reads the token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] when it cannot be read, or sent.
    pub(crate) fn open(source: Source) -> Result<Self> {
        let present = match &source {
            Source::None => None,
            Source::Value(text) => Some(header(text, "the Consul token")?),
            Source::File(path) => Some(read(path)?),
        };
        Ok(Self {
            source,
            held: Mutex::new(Held {
                present,
                before: None,
                replaced: 0,
                looked: Instant::now(),
            }),
        })
    }

    /// What requests carry: what is in the file by now, if there is one and it can be read.
    pub(crate) async fn header(&self) -> Option<HeaderValue> {
        if self.held().is_due() {
            self.look().await;
        }
        self.held().present.clone()
    }

    /// Reads the file again after `refused` was refused; answers whether there is another one now.
    pub(crate) async fn changed_from(&self, refused: Option<&HeaderValue>) -> bool {
        self.look().await && self.held().present.as_ref() != refused
    }

    /// Tells one token from the next, without telling the token.
    pub(crate) fn revision(&self) -> u64 {
        self.held().replaced
    }

    /// `text`, which an agent or a proxy answered, without the token.
    pub(crate) fn hidden_in(&self, text: String) -> String {
        let held = self.held();
        let tokens = [&held.present, &held.before].into_iter().flatten();
        tokens
            .filter_map(|token| token.to_str().ok())
            .fold(text, |text, token| text.replace(token, "…"))
    }

    /// Reads the file, if there is one; answers whether it has a token. A file that is being replaced at this moment is
    /// read the next time, and until then what was in it holds.
    async fn look(&self) -> bool {
        let Source::File(path) = self.source.clone() else {
            return false;
        };
        let read = task::spawn_blocking(move || read(&path)).await;
        let mut held = self.held();
        held.looked = Instant::now();
        let Ok(Ok(token)) = read else { return false };
        if held.present.as_ref() != Some(&token) {
            held.before = held.present.replace(token);
            held.replaced += 1;
        }
        true
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while the token is locked")
    }
}

impl Held {
    /// Whether to look at the file again; only one of many who ask at the same time is told so.
    fn is_due(&mut self) -> bool {
        let is_due = self.looked.elapsed() >= LOOK_INTERVAL;
        if is_due {
            self.looked = Instant::now();
        }
        is_due
    }
}

fn read(path: &Path) -> Result<HeaderValue> {
    let what = format!("the file of the Consul token, {},", path.display());
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_LENGTH_MAX).read_to_string(&mut text))
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, format!("read {what}")).with_source(error))?;
    header(&text, &what)
}

fn header(text: &str, what: &str) -> Result<HeaderValue> {
    let text = text.trim();
    // Without a cause: it would be the token itself.
    let mut token = HeaderValue::from_str(text)
        .ok()
        .filter(|_| !text.is_empty())
        .ok_or_else(|| {
            let message = format!("{what} is empty, or has characters that no header can have");
            Error::new(ErrorKind::InvalidArgument, message)
        })?;
    token.set_sensitive(true);
    Ok(token)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

/// Whence, not what.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Value(_) => f.write_str("value"),
            Self::File(path) => path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    const SECRET: &str = "5ec7e700-cafe";

    #[tokio::test]
    async fn a_file_is_read_again_and_tells_whether_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, format!("{SECRET}\n")).unwrap();
        let token = Token::open(Source::File(path.clone())).unwrap();
        let first = token.header().await.unwrap();
        assert_eq!(first, SECRET);
        assert!(!token.changed_from(Some(&first)).await);
        fs::write(&path, "another").unwrap();
        assert!(token.changed_from(Some(&first)).await);
        assert_eq!(token.header().await.unwrap(), "another");
        assert_eq!(token.revision(), 1);
        // Somebody else has read it meanwhile: it is another than the refused one all the same.
        assert!(token.changed_from(Some(&first)).await);
        fs::remove_file(&path).unwrap();
        assert!(!token.changed_from(Some(&first)).await);
        assert_eq!(token.header().await.unwrap(), "another");
    }

    #[tokio::test]
    async fn a_value_does_not_change() {
        let token = Token::open(Source::Value(SECRET.to_owned())).unwrap();
        assert!(!token.changed_from(token.header().await.as_ref()).await);
        assert_eq!(Token::open(Source::None).unwrap().header().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changed_is_read_before_anybody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, SECRET).unwrap();
        let token = Token::open(Source::File(path.clone())).unwrap();
        fs::write(&path, "another").unwrap();
        assert_eq!(token.header().await.unwrap(), SECRET);
        time::advance(LOOK_INTERVAL).await;
        assert_eq!(token.header().await.unwrap(), "another");
        assert_eq!(token.hidden_in(format!("{SECRET} another")), "… …");
        for text in ["", "a\nb"] {
            fs::write(&path, text).unwrap();
            time::advance(LOOK_INTERVAL).await;
            assert_eq!(token.header().await.unwrap(), "another");
        }
    }

    #[tokio::test]
    async fn a_token_is_never_shown() {
        let token = Token::open(Source::Value(SECRET.to_owned())).unwrap();
        assert!(!format!("{token:?} {:?} {:?}", token.header().await, token.source).contains(SECRET));
        assert_eq!(
            token.hidden_in(format!("no right for {SECRET}")),
            "no right for …"
        );
        let error = Token::open(Source::Value(format!("{SECRET}\n{SECRET}"))).unwrap_err();
        assert!(!format!("{error:?}").contains(SECRET));
        assert!(Token::open(Source::Value(" ".to_owned())).is_err());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Token::open(Source::File("no/such/token".into())).unwrap_err();
        assert!(error.to_string().contains("no/such/token"), "{error}");
    }
}
