//! One fact as a tag: a letter, a mark, and what it says, compressed and in hexadecimal.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use micro_registry::{Error, ErrorKind, Result};
use miniz_oxide::inflate::{
    TINFLStatus as Status,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

/// The most bytes that all facts of one record may have together once they are decompressed; read are as many again of
/// methods.
pub(super) const FACTS_LENGTH_MAX: usize = 2 * 1024 * 1024;
/// The most bytes of one fact: 256 pairs of 4 KiB, as a node may have them, and some more. Go Micro writes each pair, and each
/// method, as a fact of its own.
const FACT_LENGTH_MAX: usize = 1280 * 1024;
/// The low four bits of the first byte of what zlib wrote: the one method there is (RFC 1950 §2.2).
const ZLIB_METHOD: u8 = 8;
/// It is zlib's format, and all of what comes out stands in one piece: so there need be no window of 32 KiB, whose making
/// takes longer than reading a tag.
const INFLATE_FLAGS: u32 = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
/// The first guess at the length of what a tag says.
const PAYLOAD_LENGTH: usize = 256;
/// By how much the guess grows. From a megabyte to the most there may be is one step.
const PAYLOAD_GROWTH: usize = 4;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The text of a version.
    Version,
    /// One pair of metadata as JSON.
    Metadata,
    /// One method as JSON.
    Endpoint,
}

/// What was read from a tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
    /// Whether it was certainly meant as a fact: zlib's checksum is right.
    pub(super) checked: bool,
}

/// The tag that says `payload`.
pub(super) fn write(kind: Kind, payload: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(payload).and_then(|()| encoder.finish());
    let packed = packed.expect("a vector takes every byte");
    let mut tag = String::with_capacity(2 + 2 * packed.len());
    tag.push(kind.letter());
    tag.push('-');
    for byte in packed {
        for digit in [byte >> 4, byte & 0xf] {
            tag.push(char::from_digit(digit.into(), 16).expect("four bits are one digit"));
        }
    }
    tag
}

/// Reads the tags of one record.
pub(super) struct Reader {
    /// How many bytes they may still have together once they are decompressed.
    room: usize,
    /// Made once for all of them.
    inflater: DecompressorOxide,
}

impl Reader {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            inflater: DecompressorOxide::new(),
        }
    }

    /// The fact that `tag` says; `None` for a tag of somebody else's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] when it decompresses to more than there is room for, or than a fact may have.
    pub(super) fn read(&mut self, tag: &str) -> Result<Option<Fact>> {
        let mut characters = tag.chars();
        let Some(kind) = characters.next().and_then(Kind::of) else {
            return Ok(None);
        };
        let mark = characters.next();
        let text = characters.as_str();
        let fact = match mark {
            Some('-') => self.unpack(text)?.map(|payload| (payload, true)),
            // Very old versions of Go Micro did not compress.
            Some('=') if text.len() <= self.room => Some((text.as_bytes().to_vec(), false)),
            _ => None,
        };
        Ok(fact.map(|(payload, checked)| {
            self.room -= payload.len();
            Fact {
                kind,
                payload,
                checked,
            }
        }))
    }

    /// What stands compressed in `hex`, if zlib wrote it and it arrived whole.
    fn unpack(&mut self, hex: &str) -> Result<Option<Vec<u8>>> {
        let Some(packed) = bytes_of(hex) else {
            return Ok(None);
        };
        let [method, flags, ..] = packed[..] else {
            return Ok(None);
        };
        let is_zlib = method & 0xf == ZLIB_METHOD && u16::from_be_bytes([method, flags]).is_multiple_of(31);
        if !is_zlib {
            return Ok(None);
        }
        // One byte more than there is room for tells what is too long from what just fits.
        let room = self.room.min(FACT_LENGTH_MAX);
        let most = room.saturating_add(1);
        let mut payload = vec![0; PAYLOAD_LENGTH.min(most)];
        let (mut rest, mut length) = (&packed[..], 0);
        self.inflater.init();
        loop {
            let inflater = &mut self.inflater;
            let (status, read, written) = decompress(inflater, rest, &mut payload, length, INFLATE_FLAGS);
            rest = &rest[read..];
            length += written;
            if length > room {
                let message = format!(
                    "unpack the tags: they have more than {FACTS_LENGTH_MAX} bytes, or one has more than {FACT_LENGTH_MAX}"
                );
                return Err(Error::new(ErrorKind::Protocol, message));
            }
            match status {
                Status::Done => {
                    payload.truncate(length);
                    return Ok(Some(payload));
                }
                Status::HasMoreOutput if length == payload.len() => {
                    let more = length.saturating_mul(PAYLOAD_GROWTH).min(most);
                    payload.reserve_exact(more - length);
                    payload.resize(more, 0);
                }
                // It is cut short, or damaged.
                _ => return Ok(None),
            }
        }
    }
}

/// Whether `tag` begins as a fact does, so that nobody can use it for something else.
pub(super) fn is_reserved(tag: &str) -> bool {
    let mut characters = tag.chars();
    characters.next().and_then(Kind::of).is_some() && matches!(characters.next(), Some('-' | '='))
}

impl Kind {
    /// What `tag` would be about, if it is a fact.
    pub(super) fn of_tag(tag: &str) -> Option<Self> {
        tag.chars().next().and_then(Self::of)
    }

    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'v' => Self::Version,
            't' => Self::Metadata,
            'e' => Self::Endpoint,
            _ => return None,
        })
    }

    fn letter(self) -> char {
        match self {
            Self::Version => 'v',
            Self::Metadata => 't',
            Self::Endpoint => 'e',
        }
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    hex.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Golden: what Go Micro itself wrote.
    const GOLDEN: [(&str, Kind, &str); 5] = [
        ("v-789cca492c492d2e01040000ffff08cc028e", Kind::Version, "latest"),
        ("v-789c32d433d03300040000ffff02ce00ee", Kind::Version, "1.0.0"),
        (
            "t-789caa562a28ca2fc94fcecf51b2524a2f2a4856aa05040000ffff468306d9",
            Kind::Metadata,
            r#"{"protocol":"grpc"}"#,
        ),
        (
            "t-789caa562a4a4dcf2c2e29aa54b2524acecf2b2ecd51aa05040000ffff560f07c8",
            Kind::Metadata,
            r#"{"registry":"consul"}"#,
        ),
        (
            "e-789c8c8d410a02311004ffd2e7e003f2013d7b150f019b459864d7998920217f17640dbb78f1d45054530dca47a539624349998838af24c05fcb1e3c93541ae265c89f19a6b9decbb4114b15e9d71ea0b4652ec65d67459bd020bfa56cd33fa14c4fb7e409b1f5f0fd1e9574eae1449119fd1d0000ffff2aca537b",
            Kind::Endpoint,
            r#"{"request":{"name":"Request","type":"Request","values":[{"name":"name","type":"string","values":null}]},"response":{"name":"Response","type":"Response","values":[{"name":"msg","type":"string","values":null}]},"metadata":{},"name":"Greeter.Hello"}"#,
        ),
    ];

    fn fact(tag: &str) -> Option<(Kind, String)> {
        let fact = Reader::new(FACTS_LENGTH_MAX).read(tag).unwrap()?;
        Some((fact.kind, String::from_utf8(fact.payload).unwrap()))
    }

    #[test]
    fn what_go_micro_wrote_is_read() {
        for (tag, kind, text) in GOLDEN {
            assert_eq!(fact(tag), Some((kind, text.to_owned())), "{tag}");
            assert_eq!(fact(&tag.replacen("789c", "789C", 1)), fact(tag));
        }
    }

    #[test]
    fn what_we_write_says_the_same_as_what_go_micro_wrote() {
        for (_, kind, text) in GOLDEN {
            let tag = write(kind, text.as_bytes());
            assert_eq!(fact(&tag), Some((kind, text.to_owned())), "{tag}");
            assert!(is_reserved(&tag));
        }
    }

    #[test]
    fn what_very_old_versions_wrote_is_read() {
        assert_eq!(fact("v=1.0.0"), Some((Kind::Version, "1.0.0".to_owned())));
        assert_eq!(fact("t={}"), Some((Kind::Metadata, "{}".to_owned())));
    }

    #[test]
    fn tags_of_others_are_no_facts() {
        let (golden, ..) = GOLDEN[0];
        let (cut, damaged) = (
            &golden[..golden.len() - 2],
            golden.replace("08cc028e", "08cc028f"),
        );
        for tag in [
            "",
            "v",
            "v-",
            "v-7",
            "v-78",
            "v-789c",
            "v-2.0",
            "e-commerce",
            "é-789c",
            "blue",
            "x-789c",
            "t-abcd",
            cut,
            &damaged,
        ] {
            assert_eq!(fact(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_bomb_takes_no_more_than_there_is_room_for() {
        let bomb = write(Kind::Metadata, &vec![b' '; FACTS_LENGTH_MAX + 1]);
        assert!(bomb.len() < FACTS_LENGTH_MAX / 100);
        let mut reader = Reader::new(FACTS_LENGTH_MAX);
        assert_eq!(reader.read(&bomb).unwrap_err().kind(), ErrorKind::Protocol);
        let long = write(Kind::Metadata, &vec![b' '; FACT_LENGTH_MAX + 1]);
        assert_eq!(reader.read(&long).unwrap_err().kind(), ErrorKind::Protocol);
        let half = write(Kind::Metadata, &vec![b' '; FACTS_LENGTH_MAX / 2 + 1]);
        assert!(reader.read(&half).unwrap().is_some());
        assert!(reader.read(&half).is_err());
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,300}") {
            prop_assert_eq!(fact(&write(Kind::Version, text.as_bytes())), Some((Kind::Version, text)));
        }

        #[test]
        fn no_tag_makes_reading_panic_or_take_more_than_its_room(
            start in "[vte][-=](78(01|5e|9c|da))?", bytes in prop::collection::vec(any::<u8>(), 0..200), room in 0_usize..50,
        ) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut reader = Reader::new(room);
            if let Ok(Some(fact)) = reader.read(&(start + &hex)) {
                prop_assert_eq!(fact.payload.len(), room - reader.room);
            }
        }
    }
}
