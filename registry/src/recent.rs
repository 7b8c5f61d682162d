//! What was made of the texts that were read last, so that equal ones are read once and share what they say.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hash, RandomState},
};

/// How many texts are remembered: the nodes of a service seldom have more versions than this.
const TEXTS_MAX: usize = 4;

/// What was made of the texts that were read last, so that equal ones are read once and share what they say.
///
/// The methods of a node are most of its record, and those of a service's nodes are the same, or a few versions of them.
/// Texts are told apart by a hash that nobody else can foresee.
///
/// ```
/// use std::sync::Arc;
/// use micro_registry::Recent;
///
/// let mut recent = Recent::<Arc<str>>::default();
/// let mut read = |text: &str| recent.get_or_read(text, || Ok::<_, ()>(text.to_uppercase().into()));
/// assert!(Arc::ptr_eq(&read("hello")?, &read("hello")?));
/// # Ok::<(), ()>(())
/// ```
#[derive(Debug)]
pub struct Recent<T> {
    /// By the hash of the text, the one that was met last first.
    texts: VecDeque<(u64, T)>,
    hasher: RandomState,
}

impl<T: Clone> Recent<T> {
    /// What was made of `text`, or else what `read` makes of it.
    ///
    /// # Errors
    ///
    /// Those of `read`, which are not remembered.
    pub fn get_or_read<E>(&mut self, text: impl Hash, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let hash = self.hasher.hash_one(text);
        let known = self.texts.iter().position(|(known, _)| *known == hash);
        let found = match known.and_then(|at| self.texts.remove(at)) {
            Some((_, found)) => found,
            None => read()?,
        };
        self.texts.push_front((hash, found.clone()));
        self.texts.truncate(TEXTS_MAX);
        Ok(found)
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            texts: VecDeque::new(),
            hasher: RandomState::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_read_once_while_few_others_come_between() {
        let (mut recent, mut reads) = (Recent::default(), Vec::new());
        for text in ["a", "b", "a", "c", "d", "a", "e", "a", "b"] {
            let read = || {
                reads.push(text);
                Ok::<_, ()>(text.to_owned())
            };
            assert_eq!(recent.get_or_read(text, read).unwrap(), text);
        }
        assert_eq!(reads, ["a", "b", "c", "d", "e", "b"]);
        assert_eq!(recent.texts.len(), TEXTS_MAX);
    }

    #[test]
    fn what_could_not_be_read_is_read_again() {
        let mut recent = Recent::default();
        assert_eq!(recent.get_or_read("a", || Err("bad")), Err("bad"));
        assert_eq!(recent.get_or_read("a", || Ok::<_, &str>(1)), Ok(1));
    }
}
