//! gRPC without generated code: asks a server what it offers, and calls it with JSON. Knows nothing of the command line.

mod catalog;
mod codec;
mod example;
#[cfg(test)]
mod fake;
mod invoke;
mod json;
mod reflection;
#[cfg(test)]
mod tests;
mod unknown;

use bytes::Bytes;
use tonic::{body::Body, client::GrpcService};

pub(crate) use self::{
    catalog::Catalog,
    example::example,
    invoke::{invoke, invoke_streaming},
    json::{from_json, to_json},
    reflection::reflect,
};

/// What generated stubs ask of a channel, in one word.
pub(crate) trait Transport:
    GrpcService<
        Body,
        ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + 'static,
    > + Clone
{
}

impl<T> Transport for T where
    T: GrpcService<
            Body,
            ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>>
                              + Send
                              + 'static,
        > + Clone
{
}
