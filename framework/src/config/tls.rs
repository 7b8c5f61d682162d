//! What was typed of TLS, for listeners and for the client.

use std::path::PathBuf;

use serde::Deserialize;

use super::value::{Count, Flag, List, Parsed};
use crate::tls::{ClientFiles, HANDSHAKES_MAX, ServerFiles};

/// `[server.tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Server {
    certificate_file: Option<Parsed<PathBuf>>,
    key_file: Option<Parsed<PathBuf>>,
    client_ca_file: Option<Parsed<PathBuf>>,
    client_names: Option<List>,
    handshakes_max: Option<Count<usize>>,
}

/// `[client.tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Client {
    ca_file: Option<Parsed<PathBuf>>,
    system_authorities: Option<Flag>,
    certificate_file: Option<Parsed<PathBuf>>,
    key_file: Option<Parsed<PathBuf>>,
    server_name: Option<Parsed<String>>,
    plaintext: Option<Flag>,
}

impl Server {
    /// What is set; `None` for an empty table.
    pub(super) fn settings(self) -> Option<ServerFiles> {
        let is_empty = matches!(
            self,
            Self {
                certificate_file: None,
                key_file: None,
                client_ca_file: None,
                client_names: None,
                handshakes_max: None,
            }
        );
        (!is_empty).then(|| ServerFiles {
            certificate_file: self.certificate_file.map(|path| path.0),
            key_file: self.key_file.map(|path| path.0),
            client_ca_file: self.client_ca_file.map(|path| path.0),
            client_names: self.client_names.map(|names| names.0).unwrap_or_default(),
            handshakes_max: self.handshakes_max.map_or(HANDSHAKES_MAX, |count| count.0),
        })
    }
}

impl Client {
    /// What is set; `None` for an empty table.
    pub(super) fn settings(self) -> Option<ClientFiles> {
        let is_empty = matches!(
            self,
            Self {
                ca_file: None,
                system_authorities: None,
                certificate_file: None,
                key_file: None,
                server_name: None,
                plaintext: None,
            }
        );
        (!is_empty).then(|| ClientFiles {
            ca_file: self.ca_file.map(|path| path.0),
            system_authorities: self.system_authorities.is_some_and(|flag| flag.0),
            certificate_file: self.certificate_file.map(|path| path.0),
            key_file: self.key_file.map(|path| path.0),
            server_name: self.server_name.map(|name| name.0),
            plaintext: self.plaintext.is_some_and(|flag| flag.0),
        })
    }
}
