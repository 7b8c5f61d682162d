//! The backend against real servers of etcd's.

mod clusters;
mod following;
mod shim;
mod support;
