//! The backend against real agents of Consul's.

mod agent;
mod behaviour;
mod conformance;
mod rights;
mod tls;
