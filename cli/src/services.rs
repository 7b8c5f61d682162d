//! `micro services`: the names of all services, one a line.

use serde_json::Value;

use crate::{
    arguments::ServicesArguments,
    failure::Result,
    lookup::Lookup,
    output::{print, print_json, say},
    progress::waiting,
};

/// Lists the services.
pub(crate) async fn services(lookup: &Lookup, arguments: &ServicesArguments) -> Result<()> {
    let words = || format!("waiting for {}", lookup.place());
    let services = waiting(words, lookup.services()).await?;
    if services.is_empty() {
        say(&format!("no services in {}", lookup.place()));
    }
    if arguments.json {
        return print_json(&Value::from(services));
    }
    services.iter().try_for_each(|service| print(service))
}
