//! Certificates for mutual TLS on loopback: those that fit, and those of a stranger.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use crate::{Error, Result};

/// A folder with `ca.pem`, and `server` and `client` as `.pem` and `.key` signed by it; and with `other-ca.pem` and
/// `other`, a client whom the server does not know. It goes when it is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes all of them anew, for `localhost` and 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::during("make a folder for certificates"))?;
        let (authority, stranger) = (authority(), authority());
        write(folder.path(), "ca.pem", &authority.pem())?;
        write(folder.path(), "other-ca.pem", &stranger.pem())?;
        for (name, authority, purpose) in [
            ("server", &authority, ExtendedKeyUsagePurpose::ServerAuth),
            ("client", &authority, ExtendedKeyUsagePurpose::ClientAuth),
            ("other", &stranger, ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            issue(folder.path(), name, authority, purpose)?;
        }
        Ok(Self { folder })
    }

    /// Where the file `name` is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `names` are set to for a client: who may have signed, its own certificate, and the key.
    pub(crate) fn of_client(
        &self,
        names: [&'static str; 3],
    ) -> impl Iterator<Item = (&'static str, String)> + use<'_> {
        let files = ["ca.pem", "client.pem", "client.key"].map(|file| self.text(file));
        names.into_iter().zip(files)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("ring makes keys");
    CertifiedIssuer::self_signed(params, key).expect("an authority signs itself")
}

/// Writes a certificate, and its key.
fn issue(
    folder: &Path,
    name: &str,
    authority: &CertifiedIssuer<'static, KeyPair>,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<()> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("good names");
    params.extended_key_usages = vec![purpose];
    // etcd takes a common name for the name of a user.
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = params.signed_by(&key, authority).expect("the authority signs");
    write(folder, &format!("{name}.pem"), &certificate.pem())?;
    write(folder, &format!("{name}.key"), &key.serialize_pem())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(name), text).map_err(Error::during(format_args!("write {name}")))
}
