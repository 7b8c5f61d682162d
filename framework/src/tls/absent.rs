//! What stands for TLS where the feature is off: nothing can be set up, so nothing is ever spoken over it.

use std::{convert::Infallible, io};

use micro_registry::{Address, ServiceName};

use super::{ClientFiles, ServerFiles};
use crate::{Error, Io, Result};

/// No TLS of a listener.
#[derive(Clone, Debug)]
pub(crate) struct ServerTls(Infallible);

/// A connection over TLS, of which there are none.
pub(crate) type Secured<Stream> = Stream;

/// Who calls by its certificate, which is nobody.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Infallible);

impl ServerTls {
    pub(crate) fn new(_: &ServerFiles) -> Result<Self> {
        Err(absent("server.tls"))
    }

    pub(crate) async fn accept<Stream>(&self, _: Stream) -> io::Result<(Secured<Stream>, Option<Caller>)> {
        match self.0 {}
    }
}

/// No TLS of the client.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls(Infallible);

impl ClientTls {
    pub(crate) fn new(_: &ClientFiles) -> Result<Self> {
        Err(absent("client.tls"))
    }

    pub(crate) fn allows_plaintext(&self) -> bool {
        match self.0 {}
    }

    pub(crate) async fn connect(
        &self,
        _: Box<dyn Io>,
        _: &ServiceName,
        _: &Address,
    ) -> io::Result<Box<dyn Io>> {
        match self.0 {}
    }
}

fn absent(table: &str) -> Error {
    Error::config(format!(
        "{table} is set, and this build has no TLS; it has with the feature `tls` of micro-rs"
    ))
}

#[cfg(test)]
mod tests {
    use crate::Service;

    #[test]
    fn what_is_set_is_refused_with_what_the_build_needs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("micro.toml");
        for table in ["server.tls", "client.tls"] {
            std::fs::write(&path, format!("[{table}]\nkey_file = 'a.key'")).unwrap();
            let service = Service::builder("greeter")
                .environment([("MICRO_CONFIG", path.display().to_string())])
                .registry(std::sync::Arc::new(micro_registry::Memory::default()));
            let refused = service.build().unwrap_err();
            let told = refused.to_string();
            assert!(told.contains(table) && told.contains("feature `tls`"), "{told}");
        }
    }
}
