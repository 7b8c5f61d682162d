//! Authorities, what they sign, and services that use it, over real sockets.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use micro::{
    Client, Service, ServiceBuilder,
    registry::{Memory, Registry},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How long a call goes on that gets nowhere: longer than it takes to be refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // Two of one name would be told apart by their signatures alone, which nobody expects of authorities.
        let name = format!("authority {}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names`, of which some may be URIs, and its key. Its common name has the first of them.
    pub(crate) fn sign(&self, names: &[&str]) -> (String, String) {
        let (uris, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.contains("://"));
        let others: Vec<_> = others.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(others).unwrap();
        let uris = uris
            .into_iter()
            .map(|uri: &str| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        let name = format!("the {} of a test", names[0]);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0);
        (certificate.unwrap().pem(), key.serialize_pem())
    }
}

/// Files, and services that read them; all goes with it.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) authority: Authority,
    registry: Arc<dyn Registry>,
    running: Vec<JoinHandle<micro::Result<()>>>,
}

impl World {
    /// With `ca.pem`, and `node` and `caller` as `.pem` and `.key`.
    pub(crate) fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new(),
            registry: Arc::new(Memory::default()),
            running: Vec::new(),
        };
        world.write("ca.pem", &world.authority.pem());
        world.issue(&world.authority, "node", &["127.0.0.1", "greeter.internal"]);
        world.issue(&world.authority, "caller", &["orders"]);
        world
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // Whole at once, as tools that renew certificates do it.
        let new = self.file("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file(name)).unwrap();
    }

    /// Writes `name.pem` and `name.key`.
    pub(crate) fn issue(&self, authority: &Authority, name: &str, names: &[&str]) {
        let (certificate, key) = authority.sign(names);
        self.write(&format!("{name}.pem"), &certificate);
        self.write(&format!("{name}.key"), &key);
    }

    /// What stands in a file for the service `name`, in which `DIR` is this world's folder.
    pub(crate) fn service(&self, name: &str, config: &str) -> ServiceBuilder {
        let path = self.file(&format!("{}.toml", fastrand::u64(..)));
        let folder: &Path = self.folder.path();
        // A loaded machine may need long to connect.
        let config = format!("[client]\nconnect_timeout = '30s'\n{config}");
        fs::write(&path, config.replace("DIR", &folder.display().to_string())).unwrap();
        Service::builder(name)
            .environment([("MICRO_CONFIG", path.display().to_string())])
            .registry(Arc::clone(&self.registry))
            .drain_delay(Duration::ZERO)
    }

    /// Why a service with this configuration cannot be.
    pub(crate) fn refused(&self, config: &str) -> String {
        let refused = self.service("greeter", config).build().err();
        format!("{:#}", refused.expect("it is refused"))
    }

    /// Starts a service with this configuration; its address, and its client.
    pub(crate) async fn start(&mut self, name: &str, config: &str) -> (SocketAddr, Client) {
        let service = self.service(name, config);
        self.run(service).await
    }

    /// The same with a service that was made here.
    pub(crate) async fn run(&mut self, service: ServiceBuilder) -> (SocketAddr, Client) {
        let (tell, started) = oneshot::channel();
        let service = service.after_start(|cx| async move {
            let address = cx.local_address().ok_or("the service has no address")?;
            tell.send((address, cx.client().clone()))
                .map_err(|_| "nobody wants to know")
        });
        let service = service.build().unwrap();
        self.running.push(tokio::spawn(service.run()));
        timeout(LONG, started).await.unwrap().unwrap()
    }

    /// The client of a service with this configuration.
    pub(crate) async fn client(&mut self, config: &str) -> Client {
        self.start("orders", config).await.1
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for running in &self.running {
            running.abort();
        }
    }
}

/// Asks a node of `greeter` for its health.
pub(crate) async fn call(client: &Client) -> Result<(), Status> {
    call_within(client, LONG).await
}

async fn call_within(client: &Client, patience: Duration) -> Result<(), Status> {
    let mut health = HealthClient::new(client.channel("greeter"));
    let service = "greeter".to_owned();
    let mut request = Request::new(HealthCheckRequest { service });
    request.set_timeout(patience);
    health.check(request).await.map(drop)
}

/// Why a call does not get there.
pub(crate) async fn failed(client: &Client) -> String {
    let status = call_within(client, PATIENCE).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    status.message().to_owned()
}

/// A connection of a caller without a certificate, who offers `protocol`.
pub(crate) async fn connect(
    authority: &Authority,
    address: SocketAddr,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let io = TcpStream::connect(address).await.unwrap();
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(Arc::new(config)).connect(name, io).await
}
