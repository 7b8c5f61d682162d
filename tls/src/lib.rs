//! Certificates of the project: read from files, and again while a program runs, as they are replaced meanwhile.
//!
//! What services, clients and the backends of registries share of TLS. It says whom to trust and who we are; when that is
//! asked for, and over which connections, is theirs.

mod pem;
mod renewed;
mod system;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use self::{
    pem::{authorities, identity},
    renewed::{Identified, Renewed, Trusted, TrustedClients},
    system::system_verifier,
};

/// The one provider of cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
