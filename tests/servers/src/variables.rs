//! Variables as a shell reads them: shown, or in a file that is there as long as what they tell of.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{self, Path, PathBuf},
};

use micro_test_servers::{Error, Result};

/// For whoever started the servers alone: a token may be among the variables.
const MODE: u32 = 0o600;

/// The lines that set the variables, and pass them on to what is started then.
pub(crate) fn exports(variables: &[(&str, String)]) -> String {
    let exports = variables
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    exports.collect()
}

/// A file with such lines. It goes when this is dropped.
pub(crate) struct EnvFile(PathBuf);

impl EnvFile {
    /// Writes a file that is not there yet: somebody's own of that name stays.
    pub(crate) fn write(path: &Path, variables: &[(&str, String)]) -> Result<Self> {
        let failed = |error| Error::new(format!("write the variables into {}: {error}", path.display()));
        let path = &path::absolute(path).map_err(failed)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path)
            .map_err(failed)?;
        // From here on it is ours, and goes also when it cannot be written to.
        let written = Self(path.to_owned());
        file.write_all(exports(variables).as_bytes()).map_err(failed)?;
        Ok(written)
    }

    /// What has a shell read it, in whatever folder.
    pub(crate) fn command(&self) -> String {
        format!(". {}", quoted(&self.0.to_string_lossy()))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("error: remove {}: {error}", self.0.display());
        }
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.:,_+@%-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_any_text_as_one_word() {
        for text in [
            "/tmp/a,b",
            "",
            "two words",
            "it's",
            "$HOME `id` \\ \" * ~\n;",
            "a=b",
        ] {
            let script = format!("printf %s {}", quoted(text));
            let output = Command::new("sh")
                .args(["-c", &script])
                .output()
                .expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
        }
        assert_eq!(quoted("https://127.0.0.1:8501"), "https://127.0.0.1:8501");
    }
}
