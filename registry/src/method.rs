//! A method of a service, as descriptors and records tell it.

use std::fmt;

/// A gRPC method: what the descriptors say of it.
///
/// ```
/// use micro_registry::{Idempotency, Method};
///
/// let mut hello = Method::new("greeter.Say", "Hello");
/// hello.request = "greeter.HelloRequest".into();
/// hello.response = "greeter.HelloReply".into();
/// hello.idempotency = Idempotency::NoSideEffects;
/// assert_eq!(hello.path(), "/greeter.Say/Hello");
/// assert!(hello.is_unary() && hello.is_idempotent());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Method {
    /// The full name of the gRPC service, with its proto package: `greeter.Say`.
    pub service: String,
    /// The name of the method: `Hello`.
    pub name: String,
    /// The full name of the request message: `greeter.HelloRequest`.
    pub request: String,
    /// The full name of the response message: `greeter.HelloReply`.
    pub response: String,
    /// Whether the client sends a stream of messages.
    pub client_streaming: bool,
    /// Whether the server answers with a stream of messages.
    pub server_streaming: bool,
    /// Whether the method may be executed more than once.
    pub idempotency: Idempotency,
}

/// The proto option `idempotency_level` of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// Nothing is known: the method must not be executed twice.
    #[default]
    Unknown,
    /// Twice is as good as once.
    Idempotent,
    /// The method changes nothing.
    NoSideEffects,
}

impl Method {
    /// A unary method of nothing known but its names.
    pub fn new(service: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            name: name.into(),
            request: String::new(),
            response: String::new(),
            client_streaming: false,
            server_streaming: false,
            idempotency: Idempotency::Unknown,
        }
    }

    /// The path of an HTTP/2 request for this method: `/greeter.Say/Hello`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }

    /// Whether both sides send one message.
    #[must_use]
    pub fn is_unary(&self) -> bool {
        !self.client_streaming && !self.server_streaming
    }

    /// Whether the method may be executed more than once.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotency != Idempotency::Unknown
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_of_which_nothing_is_known_is_unary_and_must_not_run_twice() {
        let method = Method::new("greeter.Say", "Hello");
        assert!(method.is_unary());
        assert!(!method.is_idempotent());
        assert_eq!(method.to_string(), "greeter.Say/Hello");
    }

    #[test]
    fn a_stream_on_either_side_is_not_unary() {
        for (client_streaming, server_streaming) in [(true, false), (false, true), (true, true)] {
            let mut method = Method::new("greeter.Say", "Greetings");
            method.client_streaming = client_streaming;
            method.server_streaming = server_streaming;
            assert!(!method.is_unary());
        }
    }
}
