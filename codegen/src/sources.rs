//! The proto files of one build: where imports are looked for, and what the files say.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use protox::{
    Compiler,
    prost_reflect::{DescriptorPool, prost_types::FileDescriptorProto},
};

use crate::{Error, ErrorKind, diagnostic};

/// The folder that proto files live in by custom: imports are relative to it.
const CUSTOMARY_FOLDER: &str = "proto";

/// Parsed and checked proto files, imports included.
pub(crate) struct Sources {
    /// All files with everything they say, options of other people's making included.
    pub(crate) pool: DescriptorPool,
    /// The same files as the code generator wants them, a file after what it imports.
    pub(crate) files: Vec<FileDescriptorProto>,
    /// Where they were read from; what comes with the compiler has no path.
    pub(crate) paths: Vec<PathBuf>,
}

impl Sources {
    /// Reads `files` and what they import from `includes` and the customary folders.
    pub(crate) fn read(files: &[PathBuf], includes: &[PathBuf]) -> Result<Self, Error> {
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            return Err(Error::new(
                ErrorKind::Proto,
                format!("{}: there is no such file", missing.display()),
            ));
        }
        let includes = import_folders(files, includes);
        let compiled = Compiler::new(&includes).and_then(|mut compiler| {
            compiler
                .include_imports(true)
                .include_source_info(true)
                .open_files(files)?;
            Ok(compiler)
        });
        let compiler = compiled.map_err(|error| diagnostic::explain(&error, &includes))?;
        Ok(Self {
            pool: compiler.descriptor_pool(),
            files: compiler.file_descriptor_set().file,
            paths: compiler
                .files()
                .filter_map(|file| file.path().map(Path::to_owned))
                .collect(),
        })
    }
}

/// The named folders first; then, for each file outside all of them, the folder it belongs to by custom.
fn import_folders(files: &[PathBuf], named: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = named.to_vec();
    for file in files {
        if !named.iter().any(|folder| file.starts_with(folder)) {
            let folder = customary_folder(file);
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

fn customary_folder(file: &Path) -> PathBuf {
    let own = file.parent().unwrap_or(Path::new(""));
    own.ancestors()
        .find(|folder| folder.file_name() == Some(OsStr::new(CUSTOMARY_FOLDER)))
        .unwrap_or(own)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(files: &[&str], named: &[&str]) -> Vec<PathBuf> {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        import_folders(&paths(files), &paths(named))
    }

    fn paths(expected: &[&str]) -> Vec<PathBuf> {
        expected.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn imports_are_relative_to_the_nearest_folder_named_proto() {
        let files = [
            "proto/shop/orders/v1/orders.proto",
            "proto/greeter.proto",
            "../proto/x/proto/a.proto",
        ];
        assert_eq!(folders(&files, &[]), paths(&["proto", "../proto/x/proto"]));
    }

    #[test]
    fn imports_are_relative_to_the_files_own_folder_where_none_is_named_proto() {
        assert_eq!(folders(&["api/a.proto", "b.proto"], &[]), paths(&["api", ""]));
    }

    #[test]
    fn a_named_folder_comes_first_and_stands_for_the_files_within_it() {
        assert_eq!(
            folders(&["api/shop/a.proto", "proto/b.proto"], &["api"]),
            paths(&["api", "proto"])
        );
    }
}
