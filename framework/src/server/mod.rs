//! The server: an accept loop of our own around tonic's routes.
