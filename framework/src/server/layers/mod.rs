//! The layers between a connection and the handlers; `stack` puts them in order.

pub(super) mod call;
pub(super) mod catch_panic;
mod grpc_timeout;
pub(super) mod handlers;
pub(super) mod message_size;
pub(super) mod probe;
pub(super) mod refuse;

pub(super) use grpc_timeout::grpc_timeout;
