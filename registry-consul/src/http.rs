//! Requests to agents: bounded in number, time and size, never redirected, and with connections kept for heartbeats.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use micro_registry::{Error, ErrorKind, Result};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use rustls::ClientConfig;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time,
};

use crate::{agent::Agent, token::Token};

/// Of the 200 connections that an agent takes from one address, how many one handle may have for announcing.
const ANNOUNCING_MAX: usize = 4;
/// How many it may have for lists; all are kept, as of many services some are always being listed.
const LISTING_MAX: usize = 8;
/// How many it may have for following, each of which takes one; who comes later asks again and again.
const FOLLOWING_MAX: usize = 64;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a request may take that does not wait for a change. Without quorum an agent holds an answer for 7 s.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer: 100,000 nodes as they commonly are.
const ANSWER_LENGTH_MAX: usize = 256 * 1024 * 1024;
/// As much of what an agent says of a failure as an error has, in characters.
const REASON_LENGTH_MAX: usize = 200;
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
/// How Consul says that nobody has the token that was sent.
const UNKNOWN_TOKEN: &str = "ACL not found";

/// Everything that sends requests.
#[derive(Debug)]
pub(crate) struct Http {
    /// Its one kept connection is there for heartbeats when an agent takes no more.
    pub(crate) announcing: Lane,
    pub(crate) listing: Lane,
    pub(crate) following: Lane,
    token: Token,
}

/// A number of connections that nobody else uses.
#[derive(Debug)]
pub(crate) struct Lane {
    client: Client,
    room: Semaphore,
}

/// A request, and what it is for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    agent: &'a Agent,
    what: &'a str,
    method: Method,
    url: Url,
    body: Bytes,
    timeout: Duration,
}

/// What an agent answered, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    what: String,
}

impl Http {
    /// Touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] when there can be no client.
    pub(crate) fn new(tls: &ClientConfig, token: Token) -> Result<Self> {
        Ok(Self {
            announcing: Lane::new(tls, ANNOUNCING_MAX, 1)?,
            listing: Lane::new(tls, LISTING_MAX, LISTING_MAX)?,
            following: Lane::new(tls, FOLLOWING_MAX, FOLLOWING_MAX)?,
            token,
        })
    }

    /// Tells the token of now from others, without telling the token.
    pub(crate) fn token_revision(&self) -> u64 {
        self.token.revision()
    }

    /// Sends `request` as soon as `lane` has room; if the token is refused, once more with the one that replaced it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no whole answer in time, [`ErrorKind::Unauthenticated`] and
    /// [`ErrorKind::PermissionDenied`] when the token is refused.
    pub(crate) async fn send(&self, lane: &Lane, request: Request<'_>) -> Result<Answer> {
        let _room = lane.room().await;
        self.send_now(lane, request).await
    }

    /// Room for a request that takes a connection for long, if there is any.
    pub(crate) fn room_to_follow(&self) -> Option<SemaphorePermit<'_>> {
        self.following.room.try_acquire().ok()
    }

    /// As [`send`](Self::send), for whoever has got room.
    pub(crate) async fn send_now(&self, lane: &Lane, request: Request<'_>) -> Result<Answer> {
        let token = self.token.header().await;
        let answer = request.send(&lane.client, token.clone()).await?;
        if !answer.is_refused() {
            return Ok(answer);
        }
        if !self.token.changed_from(token.as_ref()).await {
            return Err(self.refusal(&answer));
        }
        let answer = request.send(&lane.client, self.token.header().await).await?;
        if answer.is_refused() {
            return Err(self.refusal(&answer));
        }
        Ok(answer)
    }

    /// The body of an answer that is a success.
    ///
    /// # Errors
    ///
    /// Of the kind that the status is of.
    pub(crate) fn success(&self, answer: Answer) -> Result<Answer> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let kind = match answer.status {
            status if status.is_server_error() => ErrorKind::Unavailable,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::Unavailable,
            StatusCode::BAD_REQUEST => ErrorKind::InvalidArgument,
            // A redirect leads out of the path that was asked for.
            _ => ErrorKind::Protocol,
        };
        Err(self.error(kind, &answer))
    }

    fn refusal(&self, answer: &Answer) -> Error {
        let is_unknown = answer.status == StatusCode::UNAUTHORIZED || answer.says(UNKNOWN_TOKEN);
        let kind = if is_unknown {
            ErrorKind::Unauthenticated
        } else {
            ErrorKind::PermissionDenied
        };
        self.error(kind, answer)
    }

    fn error(&self, kind: ErrorKind, answer: &Answer) -> Error {
        let reason = self.token.hidden_in(answer.text());
        let reason: String = reason.trim().chars().take(REASON_LENGTH_MAX).collect();
        Error::new(kind, answer.what.clone()).with_source(format!("{}: {reason:?}", answer.status))
    }
}

impl Lane {
    fn new(tls: &ClientConfig, room: usize, kept: usize) -> Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(Policy::none())
            // It would read the environment.
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(kept)
            // One that is closed may not be had again while the agent takes no more.
            .pool_idle_timeout(None)
            .http2_keep_alive_interval(TIMEOUT)
            .http2_keep_alive_timeout(TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::InvalidArgument, "set up requests to Consul").with_source(error)
            })?;
        Ok(Self {
            client,
            room: Semaphore::new(room),
        })
    }
}

impl Lane {
    /// Room for a request, as soon as there is any.
    pub(crate) async fn room(&self) -> SemaphorePermit<'_> {
        self.room.acquire().await.expect("nobody closes it")
    }
}

impl<'a> Request<'a> {
    /// A request for what stands at `segments` of `agent`'s interface; `what` is being done by it.
    pub(crate) fn get(agent: &'a Agent, segments: &[&str], what: &'a str) -> Self {
        Self {
            agent,
            what,
            method: Method::GET,
            url: agent.endpoint(segments),
            body: Bytes::new(),
            timeout: TIMEOUT,
        }
    }

    /// A request that changes something.
    pub(crate) fn put(agent: &'a Agent, segments: &[&str], what: &'a str) -> Self {
        Self {
            method: Method::PUT,
            ..Self::get(agent, segments, what)
        }
    }

    /// Adds a part to the query.
    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }

    /// Sets the body, JSON. Default: none.
    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Lets the answer take `wait` longer. Default: it has 10 s.
    pub(crate) fn wait(mut self, wait: Duration) -> Self {
        self.timeout += wait;
        self
    }

    async fn send(&self, client: &Client, token: Option<HeaderValue>) -> Result<Answer> {
        let mut request = client.request(self.method.clone(), self.url.clone());
        if let Some(token) = token {
            request = request.header(TOKEN, token);
        }
        if !self.body.is_empty() {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(self.body.clone());
        }
        let what = format!("{} in Consul at {}", self.what, self.agent);
        let unavailable = || Error::new(ErrorKind::Unavailable, &what);
        match time::timeout(self.timeout, whole(request)).await {
            Err(_) => Err(unavailable().with_source(format!("no answer within {:?}", self.timeout))),
            Ok(Err(error)) => Err(unavailable().with_source(error)),
            Ok(Ok((response, body))) => Ok(Answer {
                status: response.status(),
                headers: response.headers().clone(),
                body,
                what,
            }),
        }
    }
}

impl Answer {
    /// Whether the body has `text`.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The header of this name, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// An error about an answer that makes no sense.
    pub(crate) fn nonsense(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::new(ErrorKind::Protocol, &self.what).with_source(cause)
    }

    /// An error about an answer that has less than there is.
    pub(crate) fn denied(&self, reason: &'static str) -> Error {
        Error::new(ErrorKind::PermissionDenied, &self.what).with_source(reason)
    }

    fn is_refused(&self) -> bool {
        matches!(self.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
    }

    /// The beginning of the body.
    fn text(&self) -> String {
        let start = self.body.len().min(4 * REASON_LENGTH_MAX);
        String::from_utf8_lossy(&self.body[..start]).into_owned()
    }
}

/// Sends `request` and waits for all of the answer.
async fn whole(
    request: RequestBuilder,
) -> Result<(Response, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > ANSWER_LENGTH_MAX {
            return Err(format!("the answer has more than {ANSWER_LENGTH_MAX} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response, body.freeze()))
}

#[cfg(test)]
mod tests;
