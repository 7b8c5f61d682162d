//! Follows the requests of an HTTP/1 connection, for ends of lines that two programs read in two ways.
//!
//! hyper takes a line feed alone for the end of a line, and what stands before this server may not: then it has let a
//! header or a whole request through that it never saw. RFC 9112 (§2.2) leaves it open; nobody needs it.

use std::mem;

/// How much of a line is looked at; headers that matter here are shorter.
const LINE_MAX: usize = 128;

/// Where in its requests a connection is.
#[derive(Debug)]
pub(super) struct Heads {
    state: State,
    /// What has come of a line that goes on: its first bytes, and of those that are too many the last.
    begun: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request line, or within it.
    Start,
    Headers,
    /// A body, or a chunk, of which so much is to come.
    Data {
        left: u64,
        chunked: bool,
    },
    /// The line with the size of a chunk.
    Size,
    /// The end of a chunk's data.
    DataEnd,
    Trailers,
    /// What follows cannot be told: hyper refuses such a request, or it was spoilt here.
    Lost,
}

/// How the body of the present request ends.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    is_unclear: bool,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            begun: Vec::new(),
            framing: Framing::default(),
        }
    }

    /// Takes notice of what was read. A line feed that ends a line alone, or one too long to tell what it says of the body,
    /// becomes what no line may have, so that the request is refused, and nothing that follows is read as one.
    pub(super) fn read(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Lost => return,
                State::Data { left, chunked } => {
                    let skipped = left.min((bytes.len() - at) as u64);
                    at += usize::try_from(skipped).unwrap_or(usize::MAX);
                    self.state = match (left - skipped, chunked) {
                        (0, true) => State::DataEnd,
                        (0, false) => State::Start,
                        (left, chunked) => State::Data { left, chunked },
                    };
                }
                _ => {
                    let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
                        keep(&mut self.begun, &bytes[at..]);
                        return;
                    };
                    let end = at + length;
                    if !self.may_end_with(&bytes[at..end]) {
                        bytes[end] = 0;
                        self.state = State::Lost;
                    }
                    at = end + 1;
                }
            }
        }
    }

    /// Whether a line feed may follow `rest`, which is all of its line or the last part.
    fn may_end_with(&mut self, rest: &[u8]) -> bool {
        if self.begun.is_empty() {
            return self.line(rest);
        }
        let mut line = mem::take(&mut self.begun);
        keep(&mut line, rest);
        self.line(&line)
    }

    fn line(&mut self, line: &[u8]) -> bool {
        let Some((b'\r', text)) = line.split_last() else {
            return false;
        };
        let is_cut = line.len() > LINE_MAX;
        let text = &text[..text.len().min(LINE_MAX)];
        self.state = match (self.state, text) {
            // Empty lines before a request are nothing.
            (State::Start, b"") => State::Start,
            (State::Start, _) => {
                self.framing = Framing::default();
                State::Headers
            }
            (State::Headers, b"") => self.framing.body(),
            (State::Headers, _) if self.framing.see(text) && is_cut => return false,
            (State::Headers, _) => State::Headers,
            // The rest of the digits may be in what was cut.
            (State::Size, _) if is_cut && !text.contains(&b';') => return false,
            (State::Size, _) => match size(text) {
                Some(0) => State::Trailers,
                Some(left) => State::Data { left, chunked: true },
                None => State::Lost,
            },
            (State::DataEnd, b"") => State::Size,
            (State::Trailers, b"") => State::Start,
            (State::Trailers, _) => State::Trailers,
            _ => State::Lost,
        };
        true
    }
}

/// Keeps of a line that goes on what is looked at, and the last byte, which tells how the line ends.
fn keep(line: &mut Vec<u8>, piece: &[u8]) {
    if piece.is_empty() {
        return;
    }
    line.truncate(LINE_MAX);
    let (kept, cut) = piece.split_at(piece.len().min(LINE_MAX - line.len()));
    line.extend_from_slice(kept);
    line.extend(cut.last());
}

impl Framing {
    /// Takes notice of a header: whether it tells how the body ends.
    fn see(&mut self, line: &[u8]) -> bool {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            return false;
        };
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            self.is_unclear |= length.is_none() || self.length.is_some_and(|known| Some(known) != length);
            self.length = length;
            return true;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            self.is_unclear |= self.is_chunked || !is_chunked;
            self.is_chunked = is_chunked;
            return true;
        }
        false
    }

    /// What follows the head.
    fn body(&self) -> State {
        match (self.is_unclear, self.is_chunked, self.length) {
            (true, ..) => State::Lost,
            (false, true, _) => State::Size,
            (false, false, Some(left @ 1..)) => State::Data { left, chunked: false },
            (false, false, _) => State::Start,
        }
    }
}

/// The size of a chunk, which extensions may follow.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(str::from_utf8(digits).ok().filter(|_| is_hex)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of these bytes, in pieces of every size.
    fn read(text: &str) -> Vec<u8> {
        let mut whole = text.as_bytes().to_vec();
        Heads::new().read(&mut whole);
        for size in 1..text.len() {
            let mut pieces = text.as_bytes().to_vec();
            let mut heads = Heads::new();
            pieces.chunks_mut(size).for_each(|piece| heads.read(piece));
            assert_eq!(pieces, whole, "pieces of {size}");
        }
        whole
    }

    #[test]
    fn what_ends_its_lines_as_it_should_is_left_alone() {
        let long = format!(
            "GET /{} HTTP/1.1\r\nx-{}: b\r\n\r\n",
            "a".repeat(500),
            "c".repeat(500)
        );
        for text in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\na\n\nb\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0\r\na: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            &long,
        ] {
            assert_eq!(read(text), text.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_line_feed_alone_is_spoilt_wherever_it_ends_a_line() {
        for (text, at) in [
            ("GET / HTTP/1.1\nhost: a\r\n\r\n", 14),
            ("\nGET / HTTP/1.1\r\n\r\n", 0),
            ("GET / HTTP/1.1\r\na: b\ncontent-length: 3\r\n\r\n", 20),
            ("GET / HTTP/1.1\r\na: b\r\n\n", 22),
            (
                "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}GET / HTTP/1.1\n\r\n",
                54,
            ),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\na", 48),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\n0",
                51,
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\n\r\n",
                54,
            ),
        ] {
            let mut expected = text.as_bytes().to_vec();
            assert_eq!(expected[at], b'\n', "{text}");
            expected[at] = 0;
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_line_too_long_to_tell_how_the_body_ends_is_spoilt() {
        let (blanks, zeros) = (" ".repeat(LINE_MAX), "0".repeat(LINE_MAX));
        for (text, spoilt) in [
            (format!("POST / HTTP/1.1\r\ncontent-length:{blanks}1\r\n\r\na"), 2),
            (
                format!("POST / HTTP/1.1\r\ntransfer-encoding:{blanks}chunked\r\n\r\n0"),
                2,
            ),
            (
                format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{zeros}1\r\na"),
                4,
            ),
        ] {
            let at = text.match_indices('\n').nth(spoilt - 1).unwrap().0;
            let mut expected = text.as_bytes().to_vec();
            expected[at] = 0;
            assert_eq!(read(&text), expected, "{text}");
        }
        let long =
            format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;x={zeros}\r\n\n\r\n0\r\n\r\n");
        assert_eq!(read(&long), long.as_bytes());
    }

    #[test]
    fn a_request_whose_end_is_unclear_is_left_to_those_who_refuse_it() {
        for header in [
            "content-length: 2\r\ncontent-length: 3",
            "content-length: 2, 2",
            "content-length: -1",
            "transfer-encoding: gzip",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            let text = format!("POST / HTTP/1.1\r\n{header}\r\n\r\na\nb\nc");
            assert_eq!(read(&text), text.as_bytes(), "{header}");
        }
    }
}
