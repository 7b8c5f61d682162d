//! Values that are looked at all the time, side by side in memory: the closer together those of ten thousand nodes are,
//! the less it costs to look at any of them.

use std::{array, collections::HashMap, fmt, ops::Deref, sync::Arc};

/// How many values a row has: one that is kept keeps its whole row.
const LENGTH: usize = 16;

/// A value that stands in a row with others. Clones are the same value.
pub(super) struct Seat<T> {
    row: Arc<[T; LENGTH]>,
    at: u8,
}

/// Some seats, four bytes each, so that those of ten thousand nodes leave room in the cache for what they lead to.
#[derive(Debug)]
pub(super) struct Places<T> {
    rows: Box<[Arc<[T; LENGTH]>]>,
    /// Which of all values in `rows`; [`NOWHERE`] for none.
    places: Box<[u32]>,
}

/// No value is there.
const NOWHERE: u32 = u32::MAX;

impl<T> Places<T> {
    /// The value at this place in the order of the seats; `None` where there was none.
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        let place = *self.places.get(at)? as usize;
        // There is no row that `NOWHERE` could be in.
        self.rows.get(place / LENGTH).map(|row| &row[place % LENGTH])
    }

    /// How many seats there were.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

impl<'a, T: 'a> FromIterator<Option<&'a Seat<T>>> for Places<T> {
    fn from_iter<I: IntoIterator<Item = Option<&'a Seat<T>>>>(seats: I) -> Self {
        let (mut rows, mut known) = (Vec::new(), HashMap::new());
        let mut place = |seat: &Seat<T>| {
            let number = *known.entry(Arc::as_ptr(&seat.row)).or_insert_with(|| {
                rows.push(Arc::clone(&seat.row));
                rows.len() - 1
            });
            u32::try_from(number * LENGTH + usize::from(seat.at)).unwrap_or(NOWHERE)
        };
        let places = seats
            .into_iter()
            .map(|seat| seat.map_or(NOWHERE, &mut place))
            .collect();
        Self {
            rows: rows.into(),
            places,
        }
    }
}

/// Where values are given out one after the other. Each is given out once.
#[derive(Debug)]
pub(super) struct Rows<T> {
    /// The one that was given out last.
    last: Option<Seat<T>>,
}

impl<T> Seat<T> {
    /// Whether it is the same value.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.at == other.at && Arc::ptr_eq(&self.row, &other.row)
    }
}

/// The first one of a new row.
impl<T: Default> Default for Seat<T> {
    fn default() -> Self {
        Self {
            row: Arc::new(array::from_fn(|_| T::default())),
            at: 0,
        }
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<T: Default> Rows<T> {
    /// The next value.
    pub(super) fn next(&mut self) -> Seat<T> {
        let next = match &self.last {
            Some(last) if usize::from(last.at) + 1 < LENGTH => Seat {
                row: Arc::clone(&last.row),
                at: last.at + 1,
            },
            _ => Seat::default(),
        };
        self.last = Some(next.clone());
        next
    }
}

impl<T> Clone for Seat<T> {
    fn clone(&self) -> Self {
        Self {
            row: Arc::clone(&self.row),
            at: self.at,
        }
    }
}

impl<T> Deref for Seat<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.row[usize::from(self.at)]
    }
}

impl<T: fmt::Debug> fmt::Debug for Seat<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_value_is_given_out_once_and_its_clones_are_the_same() {
        let mut rows = Rows::<AtomicUsize>::default();
        let seats: Vec<_> = (0..200).map(|_| rows.next()).collect();
        for (at, seat) in seats.iter().enumerate() {
            assert_eq!(seat.swap(at + 1, Ordering::Relaxed), 0, "it was given out before");
        }
        assert!(seats[7].is(&seats[7].clone()) && !seats[7].is(&seats[8]));
        assert_eq!(seats[7].clone().load(Ordering::Relaxed), 8);
        assert!(!Seat::<usize>::default().is(&Seat::default()));
    }

    #[test]
    fn a_place_leads_to_the_value_of_its_seat() {
        let mut rows = Rows::<AtomicUsize>::default();
        let seats: Vec<_> = (0..100).map(|_| rows.next()).collect();
        seats
            .iter()
            .enumerate()
            .for_each(|(at, seat)| seat.store(at, Ordering::Relaxed));
        let order = [99, 3, 0, 17, 3];
        let chosen = order.iter().map(|at| Some(&seats[*at])).chain([None]);
        let places: Places<_> = chosen.collect();
        let values = (0..places.len()).map(|at| places.get(at).map(|value| value.load(Ordering::Relaxed)));
        let expected = order.iter().map(|at| Some(*at)).chain([None]);
        assert!(values.eq(expected));
        assert!(places.get(6).is_none());
    }

    #[test]
    fn a_row_goes_with_the_last_of_its_values() {
        let mut rows = Rows::<Arc<()>>::default();
        let seats: Vec<_> = (0..=LENGTH).map(|_| rows.next()).collect();
        let first = Arc::downgrade(&seats[0]);
        drop(seats);
        assert!(first.upgrade().is_none());
    }
}
