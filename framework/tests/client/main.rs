//! The client against nodes that do as they are told, over real sockets.

mod deadlines;
mod discovery;
mod picking;
mod streams;
mod support;
mod unsent;
