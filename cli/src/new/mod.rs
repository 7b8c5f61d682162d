//! `micro new`: a folder with a service that builds, runs and is tested, for its user to put handlers into.

mod checkout;
mod name;
mod surroundings;
mod template;

use std::{fs, io, path::Path};

use self::{checkout::Checkout, name::Name, template::File};
use crate::{
    arguments::NewArguments,
    failure::{Failure, Result},
    invocation::Invocation,
    output::print,
};

/// Makes a service and says what to type next.
pub(crate) fn new(arguments: &NewArguments) -> Result<()> {
    let path = &arguments.path;
    let service = create(path, arguments.checkout.as_deref())?;
    let shown = path.display().to_string();
    let micro = Invocation::of_this_process();
    print(&format!(
        "The service `{service}` is in `{shown}`; its handlers are in `src/handler.rs`. Now type:\n\n    {}\n\n\
         and once it runs, in another terminal:\n\n    {}\n",
        micro.line(["run", &shown]),
        micro.line(["call", &service, "Say.Hello", r#"{"name":"Ada"}"#]),
    ))
}

/// Makes the folder `path` and in it a service of the same name, which it answers with. The service is built with the
/// framework in `checkout`, by default the one that this command was built from.
///
/// Whatever can be known to be wrong is said before anything is written, and nothing that exists is touched.
fn create(path: &Path, checkout: Option<&Path>) -> Result<String> {
    let name = Name::of_folder(path)?;
    let checkout = checkout.map_or_else(Checkout::of_this_command, Checkout::at)?;
    let is_within_workspace = surroundings::is_within_foreign_workspace(path)?;
    let files = template::render(&name, &checkout, is_within_workspace)?;
    make_folder(path)?;
    write_all(path, &files)?;
    Ok(name.to_string())
}

fn make_folder(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| cannot_make(parent, &error))?;
    }
    // Fails for whatever is there already, be it an empty folder or a link that leads nowhere.
    fs::create_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "`{}` exists already and was left as it is; give a folder that does not",
            path.display()
        )),
        _ => cannot_make(path, &error),
    })
}

/// Writes all files or none.
fn write_all(folder: &Path, files: &[File]) -> Result<()> {
    let written = files.iter().try_for_each(|file| write(folder, file));
    written.map_err(|failure| match fs::remove_dir_all(folder) {
        Ok(()) => failure,
        Err(error) => Failure::new(format!(
            "{failure}; and what is there of `{}` cannot be removed: {error}",
            folder.display()
        )),
    })
}

fn write(folder: &Path, file: &File) -> Result<()> {
    let path = folder.join(&file.path);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|error| cannot_make(parent, &error))?;
    fs::write(&path, &file.text).map_err(|error| cannot_make(&path, &error))
}

fn cannot_make(path: &Path, error: &io::Error) -> Failure {
    Failure::because(format_args!("cannot make `{}`", path.display()), error)
}

#[cfg(test)]
mod tests;
