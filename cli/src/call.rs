//! `micro call`: one call by reflection, with JSON in and out; services of Go Micro's, which have none, take the JSON itself.

use futures_util::Stream;
use micro::{CallOptions, Channel, Peer};
use micro_dynamic::{invoke, invoke_streaming, to_json};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::{Code, Request};

use crate::{
    arguments::CallArguments,
    failure::{Failure, Result, chain},
    foreign,
    input::Input,
    lookup::Lookup,
    metadata::to_metadata,
    output::print,
};

/// Calls the method and prints each message of the answer on a line.
pub(crate) async fn call(lookup: &Lookup, arguments: &CallArguments) -> Result<()> {
    let snapshot = lookup.nodes(&arguments.service).await?;
    let options = CallOptions::new();
    let catalog = lookup
        .catalog(&arguments.service, options.clone(), arguments.timeout)
        .await;
    let catalog = match catalog {
        Err(failure) if failure.code() == Some(Code::Unimplemented) => {
            let methods = foreign::methods(&snapshot);
            if methods.is_empty() {
                return Err(failure);
            }
            return foreign::call(lookup, arguments, &methods).await;
        }
        catalog => catalog?,
    };
    let method = catalog
        .method(&arguments.method)
        .map_err(|error| Failure::usage(format!("`{}` has {error}", arguments.service)))?;
    let (messages, mistake) = Input::of(&arguments.message, &method).await?.into_parts();

    let options = match arguments.timeout {
        Some(timeout) => options.timeout(timeout),
        None => options,
    };
    let mut request = Request::new(messages);
    *request.metadata_mut() = to_metadata(&arguments.headers);
    request.extensions_mut().insert(options);
    // The channel knows by the descriptors whether the default deadline fits.
    let channel = lookup
        .channel(&arguments.service)
        .descriptors(&catalog.descriptor_set())
        .map_err(|error| Failure::new(chain(&error)))?;

    tokio::select! {
        biased;
        failure = mistake => Err(failure),
        answered = answer(channel, &method, request) => answered,
    }
}

async fn answer(
    channel: Channel,
    method: &MethodDescriptor,
    request: Request<impl Stream<Item = DynamicMessage> + Send + 'static>,
) -> Result<()> {
    if !method.is_server_streaming() {
        return show(invoke(channel, method, request).await?.get_ref());
    }
    let response = invoke_streaming(channel, method, request).await?;
    let node = response
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.node_id().to_owned());
    let mut replies = response.into_inner();
    loop {
        match replies.message().await {
            Ok(Some(reply)) => show(&reply)?,
            Ok(None) => return Ok(()),
            // The end of a stream does not name its node: the beginning did.
            Err(status) => return Err(Failure::from(status).of_node(node)),
        }
    }
}

fn show(message: &DynamicMessage) -> Result<()> {
    let json = to_json(message).map_err(|error| Failure::because("write the answer as JSON", &error))?;
    print(&json)
}
