//! The path of a request: read once, and refused rather than normalised.

use std::fmt;

/// The longest path in bytes, as it was sent.
const LENGTH_MAX: usize = 512;
/// The longest part of a path, decoded.
const PART_LENGTH_MAX: usize = 128;

/// What a path asks for, by Go Micro's rule: `/service/type/method`, or `/service/method` of the type that is called
/// like the service. The parts are letters, digits, `.`, `_` and `-`; whether there is anything of their name is another
/// question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) service: String,
    /// Nothing where the path has two parts.
    pub(crate) kind: Option<String>,
    pub(crate) method: String,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    TooLong,
    /// It has a part too few or too many.
    Parts,
    /// A part is empty, too long, or begins or ends with a mark, or has two dots in a row.
    Part,
    /// A character that is not allowed, in whatever way it was written; a second layer of encoding is one.
    Character,
    /// `%` without two hexadecimal digits.
    Encoding,
}

impl Path {
    /// Reads the path of a request target as it was sent, without query.
    pub(crate) fn parse(raw: &str) -> Result<Self, PathError> {
        if raw.len() > LENGTH_MAX {
            return Err(PathError::TooLong);
        }
        let mut parts = raw.strip_prefix('/').ok_or(PathError::Parts)?.split('/');
        let mut next = || parts.next().map(part).transpose();
        let service = next()?.ok_or(PathError::Parts)?;
        let second = next()?.ok_or(PathError::Parts)?;
        let third = next()?;
        if next()?.is_some() {
            return Err(PathError::Parts);
        }
        Ok(match third {
            Some(method) => Self {
                service,
                kind: Some(second),
                method,
            },
            None => Self {
                service,
                kind: None,
                method: second,
            },
        })
    }
}

/// One part, decoded once. What is then not a plain name, such as a second `%`, is refused.
fn part(raw: &str) -> Result<String, PathError> {
    let (mut decoded, mut has_two_dots) = (String::with_capacity(raw.len()), false);
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            plain => plain,
        };
        if !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b'_' | b'-') {
            return Err(PathError::Character);
        }
        has_two_dots |= byte == b'.' && decoded.ends_with('.');
        decoded.push(char::from(byte));
    }
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = decoded.as_bytes();
    let is_name = is_letter(bytes.first()) && is_letter(bytes.last()) && !has_two_dots;
    if is_name && decoded.len() <= PART_LENGTH_MAX {
        Ok(decoded)
    } else {
        Err(PathError::Part)
    }
}

fn hex(digit: Option<u8>) -> Result<u8, PathError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(PathError::Encoding),
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::TooLong => return write!(f, "the path is longer than {LENGTH_MAX} bytes"),
            Self::Parts => "the path does not have two or three parts",
            Self::Part => "a part of the path is no name",
            Self::Character => "the path has a character that is not allowed",
            Self::Encoding => "the path has a `%` without two hexadecimal digits",
        };
        write!(
            f,
            "{reason}; expected is `/service/type/method`, of letters, digits, `.`, `_` and `-`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &str) -> (String, Option<String>, String) {
        let path = Path::parse(raw).unwrap();
        (path.service, path.kind, path.method)
    }

    fn three(service: &str, kind: &str, method: &str) -> (String, Option<String>, String) {
        (service.to_owned(), Some(kind.to_owned()), method.to_owned())
    }

    #[test]
    fn three_parts_and_two_are_read() {
        assert_eq!(parsed("/greeter/say/hello"), three("greeter", "say", "hello"));
        assert_eq!(
            parsed("/shop.orders-v2/greeter.v1.Say/Hello"),
            three("shop.orders-v2", "greeter.v1.Say", "Hello")
        );
        assert_eq!(
            parsed("/greeter/hello"),
            ("greeter".to_owned(), None, "hello".to_owned())
        );
    }

    #[test]
    fn encoding_is_undone_once() {
        assert_eq!(
            parsed("/gr%65eter/%73ay/hell%6F"),
            three("greeter", "say", "hello")
        );
        assert_eq!(Path::parse("/greeter/%2573ay/hello"), Err(PathError::Character));
        assert_eq!(Path::parse("/greeter%2Fsay/hello/x"), Err(PathError::Character));
        for raw in ["/a/b/%", "/a/b/%4", "/a/b/%g0", "/a/b/%+1"] {
            assert_eq!(Path::parse(raw), Err(PathError::Encoding), "{raw}");
        }
    }

    #[test]
    fn what_would_have_to_be_normalised_is_refused() {
        for raw in [
            "/a//b",
            "//a/b",
            "/a/b/",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/b..c/d",
            "/a/.b/c",
            "/a/b/c-",
        ] {
            assert_eq!(Path::parse(raw), Err(PathError::Part), "{raw}");
        }
        for raw in ["", "/", "a/b/c", "/a", "/a/b/c/d", "*"] {
            assert!(Path::parse(raw).is_err(), "{raw}");
        }
        for raw in [
            "/a/b;c/d",
            "/a/b%00/d",
            "/a/b\\c/d",
            "/a/b%0d%0a/d",
            "/a/b@c/d",
            "/a/é/d",
            "/a/b+c/d",
        ] {
            assert_eq!(Path::parse(raw), Err(PathError::Character), "{raw}");
        }
    }

    #[test]
    fn lengths_are_limited() {
        let long = |length| format!("/a/b/{}", "c".repeat(length));
        assert!(Path::parse(&long(PART_LENGTH_MAX)).is_ok());
        assert_eq!(Path::parse(&long(PART_LENGTH_MAX + 1)), Err(PathError::Part));
        assert_eq!(Path::parse(&long(LENGTH_MAX)), Err(PathError::TooLong));
    }
}
