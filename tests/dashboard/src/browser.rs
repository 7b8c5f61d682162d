//! Chromium without a window, driven through its driver.

use std::{
    env,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use crate::{PATIENCE, driver::Session, eventually};

/// The key under which the driver names an element; the protocol has fixed it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How often the driver is started before a test gives up.
const STARTS_MAX: usize = 3;

/// A browser of one test's own. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    address: String,
    chromium: PathBuf,
    _driver: Child,
    profile: TempDir,
}

/// A page that is open.
#[derive(Debug)]
pub struct Page {
    session: Session,
}

impl Browser {
    /// Starts the driver; `cargo xtask test` says which.
    pub async fn start() -> Self {
        for _ in 1..STARTS_MAX {
            if let Ok(started) = Self::try_start().await {
                return started;
            }
        }
        let started = Self::try_start().await;
        started.unwrap_or_else(|status| panic!("the driver does not start: {status}"))
    }

    /// Starts it, or says how it ended: its own choice of a port may be another's by the time it listens.
    async fn try_start() -> Result<Self, ExitStatus> {
        let mut driver = Command::new(program("MICRO_TEST_CHROMEDRIVER"))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let starting = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("successfully on port ") {
                    return Some(port.trim_end_matches('.').to_owned());
                }
            }
            None
        };
        let port = timeout(PATIENCE, starting)
            .await
            .expect("the driver starts in time");
        let Some(port) = port else {
            return Err(driver.wait().await.unwrap());
        };
        Ok(Self {
            address: format!("http://127.0.0.1:{port}"),
            chromium: program("MICRO_TEST_CHROMIUM"),
            _driver: driver,
            profile: tempfile::tempdir().unwrap(),
        })
    }

    /// Opens a page of this width; the browser resolves no name but `localhost`.
    pub async fn open(&self, url: &str) -> Page {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let arguments = [
            "--headless=new",
            // Tests run as root in containers, too, and open nothing but our own page.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            "--window-size=1280,900",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
            &profile,
            "data:,",
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "binary": self.chromium, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let page = Page {
            session: Session::start(&self.address, capabilities).await,
        };
        // What the browser asks for its own first page is not of ours.
        page.session.go("data:,").await;
        page.logs().await;
        // Who serves it may only have been started.
        let host = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        let host = host.expect("a page of this machine");
        eventually("the page is served", async || {
            TcpStream::connect(host).await.is_ok()
        })
        .await;
        page.session.go(url).await;
        page
    }
}

/// The driver is killed, and would leave behind what it started for a test that failed before its page was closed.
impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium names its process in its profile, after the name of the host.
        let lock = std::fs::read_link(self.profile.path().join("SingletonLock"));
        let name = lock
            .map(|lock| lock.to_string_lossy().into_owned())
            .unwrap_or_default();
        if let Some(Ok(id)) = name.rsplit_once('-').map(|(_, id)| id.parse()) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Page {
    /// What a function body returns in the page.
    pub async fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.session
            .command(Method::POST, "execute/sync", Some(body))
            .await
    }

    /// The text that an expression of the page has.
    pub async fn text(&self, expression: &str) -> String {
        let value = self
            .run(&format!("return (async () => String({expression}))()"))
            .await;
        value.as_str().unwrap().to_owned()
    }

    /// Waits until an expression of the page is true.
    pub async fn until(&self, expression: &str) -> std::time::Duration {
        let script = format!("return Boolean({expression})");
        eventually(expression, async || self.run(&script).await == true).await
    }

    /// Types into what has the focus; see <https://www.w3.org/TR/webdriver2/#keyboard-actions> for keys without letters.
    pub async fn keys(&self, text: &str) {
        let focused = self.session.command(Method::GET, "element/active", None).await;
        self.act(&focused, "value", json!({ "text": text })).await;
    }

    /// Clicks the first element that a selector finds, as a mouse does.
    pub async fn click(&self, selector: &str) {
        let found = self.find(selector).await;
        self.act(&found, "click", json!({})).await;
    }

    /// Types into the first element that a selector finds, in place of what is there.
    pub async fn fill(&self, selector: &str, text: &str) {
        let found = self.find(selector).await;
        self.act(&found, "clear", json!({})).await;
        self.act(&found, "value", json!({ "text": text })).await;
    }

    /// A picture of what is to be seen, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let picture = self.session.command(Method::GET, "screenshot", None).await;
        STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }

    async fn find(&self, selector: &str) -> Value {
        let body = json!({ "using": "css selector", "value": selector });
        self.session.command(Method::POST, "element", Some(body)).await
    }

    /// Does something with an element that was found.
    async fn act(&self, element: &Value, action: &str, body: Value) {
        let id = element[ELEMENT].as_str().expect("an element is found");
        let path = format!("element/{id}/{action}");
        self.session.command(Method::POST, &path, Some(body)).await;
    }

    /// Makes the page as large as that of another device.
    pub async fn resize(&self, width: u32, height: u32, scale: f32) {
        let is_mobile = width < 600;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Makes the system `light` or `dark`.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Everything that an aid for the blind is told of: roles and names.
    pub async fn accessible(&self) -> Vec<(String, String)> {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap().iter();
        let text = |node: &Value, key: &str| node[key]["value"].as_str().unwrap_or_default().to_owned();
        nodes
            .filter(|node| node["ignored"] != true)
            .map(|node| (text(node, "role"), text(node, "name")))
            .collect()
    }

    /// What was logged since the last time that is an error, and every address that was asked for.
    pub async fn logs(&self) -> (Vec<String>, Vec<String>) {
        let errors = self.log("browser").await;
        let errors = errors.iter().filter(|entry| entry["level"] == "SEVERE");
        let errors = errors.map(|entry| entry["message"].to_string()).collect();
        let requests = self.log("performance").await;
        let requests = requests.iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).unwrap();
            let message = &message["message"];
            let is_request = message["method"] == "Network.requestWillBeSent";
            is_request.then(|| message["params"]["request"]["url"].as_str().unwrap().to_owned())
        });
        (errors, requests.collect())
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.command("se/log", json!({ "type": kind })).await;
        entries.as_array().unwrap().clone()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.command("goog/cdp/execute", body).await
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        self.session.command(Method::POST, path, Some(body)).await
    }

    /// Ends the browser, and waits for that.
    pub async fn close(self) {
        self.session.command(Method::DELETE, "", None).await;
    }
}

fn program(variable: &str) -> PathBuf {
    let named = env::var_os(variable);
    let named = named.unwrap_or_else(|| panic!("{variable} names no program: run `cargo xtask test`"));
    named.into()
}
