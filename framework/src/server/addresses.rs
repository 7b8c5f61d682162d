//! How many connections each IP address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

/// Counts connections by address, up to a limit.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    per_ip_max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Addresses,
    ip: IpAddr,
}

impl Addresses {
    pub(super) fn new(per_ip_max: usize) -> Self {
        Self {
            per_ip_max,
            open: Arc::default(),
        }
    }

    /// A place for one more connection from `ip`, unless it has as many as it may.
    pub(super) fn place(&self, ip: IpAddr) -> Option<Place> {
        let ip = ip.to_canonical();
        let mut open = self.open.lock().expect("no panic while it is locked");
        let connections = open.entry(ip).or_default();
        if *connections >= self.per_ip_max {
            return None;
        }
        *connections += 1;
        Some(Place {
            addresses: self.clone(),
            ip,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(mut open) = self.addresses.open.lock() else {
            return;
        };
        if let Some(connections) = open.get_mut(&self.ip) {
            *connections -= 1;
            if *connections == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_keeps_none_once_it_has_gone() {
        let addresses = Addresses::new(2);
        let ip: IpAddr = "10.0.0.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.7".parse().unwrap();
        let first = addresses.place(ip).unwrap();
        let second = addresses.place(mapped).unwrap();
        assert!(addresses.place(ip).is_none() && addresses.place(mapped).is_none());
        let other = addresses.place("10.0.0.8".parse().unwrap());
        assert!(other.is_some());
        drop(first);
        assert!(addresses.place(ip).is_some());
        drop((second, other));
        assert!(addresses.open.lock().unwrap().is_empty());
    }
}
