//! Programs on PATH.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// The program of this name in the folders of PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    env::var_os("PATH").and_then(|path| in_folders(&path, program))
}

fn in_folders(path: &OsStr, program: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|program| is_program(program))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn a_program_is_found_on_path_and_a_folder_or_a_text_of_its_name_is_not() {
        let path = env::join_paths([root(), Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        assert!(in_folders(&path, "env").is_some());
        assert_eq!(in_folders(&path, "xtask"), None);
        assert_eq!(in_folders(&path, "Cargo.toml"), None);
    }
}
