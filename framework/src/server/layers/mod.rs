//! The layers between a connection and the handlers; `stack` puts them in order.

pub(super) mod admit;
pub(super) mod call;
pub(super) mod catch_panic;
pub(super) mod details;
mod framing;
pub(super) mod go_micro;
mod go_micro_error;
pub(super) mod handlers;
mod late;
pub(super) mod measure;
pub(super) mod messages;
pub(super) mod probe;
pub(super) mod refuse;
pub(super) mod route;
mod timeout;
