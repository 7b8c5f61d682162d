//! The service: joins server, registry and client, and runs their life.
