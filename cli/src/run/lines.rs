//! What a node writes, cut into lines.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// The longest line in bytes; a longer one is shown as several.
const LINE_LENGTH_MAX: usize = 64 * 1024;

/// Reads lines from what a process writes, however long and in whatever encoding.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
        }
    }

    /// The next line without its end; `None` when the process closed its side.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok((!line.is_empty()).then_some(line));
            }
            let room = LINE_LENGTH_MAX - line.len();
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(available.len()).min(room);
            line.extend_from_slice(&available[..taken]);
            let is_whole = end == Some(taken);
            self.reader.consume(taken + usize::from(is_whole));
            if is_whole {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            if line.len() == LINE_LENGTH_MAX {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(bytes);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_end_where_they_should() {
        assert_eq!(
            all(b"a\n\r\nb\r\n\xff").await,
            [&b"a"[..], b"", b"b", b"\xff"].map(<[u8]>::to_vec)
        );
        assert!(all(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces() {
        let long = vec![b'x'; LINE_LENGTH_MAX * 2 + 1];
        let lengths: Vec<_> = all(&long).await.iter().map(Vec::len).collect();
        assert_eq!(lengths, [LINE_LENGTH_MAX, LINE_LENGTH_MAX, 1]);
    }
}
