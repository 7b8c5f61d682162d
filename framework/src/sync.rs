//! What calls share across threads: the standard library's and tokio's, which the models in `loom/` put theirs in place of.

pub(crate) use std::sync::atomic;

pub(crate) use tokio::sync::{Notify, futures::Notified};
