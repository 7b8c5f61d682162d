//! The backend against real servers of etcd's.

mod announcing;
mod clusters;
mod conformance;
mod failover;
mod following;
mod many;
mod support;
mod tls;
mod users;
