//! The layers between a connection and the handlers; `stack` puts them in order.

pub(super) mod call;
pub(super) mod catch_panic;
pub(super) mod handlers;
pub(super) mod message_size;
pub(super) mod probe;
pub(super) mod refuse;
mod timeout;
