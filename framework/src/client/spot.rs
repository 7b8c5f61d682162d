//! All that a pick looks at of a node: its load, and the places of the connection that it usually has one of.

use std::{ops::Deref, sync::Arc};

use super::{
    load::Load,
    row::{Rows, Seat},
    streams::{STREAMS_MAX_FIRST, Streams},
};

/// One cache line, so that a pick waits for no more of the memory than that, and calls to one node do not slow those
/// to another.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Spot {
    pub(super) load: Load,
    streams: Streams,
}

const _: () = assert!(
    size_of::<Spot>() == 64,
    "a pick looks at one cache line of a node"
);

impl Default for Spot {
    fn default() -> Self {
        Self {
            load: Load::new(),
            streams: Streams::new(STREAMS_MAX_FIRST),
        }
    }
}

/// The places of one connection, which nobody else has as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    spot: Seat<Spot>,
}

impl Lease {
    /// Those beside the load of the node, unless an earlier connection still has them; then some further away.
    pub(super) fn new(spot: &Seat<Spot>, others: &mut Rows<Spot>) -> Arc<Self> {
        let spot = if spot.streams.lease() {
            spot.clone()
        } else {
            let other = others.next();
            other.streams.lease();
            other
        };
        Arc::new(Self { spot })
    }

    /// Whether they stand beside this load.
    pub(super) fn is_at(&self, spot: &Seat<Spot>) -> bool {
        self.spot.is(spot)
    }
}

impl Deref for Lease {
    type Target = Streams;

    fn deref(&self) -> &Streams {
        &self.spot.streams
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.spot.streams.end_lease();
    }
}

impl Spot {
    /// The places of the connection that has them, for those who know that it is the node's only one.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_connections_never_share_places_and_the_next_one_has_those_beside_the_load_again() {
        let mut rows = Rows::default();
        let spot = rows.next();
        let first = Lease::new(&spot, &mut rows);
        let second = Lease::new(&spot, &mut rows);
        assert!(first.is_at(&spot) && !second.is_at(&spot));
        assert!(first.reserve() && first.close());
        first.end();
        drop(first);
        assert!(second.reserve());
        let third = Lease::new(&spot, &mut rows);
        assert!(third.is_at(&spot) && !third.is_closing());
        assert_eq!((third.taken(), third.max()), (0, STREAMS_MAX_FIRST));
    }
}
