//! A policy of a user's own, as a value that can be cloned and compared.

use std::{fmt, sync::Arc};

use super::Balancer;

/// What [`Policy::custom`](crate::Policy::custom) makes. Clones are equal, and nothing else is.
#[derive(Clone)]
pub struct CustomPolicy {
    name: Arc<str>,
    make: Arc<dyn Fn() -> Box<dyn Balancer> + Send + Sync>,
}

impl CustomPolicy {
    pub(super) fn new(
        name: impl Into<Arc<str>>,
        make: impl Fn() -> Box<dyn Balancer> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            make: Arc::new(make),
        }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn balancer(&self) -> Box<dyn Balancer> {
        (self.make)()
    }
}

impl PartialEq for CustomPolicy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.make, &other.make)
    }
}

impl Eq for CustomPolicy {}

impl fmt::Debug for CustomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomPolicy").field(&self.name).finish()
    }
}
