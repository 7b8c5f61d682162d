//! One call of a method that is known by its descriptor.

use futures_util::Stream;
use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::{Request, Response, Status, Streaming, client::Grpc};

use super::{Transport, codec::DynamicCodec};

/// Calls a method that answers with one message, and waits for it.
///
/// # Errors
///
/// The status with which the call ends.
pub async fn invoke<T: Transport>(
    channel: T,
    method: &MethodDescriptor,
    request: Request<impl Stream<Item = DynamicMessage> + Send + 'static>,
) -> Result<Response<DynamicMessage>, Status> {
    let mut grpc = ready(channel).await?;
    grpc.client_streaming(request, path(method)?, DynamicCodec::new(method.output()))
        .await
}

/// Calls a method that answers with a stream of messages.
///
/// # Errors
///
/// The status with which the call ends before its first message; later ones come from the stream.
pub async fn invoke_streaming<T: Transport>(
    channel: T,
    method: &MethodDescriptor,
    request: Request<impl Stream<Item = DynamicMessage> + Send + 'static>,
) -> Result<Response<Streaming<DynamicMessage>>, Status> {
    let mut grpc = ready(channel).await?;
    grpc.streaming(request, path(method)?, DynamicCodec::new(method.output()))
        .await
}

async fn ready<T: Transport>(channel: T) -> Result<Grpc<T>, Status> {
    let mut grpc = Grpc::new(channel);
    match grpc.ready().await {
        Ok(()) => Ok(grpc),
        Err(error) => Err(Status::from_error(error.into())),
    }
}

fn path(method: &MethodDescriptor) -> Result<PathAndQuery, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    // The names come from the server, which may have said anything.
    PathAndQuery::try_from(&path)
        .map_err(|error| Status::internal(format!("`{path}` cannot be a path: {error}")))
}
