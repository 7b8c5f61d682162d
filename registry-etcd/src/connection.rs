//! The one connection of a handle: to one server at a time, logged in, and to the next when that one fails.

mod attempt;
mod dial;
mod fitness;
mod login;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use etcd_client::{Client, Error as EtcdError, KvClient, WatchClient};
use micro_registry::{Error, ErrorKind, Result};
use tokio::{
    sync::Semaphore,
    time::{self, Instant},
};

use self::{attempt::Attempt, fitness::Fitness, login::LOGIN_INTERVAL};
use crate::{
    credentials::Credentials,
    error::{self, error},
    server::Servers,
    tls::Files,
};

/// How long a call may take, connecting and logging in included. Without quorum a server holds an answer for 7 s.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Connects in the first call; everybody shares what it connected.
pub(crate) struct Connection {
    servers: Servers,
    files: Files,
    credentials: Option<Credentials>,
    state: Mutex<State>,
    /// Lets one connect or log in at a time.
    turn: Semaphore,
}

/// A client of one server, logged in.
#[derive(Clone)]
pub(crate) struct Session {
    /// Shared, as it is large: each watch holds it.
    client: Arc<Client>,
    /// Tells sessions apart.
    number: u64,
    /// The place of the server.
    at: usize,
    /// How many logins there were before the call that holds this.
    logins: u64,
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    sessions: u64,
    logins: u64,
    login: Option<Instant>,
    failure: Option<Failure>,
}

/// Why connecting failed last, for those who waited for it.
struct Failure {
    at: Instant,
    kind: ErrorKind,
    reason: String,
}

impl Connection {
    pub(crate) fn new(servers: Servers, files: Files, credentials: Option<Credentials>) -> Self {
        Self {
            servers,
            files,
            credentials,
            state: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Makes a call, after connecting and logging in if need be; `what` is being done by it.
    ///
    /// The call is made again on a new connection if the one that stood turns out to be dead, and with a new token if
    /// the old one is refused. A server that cannot do its work is left: the next call speaks to the next one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no answer in time, and what etcd's own error means.
    pub(crate) async fn call<T, F, Fut>(&self, what: &str, call: F) -> Result<T>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, EtcdError>>,
    {
        self.call_otherwise(what, |session| call(session.client()), |_| None)
            .await
    }

    /// As [`call`](Self::call), where `otherwise` makes an answer of errors that are one.
    pub(crate) async fn call_otherwise<T, F, Fut>(
        &self,
        what: &str,
        call: F,
        otherwise: impl Fn(&EtcdError) -> Option<T>,
    ) -> Result<T>
    where
        F: Fn(Session) -> Fut,
        Fut: Future<Output = Result<T, EtcdError>>,
    {
        let deadline = Instant::now() + TIMEOUT;
        let mut is_new = self.state().session.is_none();
        let mut is_logged_in_anew = false;
        loop {
            let session = time::timeout_at(deadline, self.session(what)).await;
            let session = session.map_err(|_| late(&format!("{what} in etcd")))??;
            let answer = self.answer_until(deadline, &session, what, call(session.clone()));
            let error = match answer.await? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(answer) = otherwise(&error) {
                return Ok(answer);
            }
            if error::is_token_refused(&error) && self.credentials.is_some() && !is_logged_in_anew {
                is_logged_in_anew = true;
                let done = time::timeout_at(deadline, self.log_in_again(&session, what)).await;
                done.map_err(|_| late(&self.doing(what, &session)))??;
                continue;
            }
            let is_stale = !is_new && error::is_of_transport(&error);
            let failure = self.failed(&session, what, error);
            if !is_stale {
                return Err(failure);
            }
            is_new = true;
        }
    }

    /// Waits for an answer on what was opened in `session`, whose server is left if none comes in time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] then; another error is part of the answer.
    pub(crate) async fn answer<T>(
        &self,
        session: &Session,
        what: &str,
        answer: impl Future<Output = Result<T, EtcdError>>,
    ) -> Result<Result<T, EtcdError>> {
        self.answer_until(Instant::now() + TIMEOUT, session, what, answer)
            .await
    }

    /// A client for what outlives a call; [`failed`](Self::failed) is told of its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when no server can be reached, [`ErrorKind::Unauthenticated`] when the login is
    /// refused.
    pub(crate) async fn session(&self, what: &str) -> Result<Session> {
        if let Some(session) = self.present() {
            return Ok(session);
        }
        let entered = Instant::now();
        let _turn = self.turn.acquire().await.expect("nobody closes it");
        if let Some(session) = self.present() {
            return Ok(session);
        }
        let what = format!("{what} in etcd");
        if let Some(error) = self.recent_failure(entered, &what) {
            return Err(error);
        }
        self.connect(&what).await
    }

    /// Whether `session` is the one that calls are made in.
    pub(crate) fn is_present(&self, session: &Session) -> bool {
        self.state().speaks_in(session)
    }

    /// Notes that `error` came of `session`, and says so: a server that cannot do its work is left.
    pub(crate) fn failed(&self, session: &Session, what: &str, error: EtcdError) -> Error {
        if error::kind(&error) == ErrorKind::Unavailable {
            self.leave(session);
        }
        self::error(self.doing(what, session), error)
    }

    async fn answer_until<T>(
        &self,
        deadline: Instant,
        session: &Session,
        what: &str,
        answer: impl Future<Output = Result<T, EtcdError>>,
    ) -> Result<Result<T, EtcdError>> {
        let attempt = Attempt::new(|| self.leave(session));
        let answer = time::timeout_at(deadline, answer).await;
        let answer = answer.map_err(|_| late(&self.doing(what, session)))?;
        Ok(attempt.answered(answer))
    }

    /// Tries one server after the other, the one that is spoken to first; the fittest has to do if none is fit.
    async fn connect(&self, what: &str) -> Result<Session> {
        let mut spare: Option<(Fitness, usize, Client)> = None;
        let mut reasons = Vec::new();
        for _ in 0..self.servers.len() {
            let at = self.servers.current();
            let attempt = Attempt::new(|| self.servers.leave(at));
            let entered = match self.connect_to(at).await {
                Ok((Fitness::Fit, client)) => self.enter(client, at).await.map(Ok),
                Ok(unfit) => Ok(Err(unfit)),
                Err(reason) => Err((ErrorKind::Unavailable, reason)),
            };
            match attempt.answered(entered) {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err((fitness, client))) => {
                    if spare.as_ref().is_none_or(|(best, ..)| *best < fitness) {
                        spare = Some((fitness, at, client));
                    }
                }
                Err((ErrorKind::Unavailable, reason)) => reasons.push(reason),
                Err((kind, reason)) => return Err(self.fail(kind, reason, what)),
            }
            self.servers.leave(at);
        }
        let Some((_, at, client)) = spare else {
            return Err(self.fail(ErrorKind::Unavailable, reasons.join("; "), what));
        };
        self.servers.return_to(at);
        let attempt = Attempt::new(|| self.servers.leave(at));
        let entered = attempt.answered(self.enter(client, at).await);
        entered.map_err(|(kind, reason)| {
            if kind == ErrorKind::Unavailable {
                self.servers.leave(at);
            }
            self.fail(kind, reason, what)
        })
    }

    async fn connect_to(&self, at: usize) -> Result<(Fitness, Client), String> {
        let server = self.servers.get(at);
        let failed = |error: &dyn std::error::Error| format!("{server}: {}", chain(error));
        let channel = dial::dial(server, &self.files)
            .await
            .map_err(|error| failed(&*error))?;
        let client = Client::from_channel(channel, None)
            .await
            .map_err(|error| failed(&error))?;
        // Without others there is no choice.
        let fitness = if self.servers.len() == 1 {
            Fitness::Fit
        } else {
            Fitness::of(&client).await
        };
        Ok((fitness, client))
    }

    async fn enter(&self, client: Client, at: usize) -> Result<Session, (ErrorKind, String)> {
        let server = self.servers.get(at);
        let done = self.log_in(&client).await;
        done.map_err(|(kind, reason)| (kind, format!("{server}: {reason}")))?;
        Ok(self.begin(client, at))
    }

    fn begin(&self, client: Client, at: usize) -> Session {
        let mut state = self.state();
        state.sessions += 1;
        state.failure = None;
        let session = Session {
            client: Arc::new(client),
            number: state.sessions,
            at,
            logins: state.logins,
        };
        state.session = Some(session.clone());
        session
    }

    fn fail(&self, kind: ErrorKind, reason: String, what: &str) -> Error {
        let error = Error::new(kind, what).with_source(reason.clone());
        self.state().failure = Some(Failure {
            at: Instant::now(),
            kind,
            reason,
        });
        error
    }

    /// The failure of an attempt that was being made since `entered`, or of a login that has just been refused.
    fn recent_failure(&self, entered: Instant, what: &str) -> Option<Error> {
        let state = self.state();
        let failure = state.failure.as_ref()?;
        let is_refused = failure.kind != ErrorKind::Unavailable;
        let is_recent = failure.at >= entered || is_refused && failure.at.elapsed() < LOGIN_INTERVAL;
        is_recent.then(|| Error::new(failure.kind, what).with_source(failure.reason.clone()))
    }

    fn doing(&self, what: &str, session: &Session) -> String {
        format!("{what} in etcd at {}", self.servers.get(session.at))
    }

    fn present(&self) -> Option<Session> {
        let state = self.state();
        let session = state.session.clone()?;
        Some(Session {
            logins: state.logins,
            ..session
        })
    }

    fn leave(&self, session: &Session) {
        let mut state = self.state();
        if state.speaks_in(session) {
            state.session = None;
            self.servers.leave(session.at);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the state is locked")
    }
}

impl State {
    fn speaks_in(&self, session: &Session) -> bool {
        let present = self.session.as_ref();
        present.is_some_and(|present| present.number == session.number)
    }
}

impl Session {
    /// A client that shares this session's connection and token.
    pub(crate) fn client(&self) -> Client {
        Client::clone(&self.client)
    }

    /// As much of it as keys are read with.
    pub(crate) fn kv_client(&self) -> KvClient {
        self.client.kv_client()
    }

    /// As much of it as keys are watched with.
    pub(crate) fn watch_client(&self) -> WatchClient {
        self.client.watch_client()
    }
}

/// The servers and whence the password, and no secret.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("servers", &self.servers)
            .field("files", &self.files)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("number", &self.number)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

fn late(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, what).with_source("no answer in time")
}

/// What `error` says, and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
