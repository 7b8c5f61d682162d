//! How many requests a client may send: a bucket of tokens for each, in a table that is bounded.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Mutex,
};

use serde::Deserialize;
use tokio::time::{Duration, Instant};

use crate::settings::count;

/// How often buckets that are full again are looked for, once the table is full.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The table `[gateway.rate_limit]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(crate) struct RateLimit {
    #[serde(deserialize_with = "count")]
    calls_per_second: usize,
    /// How many may come at once; as many as in a second, unless it is said.
    #[serde(default, deserialize_with = "some_count")]
    burst: Option<usize>,
    /// How many clients are told apart; all others share one bucket.
    #[serde(default = "clients_max", deserialize_with = "count")]
    clients_max: usize,
    #[serde(default)]
    pub(crate) by: By,
}

/// What tells clients apart.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    #[default]
    Address,
    /// Of the token; where there is none, the address.
    Subject,
}

fn clients_max() -> usize {
    10_000
}

fn some_count<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    count(deserializer).map(Some)
}

/// Who sends requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Address(IpAddr),
    Subject(String),
}

impl Client {
    /// The client at `address`. One has the last 64 bits of IPv6 to itself, and may use them all.
    pub(crate) fn at(address: Option<IpAddr>) -> Self {
        Self::Address(match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
            }
            Some(address) => address,
            None => Ipv4Addr::UNSPECIFIED.into(),
        })
    }
}

/// Counts requests by client.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) by: By,
    interval: Duration,
    /// How far ahead of now a client may be.
    ahead_max: Duration,
    clients_max: usize,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// When the bucket of each is full again; who is not here has a full one.
    full_at: HashMap<Client, Instant>,
    others_full_at: Instant,
    swept: Instant,
}

impl Limiter {
    pub(crate) fn new(settings: &RateLimit) -> Self {
        let interval = Duration::from_secs(1) / u32::try_from(settings.calls_per_second).unwrap_or(u32::MAX);
        let burst = settings.burst.unwrap_or(settings.calls_per_second);
        let now = Instant::now();
        Self {
            by: settings.by,
            interval,
            ahead_max: interval.saturating_mul(u32::try_from(burst - 1).unwrap_or(u32::MAX)),
            clients_max: settings.clients_max,
            buckets: Mutex::new(Buckets {
                full_at: HashMap::new(),
                others_full_at: now,
                swept: now,
            }),
        }
    }

    /// Takes a token of `client`; if there is none, says how long it takes until there is.
    pub(crate) fn take(&self, client: Client) -> Result<(), Duration> {
        self.take_at(client, Instant::now())
    }

    fn take_at(&self, client: Client, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().expect("no panic while it is locked");
        let full_at = buckets.of(client, self.clients_max, now);
        let ahead = full_at.saturating_duration_since(now);
        if let Some(wait) = ahead.checked_sub(self.ahead_max).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        *full_at = now + ahead + self.interval;
        Ok(())
    }
}

impl Buckets {
    fn of(&mut self, client: Client, clients_max: usize, now: Instant) -> &mut Instant {
        let is_new = !self.full_at.contains_key(&client);
        if is_new && self.full_at.len() >= clients_max && now.duration_since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if is_new && self.full_at.len() >= clients_max {
            return &mut self.others_full_at;
        }
        self.full_at.entry(client).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(toml: &str) -> Limiter {
        Limiter::new(&toml::from_str(toml).unwrap())
    }

    fn client(number: u8) -> Client {
        Client::at(Some([10, 0, 0, number].into()))
    }

    #[test]
    fn a_burst_is_taken_and_then_as_many_as_the_rate() {
        let limiter = limiter("calls_per_second = 10\nburst = 3");
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take_at(client(1), now), Ok(()));
        }
        assert_eq!(limiter.take_at(client(1), now), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take_at(client(2), now), Ok(()));
        let later = now + Duration::from_millis(100);
        assert_eq!(limiter.take_at(client(1), later), Ok(()));
        assert!(limiter.take_at(client(1), later).is_err());
        let taken = (0..10_000).filter(|tick| {
            limiter
                .take_at(client(1), later + Duration::from_millis(*tick))
                .is_ok()
        });
        assert_eq!(taken.count(), 99, "in ten seconds less a tick");
    }

    #[test]
    fn the_table_is_bounded_and_those_who_do_not_fit_share_a_bucket() {
        let limiter = limiter("calls_per_second = 1\nclients_max = 2");
        let now = Instant::now();
        for number in 1..=3 {
            assert_eq!(limiter.take_at(client(number), now), Ok(()));
        }
        assert!(limiter.take_at(client(4), now).is_err());
        assert!(limiter.take_at(client(1), now).is_err());
        // The first two have been quiet and make room.
        let later = now + Duration::from_secs(2);
        for number in 4..=5 {
            assert_eq!(limiter.take_at(client(number), later), Ok(()));
        }
        assert_eq!(limiter.buckets.lock().unwrap().full_at.len(), 2);
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_its_own() {
        let at = |address: &str| Client::at(address.parse().ok());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "",
            "calls_per_second = 0",
            "calls_per_second = 1\nburst = 0",
            "calls_per_second = 1\nby = 'name'",
        ] {
            assert!(toml::from_str::<RateLimit>(text).is_err(), "{text}");
        }
    }
}
