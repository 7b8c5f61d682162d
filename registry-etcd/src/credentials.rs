//! Who we are to etcd: a user and a password, the latter never shown.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use micro_registry::{Error, ErrorKind, Result};
use tokio::task;

/// The most bytes of a password's file.
const FILE_LENGTH_MAX: u64 = 16 * 1024;

/// A user, and where the password comes from.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Source,
}

/// Where a password comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Value(String),
    /// Read at every login, so a password that was replaced is found when the old one is refused.
    File(PathBuf),
}

impl Credentials {
    /// These credentials, if there is a user's name and a password.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] when one of them is empty or cannot be read.
    pub(crate) fn checked(self) -> Result<Self> {
        if self.user.is_empty() {
            return Err(refuse("the etcd user has no name"));
        }
        self.password.read().map(|_| self)
    }

    /// The password as it is at present.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] when it cannot be read.
    pub(crate) async fn password(&self) -> Result<String> {
        let source = self.password.clone();
        let read = task::spawn_blocking(move || source.read()).await;
        let message = format!("log in to etcd as `{}`", self.user);
        read.map_err(|_| Error::new(ErrorKind::Unavailable, &message))?
            .map_err(|error| Error::new(ErrorKind::Unauthenticated, &message).with_source(error))
    }
}

impl Source {
    fn read(&self) -> Result<String> {
        match self {
            Self::Value(password) if password.is_empty() => Err(refuse("the etcd password is empty")),
            Self::Value(password) => Ok(password.clone()),
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let what = format!("the file of the etcd password, {},", path.display());
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_LENGTH_MAX).read_to_string(&mut text))
        .map_err(|error| refuse(&format!("read {what}")).with_source(error))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(refuse(&format!("{what} is empty")));
    }
    Ok(password.to_owned())
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Whence, not what.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("value"),
            Self::File(path) => path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: Source) -> Credentials {
        let user = user.to_owned();
        Credentials { user, password }
    }

    #[tokio::test]
    async fn a_file_is_read_anew_each_time_and_its_last_line_end_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "one two \n").unwrap();
        let credentials = credentials("ann", Source::File(path.clone())).checked().unwrap();
        assert_eq!(credentials.password().await.unwrap(), "one two ");
        fs::write(&path, "three").unwrap();
        assert_eq!(credentials.password().await.unwrap(), "three");
        fs::remove_file(&path).unwrap();
        let error = credentials.password().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }

    #[test]
    fn what_is_missing_is_named_and_no_password_shown() {
        for (credentials, expected) in [
            (credentials("", Source::Value("5ec7e7".to_owned())), "no name"),
            (credentials("ann", Source::Value(String::new())), "is empty"),
            (
                credentials("ann", Source::File("no/such/file".into())),
                "no/such/file",
            ),
        ] {
            assert!(!format!("{credentials:?}").contains("5ec7e7"));
            let error = credentials.checked().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("5ec7e7"));
        }
    }
}
