//! etcd: one member or three, spoken to through its JSON gateway.

mod builder;

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub use self::builder::EtcdBuilder;
use crate::{Certificates, Error, Node, Result, cluster::Cluster, poll::Wait};

/// Who may do everything, where there are users.
const ROOT: (&str, &str) = ("root", "5ec7e7-of-root");

/// Members of etcd's that run. They are killed when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    cluster: Cluster,
    settings: EtcdBuilder,
    certificates: Option<Certificates>,
}

impl Etcd {
    /// One member without users and without TLS, unless more is said.
    #[must_use]
    pub fn builder() -> EtcdBuilder {
        EtcdBuilder::new()
    }

    /// The members.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.cluster.nodes
    }

    /// Where the first member listens without TLS.
    #[must_use]
    pub fn address(&self) -> String {
        self.nodes()[0].address()
    }

    /// Where the first member listens for TLS.
    #[must_use]
    pub fn tls_address(&self) -> String {
        self.nodes()[0].tls_address()
    }

    /// Name and password of the user who may do everything, where there are users.
    #[must_use]
    pub fn root(&self) -> Option<(&'static str, &'static str)> {
        self.settings.users.then_some(ROOT)
    }

    /// The certificates, where there is TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// What tells services, clients and the command of it, and who they are: variables, with their values.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("MICRO_REGISTRY", "etcd".to_owned()),
            (
                "MICRO_REGISTRY_ADDRESS",
                self.cluster.addresses(self.certificates.is_some()),
            ),
        ];
        if let Some((user, password)) = self.root() {
            variables.push(("ETCD_USERNAME", user.to_owned()));
            variables.push(("ETCD_PASSWORD", password.to_owned()));
        }
        if let Some(certificates) = &self.certificates {
            variables.extend(certificates.of_client(["ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"]));
        }
        variables
    }

    /// Which member leads, as those that run say; `None` while there is no leader.
    pub async fn leader(&self) -> Option<usize> {
        let (mut ids, mut leader) = (vec![None; self.nodes().len()], None);
        for index in self.cluster.awake() {
            let Ok((StatusCode::OK, status)) = self.post(index, "maintenance/status", None, &json!({})).await
            else {
                continue;
            };
            ids[index] = status["header"]["member_id"].as_str().map(str::to_owned);
            if let Some(id) = status["leader"].as_str().filter(|id| *id != "0") {
                leader = Some(id.to_owned());
            }
        }
        // For a while those left name the one that was, which has given no id.
        ids.iter().position(|id| id.is_some() && *id == leader)
    }

    /// Waits until there is a leader, and every member that runs and is not paused answers with what all agree on.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub async fn until_ready(&self) -> Result<()> {
        let wait = Wait::until("all members are ready");
        while !self.is_ready().await {
            wait.on(|| self.cluster.log()).await?;
        }
        Ok(())
    }

    /// Kills all members.
    pub fn kill(&self) {
        self.cluster.kill();
    }

    /// Starts all members that do not run, where they were and with what they knew, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When one ends at once, or they are not ready in time.
    pub async fn start_again(&self) -> Result<()> {
        self.cluster.start_again().await?;
        self.until_ready().await
    }

    /// Kills all members, and starts them where they were, knowing nothing but the user who may do everything.
    ///
    /// # Errors
    ///
    /// As [`start_again`](Self::start_again).
    pub async fn start_wiped(&self) -> Result<()> {
        self.cluster.wipe()?;
        self.cluster.start_again().await?;
        self.prepare().await
    }

    /// Adds a user who may read and write what begins with `prefix`, where there are users.
    ///
    /// # Errors
    ///
    /// When etcd refuses.
    pub async fn add_user(&self, name: &str, password: &str, prefix: &str) -> Result<()> {
        let (key, end) = of_prefix(prefix);
        let permission = json!({"permType": "READWRITE", "key": key, "range_end": end});
        for (path, body) in [
            ("auth/user/add", json!({"name": name, "password": password})),
            ("auth/role/add", json!({"name": name})),
            ("auth/role/grant", json!({"name": name, "perm": permission})),
            ("auth/user/grant", json!({"user": name, "role": name})),
        ] {
            self.change(path, &body).await?;
        }
        Ok(())
    }

    /// Writes a key without a lease.
    ///
    /// # Errors
    ///
    /// When etcd refuses.
    pub async fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        let body = json!({"key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value)});
        self.change("kv/put", &body).await.map(drop)
    }

    /// Deletes a key.
    ///
    /// # Errors
    ///
    /// When etcd refuses.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let body = json!({"key": BASE64_STANDARD.encode(key)});
        self.change("kv/deleterange", &body).await.map(drop)
    }

    /// Keys that begin with `prefix`, with their values, in the order of the keys.
    ///
    /// # Errors
    ///
    /// When etcd refuses, or has a key that is not UTF-8.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let (key, end) = of_prefix(prefix);
        let answer = self
            .change("kv/range", &json!({"key": key, "range_end": end}))
            .await?;
        let pairs = answer["kvs"].as_array().map_or(&[][..], Vec::as_slice);
        let decode = |text: &Value| {
            BASE64_STANDARD
                .decode(text.as_str().unwrap_or_default())
                .map_err(Error::during("read etcd's answer"))
        };
        let pairs = pairs.iter().map(|pair| {
            let key = String::from_utf8(decode(&pair["key"])?).map_err(Error::during("read a key"))?;
            Ok((key, decode(&pair["value"])?))
        });
        pairs.collect()
    }

    /// Throws away the history up to now, so that who watches from before is told so. Gives the revision.
    ///
    /// # Errors
    ///
    /// When etcd refuses.
    pub async fn compact(&self) -> Result<i64> {
        let (key, _) = of_prefix("compact");
        let answer = self.change("kv/range", &json!({"key": key})).await?;
        let revision = answer["header"]["revision"].as_str().unwrap_or_default();
        self.change("kv/compaction", &json!({"revision": revision, "physical": true}))
            .await?;
        revision.parse().map_err(Error::during("read the revision"))
    }

    /// One request to the first member as the user who may do everything; the path is what follows `/v3/`.
    ///
    /// # Errors
    ///
    /// When there is no answer, of whatever status.
    pub async fn request(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        self.request_at(0, path, body).await
    }

    /// Like [`request`](Self::request), to another member.
    ///
    /// # Errors
    ///
    /// When there is no answer, of whatever status.
    pub async fn request_at(&self, index: usize, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let Some((name, password)) = self.root() else {
            return self.post(index, path, None, body).await;
        };
        // A token lasts for a while only, and no longer than the members' memory.
        let login = json!({"name": name, "password": password});
        let (status, answer) = self.post(index, "auth/authenticate", None, &login).await?;
        match answer["token"].as_str() {
            Some(token) => self.post(index, path, Some(token), body).await,
            None => Ok((status, answer)),
        }
    }

    /// Like `request` to the first member that runs; what is refused is an error.
    async fn change(&self, path: &str, body: &Value) -> Result<Value> {
        let index = self.cluster.awake().next().unwrap_or_default();
        let (status, answer) = self.request_at(index, path, body).await?;
        if status != StatusCode::OK {
            return Err(Error::new(format!("etcd refuses {path}: {status} {answer}")));
        }
        Ok(answer)
    }

    async fn post(
        &self,
        index: usize,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<(StatusCode, Value)> {
        let token = token.map(|token| ("Authorization", token));
        let (status, text) = self.nodes()[index]
            .request(
                Method::POST,
                &format!("/v3/{path}"),
                token.as_slice(),
                &body.to_string(),
            )
            .await?;
        // What is not the gateway's own answer is text.
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Makes the user who may do everything, where there are users.
    async fn prepare(&self) -> Result<()> {
        if let Some((name, password)) = self.root() {
            // Without a leader nothing can be written; users are what tells us that there is one.
            let wait = Wait::until("there is a leader");
            while self.leader().await.is_none() {
                wait.on(|| self.cluster.log()).await?;
            }
            for (path, body) in [
                ("auth/user/add", json!({"name": name, "password": password})),
                ("auth/role/add", json!({"name": name})),
                ("auth/user/grant", json!({"user": name, "role": name})),
                ("auth/enable", json!({})),
            ] {
                let (status, answer) = self.post(0, path, None, &body).await?;
                if status != StatusCode::OK {
                    return Err(Error::new(format!("etcd refuses {path}: {status} {answer}")));
                }
            }
        }
        self.until_ready().await
    }

    async fn is_ready(&self) -> bool {
        let range = json!({"key": BASE64_STANDARD.encode("ready")});
        for index in self.cluster.awake() {
            let answer = self.request_at(index, "kv/range", &range).await;
            if !matches!(answer, Ok((StatusCode::OK, _))) {
                return false;
            }
        }
        self.leader().await.is_some()
    }
}

/// The first key that begins with `prefix`, and the first behind them, as the gateway takes them.
fn of_prefix(prefix: &str) -> (String, String) {
    if prefix.is_empty() {
        // As etcd writes "from the first key to the last".
        return (BASE64_STANDARD.encode([0]), BASE64_STANDARD.encode([0]));
    }
    let mut end = prefix.as_bytes().to_owned();
    // No byte of UTF-8 is the last one, so the next of the last is behind all that begin with the prefix.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (BASE64_STANDARD.encode(prefix), BASE64_STANDARD.encode(end))
}
