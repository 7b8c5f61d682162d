//! `micro services`: the names of all services, one a line.

use serde_json::Value;

use crate::{
    arguments::ServicesArguments,
    failure::Result,
    lookup::Lookup,
    output::{Form, print, print_json},
    progress::waiting,
};

/// Lists the services.
pub(crate) async fn services(lookup: &Lookup, arguments: &ServicesArguments) -> Result<()> {
    let words = || format!("waiting for {}", lookup.place());
    let services = waiting(words, lookup.services()).await?;
    if services.is_empty() {
        Form::of(arguments.json).say(&format!("no services in {}", lookup.place()));
    }
    if arguments.json {
        return print_json(&Value::from(services));
    }
    services.iter().try_for_each(|service| print(service))
}
