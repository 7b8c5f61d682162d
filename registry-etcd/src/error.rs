//! What etcd's errors mean for whoever has to decide.

use etcd_client::Error as EtcdError;
use micro_registry::{Error, ErrorKind};
use tonic::{Code, Status};

/// How etcd says that the token is none any more, or was never sent; the codes differ.
const TOKEN_REFUSED: [&str; 3] = [
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",
];
/// How etcd says that it does not know this user and password.
const LOGIN_REFUSED: [&str; 2] = ["invalid user ID or password", "user name not found"];
/// How etcd says that it asks nobody for a password.
const NO_LOGIN: &str = "authentication is not enabled";
/// How etcd says that a lease is gone.
const NO_LEASE: &str = "requested lease not found";
/// How etcd says that it does not know what stood there at a moment any more, or not yet.
const FORGOTTEN: [&str; 2] = [
    "required revision has been compacted",
    "required revision is a future revision",
];
/// How tonic says that it does not take a message.
const TOO_LONG: &str = "decoded message length too large";
/// How etcd's own words begin; what else comes with a status is about the way there.
const BY_ETCD: &str = "etcdserver: ";

/// An error of the registry: `what` was being done, and `error` is why it failed.
pub(crate) fn error(what: impl Into<String>, error: EtcdError) -> Error {
    let kind = kind(&error);
    match error {
        // Its own message is the status' alone; so the status' cause is kept.
        EtcdError::GRpcStatus(status) => Error::new(kind, what).with_source(status),
        EtcdError::TransportError(cause) => Error::new(kind, what).with_source(cause),
        other => Error::new(kind, what).with_source(other),
    }
}

/// Whether etcd wants another token.
pub(crate) fn is_token_refused(error: &EtcdError) -> bool {
    status(error)
        .is_some_and(|status| says_any(status, &TOKEN_REFUSED) || status.code() == Code::Unauthenticated)
}

/// Whether etcd asks nobody for a password.
pub(crate) fn is_login_unknown(error: &EtcdError) -> bool {
    status(error).is_some_and(|status| status.message().contains(NO_LOGIN))
}

/// Whether the lease that was named is gone.
pub(crate) fn is_lease_gone(error: &EtcdError) -> bool {
    match error {
        // So etcd-client calls the answer to the first keep-alive of a lease that is gone.
        EtcdError::LeaseKeepAliveError(message) => message.contains("lease not found"),
        _ => status(error).is_some_and(|status| status.message().contains(NO_LEASE)),
    }
}

/// Whether what stood there at a moment is not known any more, or not yet.
pub(crate) fn is_forgotten(error: &EtcdError) -> bool {
    status(error).is_some_and(|status| says_any(status, &FORGOTTEN))
}

/// Whether the answer is longer than a message may be.
pub(crate) fn is_too_long(error: &EtcdError) -> bool {
    status(error).is_some_and(|status| status.message().contains(TOO_LONG))
}

/// Whether `error` is about the way to a server rather than the words of one.
pub(crate) fn is_of_transport(error: &EtcdError) -> bool {
    kind(error) == ErrorKind::Unavailable
        && status(error).is_none_or(|status| !status.message().starts_with(BY_ETCD))
}

/// What `error` means.
pub(crate) fn kind(error: &EtcdError) -> ErrorKind {
    match error {
        EtcdError::GRpcStatus(status) => kind_of_status(status),
        EtcdError::IoError(_) | EtcdError::TransportError(_) => ErrorKind::Unavailable,
        // A stream that ended where an answer was due.
        EtcdError::WatchError(_) | EtcdError::LeaseKeepAliveError(_) => ErrorKind::Unavailable,
        EtcdError::InvalidArgs(_) | EtcdError::InvalidUri(_) => ErrorKind::InvalidArgument,
        _ => ErrorKind::Protocol,
    }
}

fn kind_of_status(status: &Status) -> ErrorKind {
    if says_any(status, &TOKEN_REFUSED) || says_any(status, &LOGIN_REFUSED) {
        return ErrorKind::Unauthenticated;
    }
    match status.code() {
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        // tonic says `Unknown`, `Internal` or `Cancelled` of connections that break; etcd says `ResourceExhausted` when
        // it has no room or too much to do, `FailedPrecondition` when it only learns yet, `DataLoss` when it is corrupt.
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::DataLoss
        | Code::Aborted => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    }
}

fn status(error: &EtcdError) -> Option<&Status> {
    match error {
        EtcdError::GRpcStatus(status) => Some(status),
        _ => None,
    }
}

fn says_any(status: &Status, texts: &[&str]) -> bool {
    texts.iter().any(|text| status.message().contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> EtcdError {
        EtcdError::GRpcStatus(Status::new(code, message))
    }

    #[test]
    fn what_etcd_says_has_the_kind_that_it_means() {
        for (code, message, expected) in [
            (Code::Unavailable, "etcdserver: no leader", ErrorKind::Unavailable),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                ErrorKind::Unavailable,
            ),
            (Code::Unknown, "transport error", ErrorKind::Unavailable),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                ErrorKind::Unavailable,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                ErrorKind::Unauthenticated,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                ErrorKind::Unauthenticated,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                ErrorKind::Unauthenticated,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                ErrorKind::Unauthenticated,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                ErrorKind::PermissionDenied,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                ErrorKind::InvalidArgument,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                ErrorKind::Protocol,
            ),
        ] {
            assert_eq!(kind(&of(code, message)), expected, "{message}");
        }
    }

    #[test]
    fn what_a_server_says_is_told_apart_from_the_way_there() {
        assert!(!is_of_transport(&of(Code::Unavailable, "etcdserver: no leader")));
        assert!(is_of_transport(&of(Code::Unavailable, "tcp connect error")));
        assert!(!is_of_transport(&of(Code::PermissionDenied, "")));
    }

    #[test]
    fn a_lease_that_is_gone_is_recognised_in_both_forms() {
        assert!(is_lease_gone(&of(
            Code::NotFound,
            "etcdserver: requested lease not found"
        )));
        assert!(is_lease_gone(&EtcdError::LeaseKeepAliveError(
            "lease not found".into()
        )));
        assert!(!is_lease_gone(&of(Code::Unavailable, "etcdserver: no leader")));
    }
}
