//! The handshakes under way: when there are too many, the one goes that has taken the longest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio_util::sync::CancellationToken;

/// The handshakes under way.
///
/// A peer that answers needs milliseconds, so what is old belongs to one that is slow or does not mean to finish: many of
/// those end each other, and hold up nobody else.
#[derive(Debug)]
pub(super) struct Handshakes {
    max: usize,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    begun: u64,
    /// In the order in which they began.
    tokens: BTreeMap<u64, CancellationToken>,
}

/// The place of one handshake; given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    token: CancellationToken,
    running: Arc<Mutex<Running>>,
}

impl Handshakes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            running: Arc::default(),
        }
    }

    /// Begins one, and ends the oldest if there are too many.
    pub(super) fn begin(&self) -> Place {
        let token = CancellationToken::new();
        let mut running = self.running.lock().expect("no panic while it is locked");
        running.begun += 1;
        let id = running.begun;
        if running.tokens.len() >= self.max
            && let Some((_, oldest)) = running.tokens.pop_first()
        {
            oldest.cancel();
        }
        running.tokens.insert(id, token.clone());
        drop(running);
        Place {
            id,
            token,
            running: Arc::clone(&self.running),
        }
    }
}

impl Place {
    /// Waits until this handshake has to make room.
    pub(super) async fn lost(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(mut running) = self.running.lock() {
            running.tokens.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_lost(place: &Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_makes_room_and_who_has_finished_counts_no_more() {
        let handshakes = Handshakes::new(2);
        let (first, second) = (handshakes.begin(), handshakes.begin());
        assert!(!is_lost(&first) && !is_lost(&second));
        let third = handshakes.begin();
        assert!(is_lost(&first) && !is_lost(&second) && !is_lost(&third));
        drop((first, second));
        let fourth = handshakes.begin();
        assert!(!is_lost(&third) && !is_lost(&fourth));
        assert_eq!(handshakes.running.lock().unwrap().tokens.len(), 2);
    }
}
