//! The client: finds nodes, keeps connections to them, and calls.
