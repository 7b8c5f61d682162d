//! How a connection gets the token that etcd wants to see with each call.

use std::time::Duration;

use etcd_client::Client;
use micro_registry::{ErrorKind, Result};
use tokio::time::{self, Instant};

use super::{Connection, Session, chain, late};
use crate::error;

/// How long a login may take: etcd makes it slow on purpose, and all servers have to agree.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long after a login the next one has to wait.
pub(super) const LOGIN_INTERVAL: Duration = Duration::from_secs(1);

impl Connection {
    /// Gives `client` a token, if we have a password and etcd asks for one.
    pub(super) async fn log_in(&self, client: &Client) -> Result<(), (ErrorKind, String)> {
        let Some(credentials) = &self.credentials else {
            return Ok(());
        };
        let password = credentials.password().await;
        let password = password.map_err(|error| (error.kind(), chain(&error)))?;
        self.state().login = Some(Instant::now());
        let user = credentials.user.clone();
        let what = format!("log in as `{user}`");
        let mut client = client.clone();
        let logged_in = time::timeout(LOGIN_TIMEOUT, client.update_user(Some((user, password)))).await;
        let error = match logged_in {
            Ok(Err(error)) if !error::is_login_unknown(&error) => error::error(what, error),
            Ok(_) => {
                let mut state = self.state();
                state.logins += 1;
                state.failure = None;
                return Ok(());
            }
            Err(_) => late(&what),
        };
        Err((error.kind(), chain(&error)))
    }

    /// Gives the client of `session` a new token, unless somebody else has done so since the call began.
    pub(super) async fn log_in_again(&self, session: &Session, what: &str) -> Result<()> {
        let entered = Instant::now();
        let _turn = self.turn.acquire().await.expect("nobody closes it");
        let what = format!("{what} in etcd");
        let (logins, login) = {
            let state = self.state();
            (state.logins, state.login)
        };
        if let Some(error) = self.recent_failure(entered, &what) {
            return Err(error);
        }
        if logins != session.logins {
            return Ok(());
        }
        if let Some(login) = login {
            time::sleep_until(login + LOGIN_INTERVAL).await;
        }
        let done = self.log_in(&session.client).await;
        done.map_err(|(kind, reason)| {
            if kind == ErrorKind::Unavailable {
                self.leave(session);
            }
            self.fail(kind, reason, &what)
        })
    }
}
