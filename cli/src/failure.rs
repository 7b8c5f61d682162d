//! Why a command ends without success: one clear message, and the exit code that goes with it.

use std::{error::Error, fmt};

use tonic::{Code, Status};

/// A result whose error ends the command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit code of what was typed wrong, as clap's own.
const USAGE: u8 = 2;
/// The exit code of a command that Ctrl-C ended, as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;
/// Exit codes of calls begin here: 64 + gRPC code, above those of programs and below those of signals.
const STATUS_BASE: u8 = 64;

/// The key under which a node that answers with an error names itself.
const NODE_KEY: &str = "micro-node";

/// The end of a command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
    code: Option<Code>,
    node: Option<String>,
}

impl Failure {
    /// Something that was tried did not work: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 1,
            code: None,
            node: None,
        }
    }

    /// What was typed makes no sense: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit_code: USAGE,
            ..Self::new(message)
        }
    }

    /// Ctrl-C, before there was anything to end in order: exit code 130.
    pub(crate) fn interrupted() -> Self {
        Self {
            exit_code: INTERRUPTED,
            ..Self::new("interrupted")
        }
    }

    /// Nobody reads the output any more, as in `micro … | head`: that is all they wanted, and no message.
    pub(crate) fn unread() -> Self {
        Self {
            exit_code: 0,
            ..Self::new("")
        }
    }

    /// What was being done, and the whole chain of causes: exit code 1.
    pub(crate) fn because(doing: impl fmt::Display, cause: &dyn Error) -> Self {
        Self::new(format!("{doing}: {}", chain(cause)))
    }

    /// As a call that ended with `code` would fail: exit code 64 + its number.
    pub(crate) fn coded(code: Code, message: impl Into<String>) -> Self {
        let number = u8::try_from(code as i32).expect("gRPC codes are 0 to 16");
        Self {
            exit_code: STATUS_BASE + number,
            code: Some(code),
            ..Self::new(message)
        }
    }

    /// The same failure, of this node unless it says another.
    pub(crate) fn of_node(mut self, node: Option<String>) -> Self {
        self.node = self.node.or(node);
        self
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The gRPC code, if a call ended with one or would have.
    pub(crate) fn code(&self) -> Option<Code> {
        self.code
    }

    /// Whether there is anything to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty() && self.code.is_none()
    }

    /// The same as one JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut error = serde_json::Map::new();
        if let Some(code) = self.code {
            error.insert("code".to_owned(), code_name(code).into());
        }
        error.insert("message".to_owned(), self.message.clone().into());
        if let Some(node) = &self.node {
            error.insert("node".to_owned(), node.clone().into());
        }
        serde_json::json!({ "error": error })
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let node = status.metadata().get(NODE_KEY);
        Self {
            node: node.and_then(|node| node.to_str().ok()).map(str::to_owned),
            ..Self::coded(status.code(), status.message())
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) if self.message.is_empty() => f.write_str(code_name(code))?,
            Some(code) => write!(f, "{}: {}", code_name(code), self.message)?,
            None => f.write_str(&self.message)?,
        }
        match &self.node {
            // The channel's own errors name the node already.
            Some(node) if !self.message.contains(node.as_str()) => write!(f, " (node {node})"),
            _ => Ok(()),
        }
    }
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut shown = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_shown = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !shown.ends_with(&cause_shown) {
            shown = format!("{shown}: {cause_shown}");
        }
        source = cause.source();
    }
    shown
}

/// The name of a gRPC code as everybody writes it: `NOT_FOUND`.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str, node: Option<&'static str>) -> Failure {
        let mut status = Status::not_found(message);
        if let Some(node) = node {
            status.metadata_mut().insert(NODE_KEY, node.parse().unwrap());
        }
        status.into()
    }

    #[test]
    fn a_status_shows_its_code_its_message_and_its_node_once() {
        assert_eq!(failure("nobody", None).to_string(), "NOT_FOUND: nobody");
        assert_eq!(failure("", None).to_string(), "NOT_FOUND");
        assert_eq!(
            failure("nobody", Some("greeter-1")).to_string(),
            "NOT_FOUND: nobody (node greeter-1)"
        );
        assert_eq!(
            failure("`greeter-1` is full", Some("greeter-1")).to_string(),
            "NOT_FOUND: `greeter-1` is full"
        );
    }

    #[test]
    fn a_status_as_json_has_the_same_parts() {
        let json = failure("nobody", Some("greeter-1")).to_json().to_string();
        assert_eq!(
            json,
            r#"{"error":{"code":"NOT_FOUND","message":"nobody","node":"greeter-1"}}"#
        );
        let json = Failure::usage("no").to_json().to_string();
        assert_eq!(json, r#"{"error":{"message":"no"}}"#);
    }

    #[test]
    fn exit_codes_are_64_and_the_grpc_code() {
        assert_eq!(failure("", None).exit_code(), 69);
        assert_eq!(Failure::coded(Code::Unauthenticated, "").exit_code(), 80);
    }
}
