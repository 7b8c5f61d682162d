//! `micro new`: a folder with a service that builds, runs and is tested, for its user to put handlers into.

mod checkout;
mod name;
mod template;
mod workspace;

use std::{fs, io, path::Path};

use clap::ValueEnum;
use serde_json::{Value, json};

use self::{
    checkout::Checkout,
    name::Name,
    template::{File, Values},
    workspace::Membership,
};
use crate::{
    arguments::{NewArguments, NewRegistry, RegistryArguments, Template},
    failure::{Failure, Result},
    invocation::{Invocation, quote},
    output::{print, print_json},
};

/// The service that a `client` calls unless another is named: the example.
const CALLEE: &str = "greeter";

/// Where the work goes on.
const HANDLERS: &str = "its handlers are in `src/handler.rs`";

/// What is to be made.
#[derive(Debug)]
struct Order<'a> {
    path: &'a Path,
    template: Template,
    calls: Option<&'a str>,
    registry: NewRegistry,
    /// By default the one that this command was built from.
    checkout: Option<&'a Path>,
}

/// What was made.
#[derive(Debug)]
struct Made {
    service: String,
    /// The service that it calls or exports, if it is one for that.
    callee: String,
    membership: Option<Membership>,
}

/// Makes a service and says what to type next.
pub(crate) fn new(registry: &RegistryArguments, arguments: &NewArguments) -> Result<()> {
    let path = &arguments.path;
    if arguments.template == Template::Registry && registry.registry.is_some() {
        return Err(Failure::usage(
            "`--registry` is for services; a registry of one's own is one",
        ));
    }
    let made = create(&Order {
        path,
        template: arguments.template,
        calls: arguments.calls.as_deref(),
        registry: registry_of(registry)?,
        checkout: arguments.checkout.as_deref(),
    })?;
    if arguments.json {
        return print_json(&to_json(path, arguments, &made));
    }
    print(&told(path, arguments.template, &made))
}

/// What was made, for programs.
fn to_json(path: &Path, arguments: &NewArguments, made: &Made) -> Value {
    let template = arguments.template.to_possible_value();
    let mut shown = json!({
        "service": made.service,
        "folder": path.display().to_string(),
        "template": template.map(|template| template.get_name().to_owned()),
    });
    if matches!(arguments.template, Template::Client | Template::Gateway) {
        shown["calls"] = made.callee.as_str().into();
    }
    if let Some(membership) = &made.membership {
        shown["workspace"] = membership.manifest().display().to_string().into();
    }
    shown
}

/// Where it is, and what to type next.
fn told(path: &Path, template: Template, made: &Made) -> String {
    let shown = path.display().to_string();
    let micro = Invocation::of_this_process();
    let message = r#"{"name":"Ada"}"#;
    let call = |method: &str| micro.line(["call", &made.service, method, message]);
    let (what, run, then) = match template {
        Template::Service | Template::Registry => (HANDLERS, micro.line(["run", &shown]), call("Say.Hello")),
        Template::Client => (HANDLERS, micro.line(["run", &shown]), call("Reception.Welcome")),
        Template::Gateway => (
            "what it exports is in `micro.toml`",
            format!("cd {} && cargo run", quote(&shown)),
            format!("curl -d '{message}' localhost:8080/{}/say/hello", made.callee),
        ),
    };
    let membership = made.membership.as_ref().map_or_else(String::new, |membership| {
        let (manifest, member) = (membership.manifest().display(), membership.member());
        format!(
            "`{manifest}` has `{member}` among its members now. GitHub reads the CI file at the root of a repository alone: \
             move `{shown}/.github` there. "
        )
    });
    if template == Template::Registry {
        return format!(
            "The registry `{service}` is in `{shown}`: it works, with files in a folder, for you to put your own medium into \
             `src/folder.rs`. {membership}Now type, to see it pass the suite that every backend passes:\n\n    cd {folder} && cargo test\n",
            service = made.service,
            folder = quote(&shown),
        );
    }
    format!(
        "The service `{service}` is in `{shown}`; {what}. {membership}Now type:\n\n    {run}\n\n\
         and once it runs, in another terminal:\n\n    {then}\n",
        service = made.service,
    )
}

fn registry_of(arguments: &RegistryArguments) -> Result<NewRegistry> {
    if arguments.registry_address.is_some() {
        return Err(Failure::usage(
            "where the registry of a new service is belongs into its micro.toml, as `addresses` in `[registry]`, or into \
             MICRO_REGISTRY_ADDRESS",
        ));
    }
    let Some(name) = &arguments.registry else {
        return Ok(NewRegistry::default());
    };
    NewRegistry::named(name).ok_or_else(|| {
        Failure::usage(format!(
            "`--registry {name}`: a new service can have mdns, consul or etcd; change its micro.toml for others"
        ))
    })
}

/// Makes a folder and in it a service of the same name.
///
/// Whatever can be known to be wrong is said before anything is written, and nothing that exists is touched, but for the
/// members of the workspace around it.
fn create(order: &Order<'_>) -> Result<Made> {
    let name = Name::of_folder(order.path)?;
    let callee = callee(order, &name)?;
    let checkout = order
        .checkout
        .map_or_else(Checkout::of_this_command, Checkout::at)?;
    let membership = Membership::of(order.path)?;
    let values = Values {
        name: &name,
        callee: &callee,
        checkout: &checkout,
        registry: order.registry,
    };
    let files = template::render(order.template, &values)?;
    make_folder(order.path)?;
    write_all(order.path, &files, membership.as_ref())?;
    Ok(Made {
        service: name.to_string(),
        callee: callee.to_string(),
        membership,
    })
}

/// The service that is called.
fn callee(order: &Order<'_>, name: &Name) -> Result<Name> {
    let calls_another = matches!(order.template, Template::Client | Template::Gateway);
    if !calls_another && order.calls.is_some() {
        return Err(Failure::usage(
            "`--calls` is for a service that calls another: add `--template client` or `--template gateway`",
        ));
    }
    let callee: Name = order.calls.unwrap_or(CALLEE).parse()?;
    if calls_another && callee.crate_name() == name.crate_name() {
        return Err(Failure::usage(format!(
            "`{name}` would call itself; name another service by `--calls`"
        )));
    }
    Ok(callee)
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
fn write_all(folder: &Path, files: &[File], membership: Option<&Membership>) -> Result<()> {
    let written = files.iter().try_for_each(|file| write(folder, file));
    let written = written.and_then(|()| membership.map_or(Ok(()), Membership::write));
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
