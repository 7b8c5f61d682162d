//! The path of a request for a method with a path of its own: read once, and refused rather than normalised.

/// The longest path in bytes, as it was sent.
const LENGTH_MAX: usize = 2048;
/// The most segments of a path.
const SEGMENTS_MAX: usize = 64;
/// The longest segment, decoded.
pub(crate) const SEGMENT_LENGTH_MAX: usize = 256;
/// What may stand in a value besides letters and digits; nothing that anybody behind could read as the end of a segment.
const MARKS: &str = "-_.~!$&'()*+,=:@ ";

/// A path in its segments, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    pub(crate) parts: Vec<String>,
    /// The last segment in two, where it has a `:` that was sent as such: what is before it, and the verb.
    pub(crate) verb: Option<(String, String)>,
}

impl Segments {
    /// Reads the path of a request target as it was sent, without query; nothing where it is not sound.
    pub(crate) fn parse(raw: &str) -> Option<Self> {
        if raw.len() > LENGTH_MAX {
            return None;
        }
        let raw = raw.strip_prefix('/')?;
        let parts = raw.split('/').map(decode).collect::<Option<Vec<_>>>()?;
        if parts.len() > SEGMENTS_MAX {
            return None;
        }
        let last = raw.rsplit('/').next()?;
        let verb = match last.rsplit_once(':') {
            Some((before, verb)) if !before.is_empty() && !verb.is_empty() => {
                Some((decode(before)?, decode(verb)?))
            }
            _ => None,
        };
        Some(Self { parts, verb })
    }
}

/// One segment, decoded once. What is then empty, leads elsewhere or has what is no part of a value is refused.
fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    let decoded = String::from_utf8(bytes).ok()?;
    let is_value = |letter: char| letter.is_alphanumeric() || MARKS.contains(letter);
    let is_sound = !decoded.is_empty()
        && decoded.len() <= SEGMENT_LENGTH_MAX
        && !matches!(decoded.trim(), "" | "." | "..")
        && decoded.chars().all(is_value);
    is_sound.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> Vec<String> {
        Segments::parse(raw).unwrap().parts
    }

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(parts("/v1/b%6Foks/A%20d%C3%A4"), ["v1", "books", "A dä"]);
        assert_eq!(parts("/a/b+c"), ["a", "b+c"]);
    }

    #[test]
    fn a_verb_is_what_was_sent_with_a_colon_of_its_own() {
        let verb = |raw: &str| Segments::parse(raw).unwrap().verb;
        let both = |before: &str, verb: &str| Some((before.to_owned(), verb.to_owned()));
        assert_eq!(verb("/v1/books/7:archive"), both("7", "archive"));
        assert_eq!(verb("/v1/a:b:c"), both("a:b", "c"));
        for raw in ["/v1/books/7%3Aarchive", "/v1:a/b", "/v1/:a", "/v1/a:"] {
            assert_eq!(verb(raw), None, "{raw}");
        }
    }

    #[test]
    fn what_would_have_to_be_normalised_or_could_be_read_in_two_ways_is_refused() {
        for raw in [
            "",
            "a",
            "/",
            "/a/",
            "//a",
            "/a//b",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/.%20/b",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a/%252e",
            "/a/%25",
            "/a/b%00",
            "/a/b;c",
            "/a/b%3Bc",
            "/a/b%0d%0a",
            "/a/%",
            "/a/%4",
            "/a/%g0",
            "/a/%ff",
            "/a/%c0%ae",
            "/a/b?c",
            "/a/b%23",
            "/a/%ef%bc%8f",
            "/a/%e2%80%ae",
            "/a/%20",
            "/a/<b>",
        ] {
            assert_eq!(Segments::parse(raw), None, "{raw}");
        }
        assert_eq!(Segments::parse(&format!("/{}", "a".repeat(257))), None);
        assert_eq!(Segments::parse(&"/a".repeat(65)), None);
    }
}
