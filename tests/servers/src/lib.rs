//! Real registries on loopback, for tests and by hand: Consul and etcd, alone or as clusters of three.
//!
//! What is started ends when it is dropped, also by a panic. Every wait has a limit.
//!
//! ```no_run
//! # async fn example() -> Result<(), micro_test_servers::Error> {
//! use micro_test_servers::Consul;
//!
//! let consul = Consul::builder().servers(3).start().await?;
//! let leader = consul.leader().await.expect("a cluster that has started has a leader");
//! consul.nodes()[leader].kill();
//! consul.until_ready().await?;
//! # Ok(())
//! # }
//! ```

mod binaries;
mod certificates;
mod cluster;
mod consul;
mod elsewhere;
mod error;
mod etcd;
mod largest;
mod memory;
mod node;
mod poll;
mod ports;
mod program;
mod shim;
mod socket;

pub use self::{
    binaries::binary,
    certificates::Certificates,
    consul::{Consul, ConsulBuilder},
    elsewhere::ask_elsewhere,
    error::{Error, Result},
    etcd::{Etcd, EtcdBuilder},
    largest::largest,
    memory::peak_growth,
    node::Node,
    shim::Shim,
};
