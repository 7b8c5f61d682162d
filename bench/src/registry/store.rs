//! The registries' contents: copies of a record as our backend writes it, and changes to them.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    sync::Arc,
    time::Duration,
};

use etcd_client::{Txn, TxnOp};
use flate2::{Compression, write::ZlibEncoder};
use micro::registry::{Method, Node, Registry};
use micro_test_servers::{Consul, Etcd};
use reqwest::Method as Verb;
use serde_json::{Value, json};

use super::{Backend, FIRST, PREFIX, ours};
use crate::Result;

/// How many changes fit into one transaction: etcd takes 128 by default, Consul 64.
pub(super) const BATCH: usize = 50;
/// Ports that only changes bring that end what is left of others.
const RELEASE_PORT: u16 = 10_000;
/// How long an agent may take to close connections that are of no use any more.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);
/// The port of a record that has not changed.
const PORT: u16 = 20000;
/// The service of the record that is copied.
const TEMPLATE: &str = "bench-template";
/// The boot of the record that is copied; each node has its own.
const BOOT: &str = "0123456789abcdef";

/// A registry's server, to be filled and changed.
pub(super) struct Store {
    server: Server,
    /// The record that is copied: what Consul's agent takes, or what etcd has under a key.
    template: String,
    /// How often what others left was ended.
    releases: u16,
}

enum Server {
    Consul(Consul),
    Etcd(Etcd, Box<etcd_client::Client>),
}

/// One record to be written.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) service: String,
    pub(super) node: usize,
    pub(super) port: u16,
}

impl Change {
    /// The record as it is at first.
    pub(super) fn first(service: &str, node: usize) -> Self {
        Self {
            service: service.to_owned(),
            node,
            port: PORT,
        }
    }
}

impl Store {
    /// Starts a server, and lets our backend write one record for us.
    pub(super) async fn start(backend: Backend) -> Result<Self> {
        let (server, address) = match backend {
            Backend::Consul => {
                let consul = Consul::builder().start().await?;
                let address = consul.address();
                (Server::Consul(consul), address)
            }
            Backend::Etcd => {
                let etcd = Etcd::builder().start().await?;
                let address = etcd.address();
                let client = etcd_client::Client::connect([address.as_str()], None).await?;
                (Server::Etcd(etcd, Box::new(client)), address)
            }
        };
        let registry = ours::open(backend, &address)?;
        let mut store = Self {
            server,
            template: String::new(),
            releases: 0,
        };
        store.template = store.template(registry).await?;
        Ok(store)
    }

    pub(super) fn address(&self) -> String {
        match &self.server {
            Server::Consul(consul) => consul.address(),
            Server::Etcd(etcd, _) => etcd.address(),
        }
    }

    async fn template(&mut self, registry: Arc<dyn Registry>) -> Result<String> {
        let methods = ["Hello", "Greetings", "Bye"].map(|name| Method::new("greeter.Say", name));
        let node = Node::builder(TEMPLATE.parse()?, FIRST, format!("127.0.0.1:{PORT}").parse()?)
            .version("1.2.3")
            .metadata("zone", "a")
            .boot(BOOT)
            .methods(methods.to_vec())
            .build()?;
        registry.register(&node, Duration::from_secs(60)).await?;
        let template = match &mut self.server {
            Server::Consul(consul) => {
                let path = format!("health/service/{TEMPLATE}");
                let (_, body) = consul.request(Verb::GET, &path, "").await?;
                let entries: Value = serde_json::from_str(&body)?;
                let service = &entries[0]["Service"];
                let kept = ["ID", "Service", "Tags", "Address", "Port", "Meta"];
                let kept = kept.map(|field| (field.to_owned(), service[field].clone()));
                Value::Object(kept.into_iter().collect()).to_string()
            }
            Server::Etcd(_, client) => {
                let key = format!("{PREFIX}{TEMPLATE}/{FIRST}");
                let found = client.get(key.as_str(), None).await?;
                let pair = found.kvs().first().ok_or_else(|| format!("etcd has no {key}"))?;
                pair.value_str()?.to_owned()
            }
        };
        registry.deregister(&node).await?;
        if matches!(self.server, Server::Consul(_)) && !template.contains(&boot_tag(BOOT)?) {
            return Err("the record that is copied has no tag of its boot".into());
        }
        Ok(template)
    }

    fn record(&self, change: &Change) -> Result<String> {
        let boot = boot(&change.service, change.node);
        let template = match &self.server {
            Server::Consul(_) => self.template.replace(&boot_tag(BOOT)?, &boot_tag(&boot)?),
            Server::Etcd(..) => self.template.clone(),
        };
        Ok(template
            .replace(BOOT, &boot)
            .replace(TEMPLATE, &change.service)
            .replace(FIRST, &node(change.node))
            .replace(&PORT.to_string(), &change.port.to_string()))
    }

    /// Writes records, at most [`BATCH`], at once.
    pub(super) async fn write(&mut self, changes: &[Change]) -> Result<()> {
        let records = changes.iter().map(|change| self.record(change));
        let records: Vec<_> = records.collect::<Result<_>>()?;
        match &mut self.server {
            Server::Consul(consul) => {
                let operations = records.iter().map(|record| {
                    let service: Value = serde_json::from_str(record)?;
                    Ok(json!({"Service": {"Verb": "set", "Node": "bench", "Service": service}}))
                });
                let body = json!(operations.collect::<Result<Vec<_>>>()?).to_string();
                let (status, answer) = consul.request(Verb::PUT, "txn", &body).await?;
                if !status.is_success() {
                    return Err(format!("Consul answers {status} to a transaction: {answer}").into());
                }
            }
            Server::Etcd(_, client) => {
                let key = |change: &Change| format!("{PREFIX}{}/{}", change.service, node(change.node));
                let puts = changes.iter().zip(records);
                let puts = puts.map(|(change, record)| TxnOp::put(key(change), record, None));
                client.txn(Txn::new().and_then(puts.collect::<Vec<_>>())).await?;
            }
        }
        Ok(())
    }

    /// Writes the records of so many nodes of each service.
    pub(super) async fn fill(&mut self, services: &[String], nodes: usize) -> Result<()> {
        if let Server::Consul(consul) = &self.server {
            let agent = json!({"Node": "bench", "Address": "127.0.0.1"}).to_string();
            consul.request(Verb::PUT, "catalog/register", &agent).await?;
        }
        let all = services
            .iter()
            .flat_map(|service| (0..nodes).map(|node| Change::first(service, node)));
        self.write_all(&all.collect::<Vec<_>>()).await
    }

    /// Ends what a server still has of those who have gone: an agent of Consul's counts the connection of a blocking query
    /// until that ends, which is when its service changes.
    pub(super) async fn release(&mut self, services: &[String]) -> Result<()> {
        if matches!(self.server, Server::Etcd(..)) {
            return Ok(());
        }
        self.releases += 1;
        let port = RELEASE_PORT + self.releases;
        let changes = services.iter().map(|service| Change {
            port,
            ..Change::first(service, 0)
        });
        self.write_all(&changes.collect::<Vec<_>>()).await?;
        tokio::time::sleep(RELEASED_WITHIN).await;
        Ok(())
    }

    async fn write_all(&mut self, changes: &[Change]) -> Result<()> {
        for batch in changes.chunks(BATCH) {
            self.write(batch).await?;
        }
        Ok(())
    }
}

/// The boot of the node at this place, random to whoever looks at it.
fn boot(service: &str, node: usize) -> String {
    let mut hasher = DefaultHasher::new();
    (service, node).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// How our backend for Consul writes a boot into the tags.
fn boot_tag(boot: &str) -> Result<String> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    write!(encoder, "{}", json!({"micro-boot": boot}))?;
    let mut tag = "t-".to_owned();
    for byte in encoder.finish()? {
        write!(tag, "{byte:02x}")?;
    }
    Ok(tag)
}

/// The id of the node at this place; that of the first is [`FIRST`].
fn node(at: usize) -> String {
    format!("node-{at:05}")
}
