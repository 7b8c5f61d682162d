//! How the node of a call is chosen: the policies there are, and the traits for one of a user's own.

mod consistent_hash;
mod custom;
mod least_loaded;
mod random;
mod round_robin;
mod weighted;
pub(super) mod zone;

use std::{fmt, str::FromStr, sync::Arc};

use http::HeaderMap;
use tokio::time::Instant;

pub use self::custom::CustomPolicy;
use self::{
    consistent_hash::ConsistentHash, least_loaded::LeastLoaded, random::Random, round_robin::RoundRobin,
    weighted::Weighted,
};
use super::candidate::Candidate;

/// The metadata of a node that says its share of the calls.
const WEIGHT_KEY: &str = "weight";
/// The metadata of a request that says which node it goes to.
const HASH_KEY: &str = "micro-hash-key";

/// How a call's node is chosen among those that are ready. Default: [`LeastLoaded`](Self::LeastLoaded).
///
/// ```
/// use micro::Policy;
///
/// assert_eq!("round_robin".parse::<Policy>()?, Policy::RoundRobin);
/// assert_eq!("weighted:capacity".parse::<Policy>()?, Policy::Weighted("capacity".into()));
/// assert!("fastest".parse::<Policy>().is_err()); // The error lists what is allowed.
/// # Ok::<(), micro::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The less loaded of two chosen at random (Mitzenmacher 2001), by latency and calls in flight.
    #[default]
    LeastLoaded,
    /// One after the other.
    RoundRobin,
    /// Any, with equal chance.
    Random,
    /// Any, with a chance that is the number in this metadata of the node; without one it is 1. `weight` by default.
    Weighted(Arc<str>),
    /// The node that the call's [hash key](crate::CallOptions::hash_key), or else this metadata of the request, belongs
    /// to; it stays the same while that node is there. `micro-hash-key` by default; without a key like `Random`.
    ///
    /// Of a service with more nodes than [`subset`](crate::ClientBuilder::subset) each client has its own choice, so set
    /// that as high as the service is large.
    ConsistentHash(Arc<str>),
    /// One of your own.
    Custom(CustomPolicy),
}

/// Keeps what a policy has to remember of one service, and makes what its calls pick with.
///
/// It is called when the nodes that are ready have changed, beside the calls, and may take its time. There is one for
/// each service of a client, and one more for each [`CallOptions`](crate::CallOptions) that ask for other nodes or another
/// policy. Where it panics, or the [`Pick`] that it makes, calls go to the less loaded of two nodes, and the log says so.
///
/// ```
/// use std::sync::Arc;
/// use micro::{Balancer, CallInfo, Candidate, Pick, Policy};
///
/// /// The first node in the order of their ids, and the next one when it has no room.
/// #[derive(Debug)]
/// struct First;
///
/// impl Balancer for First {
///     fn pick_from(&mut self, _nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
///         Box::new(|_nodes: &[Arc<Candidate>], call: &CallInfo<'_>| call.refused())
///     }
/// }
///
/// let policy = Policy::custom("first", || Box::new(First));
/// assert_eq!(policy.to_string(), "first");
/// ```
pub trait Balancer: fmt::Debug + Send + 'static {
    /// Makes what calls pick with, as long as `nodes` are those that are ready; they are sorted by id and never none.
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick>;
}

/// Picks a node for one call. It is on the path of each call, so it neither locks nor waits.
pub trait Pick: Send + Sync + 'static {
    /// The place in `nodes`, which are those that it was made for. Beyond their end means any node.
    fn pick(&self, nodes: &[Arc<Candidate>], call: &CallInfo<'_>) -> usize;
}

impl<F> Pick for F
where
    F: Fn(&[Arc<Candidate>], &CallInfo<'_>) -> usize + Send + Sync + 'static,
{
    fn pick(&self, nodes: &[Arc<Candidate>], call: &CallInfo<'_>) -> usize {
        self(nodes, call)
    }
}

/// What a [`Pick`] may know of the call.
#[derive(Clone, Copy, Debug)]
pub struct CallInfo<'a> {
    metadata: &'a HeaderMap,
    hash_key: Option<&'a str>,
    refused: usize,
    now: Instant,
}

impl<'a> CallInfo<'a> {
    /// A call at this moment with this metadata.
    #[must_use]
    pub fn new(metadata: &'a HeaderMap) -> Self {
        Self::at(Instant::now(), metadata)
    }

    /// A call at this moment, which was read from the clock already.
    pub(super) fn at(now: Instant, metadata: &'a HeaderMap) -> Self {
        Self {
            metadata,
            hash_key: None,
            refused: 0,
            now,
        }
    }

    /// The same call with this hash key.
    #[must_use]
    pub fn with_hash_key(mut self, key: Option<&'a str>) -> Self {
        self.hash_key = key;
        self
    }

    /// The same call after so many nodes that were picked for it had no room or were tried before.
    #[must_use]
    pub fn with_refused(mut self, refused: usize) -> Self {
        self.refused = refused;
        self
    }

    /// The metadata of the request.
    #[must_use]
    pub fn metadata(&self) -> &'a HeaderMap {
        self.metadata
    }

    /// What [`CallOptions::hash_key`](crate::CallOptions::hash_key) says.
    #[must_use]
    pub fn hash_key(&self) -> Option<&'a str> {
        self.hash_key
    }

    /// How many nodes that were picked for this call in turn had no room or were tried before.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// The time of the pick.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }
}

impl Policy {
    /// A policy of your own, under this name: `make` makes one [`Balancer`] for each service.
    pub fn custom(
        name: impl Into<Arc<str>>,
        make: impl Fn() -> Box<dyn Balancer> + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(CustomPolicy::new(name, make))
    }

    /// A balancer of this policy, for one service.
    #[must_use]
    pub fn balancer(&self) -> Box<dyn Balancer> {
        match self {
            Self::LeastLoaded => Box::new(LeastLoaded),
            Self::RoundRobin => Box::new(RoundRobin::new()),
            Self::Random => Box::new(Random),
            Self::Weighted(key) => Box::new(Weighted::by(Arc::clone(key))),
            Self::ConsistentHash(key) => Box::new(ConsistentHash::on(Arc::clone(key))),
            Self::Custom(custom) => custom.balancer(),
        }
    }

    /// The names that configuration knows, with the metadata that follows them after a colon, if any.
    const NAMES: [(&'static str, Option<&'static str>); 5] = [
        ("least_loaded", None),
        ("round_robin", None),
        ("random", None),
        ("weighted", Some(WEIGHT_KEY)),
        ("consistent_hash", Some(HASH_KEY)),
    ];

    fn allowed() -> Vec<String> {
        let shown = |(name, key): &(&str, Option<&str>)| match key {
            Some(_) => vec![(*name).to_owned(), format!("{name}:KEY")],
            None => vec![(*name).to_owned()],
        };
        Self::NAMES.iter().flat_map(shown).collect()
    }
}

impl FromStr for Policy {
    type Err = crate::Error;

    /// Reads `least_loaded`, `round_robin`, `random`, `weighted` or `consistent_hash`; the last two with `:` and the name
    /// of a metadata key, if it is not the default one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for anything else.
    fn from_str(text: &str) -> Result<Self, crate::Error> {
        let (name, key) = match text.split_once(':') {
            Some((name, key)) => (name, Some(key)),
            None => (text, None),
        };
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        match (known, key) {
            (Some(("least_loaded", _)), None) => Ok(Self::LeastLoaded),
            (Some(("round_robin", _)), None) => Ok(Self::RoundRobin),
            (Some(("random", _)), None) => Ok(Self::Random),
            (Some(("weighted", Some(default))), key) if key != Some("") => {
                Ok(Self::Weighted(key.unwrap_or(default).into()))
            }
            (Some(("consistent_hash", Some(default))), key) if key != Some("") => {
                Ok(Self::ConsistentHash(key.unwrap_or(default).into()))
            }
            _ => Err(crate::Error::config(format!(
                "policy {text:?} is unknown; allowed are {}",
                Self::allowed().join(", ")
            ))),
        }
    }
}

/// As configuration has it; a policy of a user's own by its name.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastLoaded => f.write_str("least_loaded"),
            Self::RoundRobin => f.write_str("round_robin"),
            Self::Random => f.write_str("random"),
            Self::Weighted(key) => write!(f, "weighted:{key}"),
            Self::ConsistentHash(key) => write!(f, "consistent_hash:{key}"),
            Self::Custom(custom) => f.write_str(custom.name()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
