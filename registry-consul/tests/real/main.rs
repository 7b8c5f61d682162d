//! The backend against real agents of Consul's.

mod behaviour;
mod cluster;
mod conformance;
mod keeper;
mod large;
mod network;
mod rights;
mod rotation;
mod tls;
