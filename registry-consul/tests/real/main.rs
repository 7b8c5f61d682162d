//! The backend against real agents of Consul's.

mod behaviour;
mod conformance;
mod rights;
mod tls;
