//! Follows the messages of a gRPC body through the pieces that it comes in.

/// A flag, and four bytes of length, stand before every message.
const PREFIX_LENGTH: usize = 5;

/// Where in its messages a body is.
#[derive(Debug)]
pub(super) struct Framing {
    size_max: usize,
    prefix: [u8; PREFIX_LENGTH],
    prefix_filled: usize,
    message_left: usize,
    first_has_ended: bool,
}

/// A message says that it is larger than it may be.
#[derive(Debug)]
pub(super) struct TooLarge {
    pub(super) length: usize,
    pub(super) size_max: usize,
}

impl Framing {
    /// The beginning of a body whose messages have at most `size_max` bytes.
    pub(super) fn new(size_max: usize) -> Self {
        Self {
            size_max,
            prefix: [0; PREFIX_LENGTH],
            prefix_filled: 0,
            message_left: 0,
            first_has_ended: false,
        }
    }

    /// Takes notice of the next piece; says where in it the first message of the body ends, if it does.
    pub(super) fn read(&mut self, piece: &[u8]) -> Result<Option<usize>, TooLarge> {
        let mut first_end = None;
        let mut rest = piece;
        loop {
            let skipped = self.message_left.min(rest.len());
            self.message_left -= skipped;
            rest = &rest[skipped..];
            let taken = (PREFIX_LENGTH - self.prefix_filled).min(rest.len());
            let is_between = self.message_left == 0 && self.prefix_filled == 0;
            if skipped > 0 && is_between {
                first_end = first_end.or(self.first_ends_at(piece.len() - rest.len()));
            }
            if rest.is_empty() {
                return Ok(first_end);
            }
            self.prefix[self.prefix_filled..self.prefix_filled + taken].copy_from_slice(&rest[..taken]);
            self.prefix_filled += taken;
            rest = &rest[taken..];
            if self.prefix_filled == PREFIX_LENGTH {
                self.prefix_filled = 0;
                let [_, length @ ..] = self.prefix;
                self.message_left = u32::from_be_bytes(length) as usize;
                if self.message_left > self.size_max {
                    return Err(TooLarge {
                        length: self.message_left,
                        size_max: self.size_max,
                    });
                }
                if self.message_left == 0 {
                    first_end = first_end.or(self.first_ends_at(piece.len() - rest.len()));
                }
            }
        }
    }

    fn first_ends_at(&mut self, position: usize) -> Option<usize> {
        let is_first = !std::mem::replace(&mut self.first_has_ended, true);
        is_first.then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(lengths: &[usize]) -> Vec<u8> {
        let mut body = Vec::new();
        for length in lengths {
            body.push(0);
            body.extend(u32::try_from(*length).unwrap().to_be_bytes());
            body.extend(std::iter::repeat_n(0xff, *length));
        }
        body
    }

    #[test]
    fn a_declared_length_is_refused_before_its_bytes_come() {
        let refused = Framing::new(100).read(&[0, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!((refused.length, refused.size_max), (0xffff_ffff, 100));
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_body_do_not_matter(
            lengths in proptest::collection::vec(0_usize..40, 0..8),
            piece in 1_usize..20,
        ) {
            let mut framing = Framing::new(30);
            let refused = messages(&lengths).chunks(piece).any(|data| framing.read(data).is_err());
            prop_assert_eq!(refused, lengths.iter().any(|length| *length > 30));
        }

        #[test]
        fn the_end_of_the_first_message_is_found_once(
            lengths in proptest::collection::vec(0_usize..40, 0..4),
            piece in 1_usize..90,
        ) {
            let mut framing = Framing::new(usize::MAX);
            let mut ends = Vec::new();
            for (number, data) in messages(&lengths).chunks(piece).enumerate() {
                ends.extend(framing.read(data).unwrap().map(|end| number * piece + end));
            }
            let expected: Vec<usize> = lengths.first().map(|length| PREFIX_LENGTH + length).into_iter().collect();
            prop_assert_eq!(ends, expected);
        }
    }
}
