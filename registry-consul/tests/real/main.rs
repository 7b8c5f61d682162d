//! The backend against real agents of Consul's.

mod behaviour;
mod cluster;
mod conformance;
mod keeper;
mod large;
mod limits;
mod many;
mod network;
mod rights;
mod rotation;
mod tls;
