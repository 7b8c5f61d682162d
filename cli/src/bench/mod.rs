//! `micro bench`: calls a method at a steady rate, whatever the answers do, and shows how long they took.

mod load;
mod report;

use micro::CallOptions;
use micro_dynamic::from_json;

use self::{
    load::{Load, Plan},
    report::Report,
};
use crate::{
    arguments::BenchArguments,
    failure::{Failure, Result, chain},
    lookup::Lookup,
    metadata::to_metadata,
    output::{Form, print, print_json},
};

/// Calls until the time is over or Ctrl-C, and reports; fails if a call did.
pub(crate) async fn bench(lookup: &Lookup, arguments: &BenchArguments) -> Result<()> {
    let service = &arguments.service;
    lookup.nodes(service).await?;
    let catalog = lookup.catalog(service, CallOptions::new(), None).await?;
    let method = catalog
        .method(&arguments.method)
        .map_err(|error| Failure::usage(format!("`{service}` has {error}")))?;
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err(Failure::usage(format!(
            "`{}` is a stream; measured are methods that take one message and answer with one",
            method.full_name()
        )));
    }
    let message = from_json(&method.input(), &arguments.message)
        .map_err(|error| Failure::usage(format!("the message: {error}")))?;
    let channel = lookup
        .channel(service)
        .options(CallOptions::new().timeout(arguments.timeout))
        .descriptors(&catalog.descriptor_set())
        .map_err(|error| Failure::new(chain(&error)))?;
    let plan = Plan {
        method,
        message,
        metadata: to_metadata(&arguments.headers),
        rate: arguments.rate,
        duration: arguments.duration,
    };
    Form::of(arguments.json).say(&format!(
        "calling {} of `{service}` {} times a second for {}",
        arguments.method,
        plan.rate,
        humantime::format_duration(plan.duration)
    ));
    let report = Report::of(Load::run(channel, plan).await);
    if arguments.json {
        print_json(&report.to_json())?;
    } else {
        report.lines().iter().try_for_each(|line| print(line))?;
    }
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::new(format!(
            "{failed} of {} calls failed",
            report.calls()
        ))),
    }
}
