//! The forms a value may have in a file or a variable, each read strictly: a wrong one says what is expected.

use std::{
    fmt,
    marker::PhantomData,
    num::{NonZeroU32, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use crate::{
    client::{Range, WINDOW_MAX},
    context::Propagation,
};

/// The longest duration: a year is as good as for ever, and no clock overflows by it.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const DURATION: &str =
    "a duration such as `30s`, `1m 30s` or `500ms`, or a bare number of seconds, up to 365 days";

/// Something that is written as text and checked by its `FromStr`.
#[derive(Clone, Debug)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T> Deserialize<'de> for Parsed<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(Parsed).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text(PhantomData))
    }
}

/// Yes or no: as TOML has it, or as Consul's variables have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, is_set: bool) -> Result<Flag, E> {
                Ok(Flag(is_set))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Flag, E> {
                match text.to_ascii_lowercase().as_str() {
                    "true" | "t" | "1" => Ok(Flag(true)),
                    "false" | "f" | "0" => Ok(Flag(false)),
                    _ => Err(E::custom(format!("{text:?}, expected true or false"))),
                }
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// A duration: `30s`, or a bare number of seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text
            .starts_with(|first: char| first.is_ascii_digit())
            .then(|| text.parse::<f64>().ok())
            .flatten();
        let duration = match bare {
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            None => humantime::parse_duration(text).ok(),
        };
        duration
            .filter(|duration| *duration <= DURATION_MAX)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no duration, expected {DURATION}"))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(DURATION)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Span, E> {
                seconds.to_string().parse().map_err(E::custom)
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Span, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// A duration that may be `off`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaybeSpan(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for MaybeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = ::config::Value::deserialize(deserializer)?;
        if matches!(&value.kind, ::config::ValueKind::String(text) if text == "off") {
            return Ok(Self(None));
        }
        let Span(duration) =
            Span::deserialize(value).map_err(|error| D::Error::custom(format!("{error}, or `off`")))?;
        Ok(Self(Some(duration)))
    }
}

/// A number of things, at least one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count<T>(pub(super) T);

/// What a [`Count`] may be held in.
pub(super) trait Number: Sized {
    /// The largest that is allowed, where people could come near it.
    const MAX: Option<u32>;

    fn from_count(count: u64) -> Option<Self>;

    /// What is allowed, in words.
    fn allowed() -> String {
        match Self::MAX {
            Some(max) => format!("a whole number from 1 to {max}"),
            None => "a whole number of at least 1".to_owned(),
        }
    }
}

impl Number for u32 {
    const MAX: Option<u32> = Some(u32::MAX);

    fn from_count(count: u64) -> Option<Self> {
        Self::try_from(count)
            .ok()
            .and_then(NonZeroU32::new)
            .map(NonZeroU32::get)
    }
}

impl Number for usize {
    const MAX: Option<u32> = None;

    fn from_count(count: u64) -> Option<Self> {
        Self::try_from(count)
            .ok()
            .and_then(NonZeroUsize::new)
            .map(NonZeroUsize::get)
    }
}

/// The bytes of a window of HTTP/2, of which there may be as many as RFC 9113 allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window(pub(super) u32);

impl Number for Window {
    const MAX: Option<u32> = Some(WINDOW_MAX);

    fn from_count(count: u64) -> Option<Self> {
        let bytes = u32::from_count(count)?;
        (bytes <= WINDOW_MAX).then_some(Self(bytes))
    }
}

impl<'de, T: Number> Deserialize<'de> for Count<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form<T>(PhantomData<T>);
        impl<T: Number> Visitor<'_> for Form<T> {
            type Value = Count<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&T::allowed())
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Count<T>, E> {
                u64::try_from(number)
                    .ok()
                    .and_then(T::from_count)
                    .map(Count)
                    .ok_or_else(|| E::custom(format!("{number} is out of range, expected {}", T::allowed())))
            }
        }
        deserializer.deserialize_any(Form(PhantomData))
    }
}

/// How often something is done again, perhaps never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats(pub(super) u32);

/// More attempts than this are a storm.
const REPEATS_MAX: u32 = 100;

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Repeats;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from 0 to {REPEATS_MAX}")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Repeats, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Repeats, E> {
                let number = text.parse().ok().filter(|number| *number <= REPEATS_MAX);
                number.map(Repeats).ok_or_else(|| {
                    E::custom(format!(
                        "{text:?}, expected a whole number from 0 to {REPEATS_MAX}"
                    ))
                })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// Several texts: an array, or one string with commas.
#[derive(Clone, Debug)]
pub(super) struct List(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings, or one string with commas")
            }

            fn visit_str<E>(self, text: &str) -> Result<List, E> {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(List(parts.map(str::to_owned).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<List, A::Error> {
                let mut list = Vec::new();
                while let Some(Parsed(text)) = values.next_element::<Parsed<String>>()? {
                    list.push(text);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// Keys of metadata that travel on.
#[derive(Clone, Debug)]
pub(super) struct Keys(pub(super) Propagation);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let List(keys) = List::deserialize(deserializer)?;
        Propagation::new(keys.iter().map(String::as_str))
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// Ranges of addresses.
#[derive(Clone, Debug)]
pub(super) struct Ranges(pub(super) Vec<Range>);

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let List(texts) = List::deserialize(deserializer)?;
        let ranges = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        ranges.map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, ms) in [
            ("30s", 30_000),
            ("30", 30_000),
            ("0.5", 500),
            ("0", 0),
            ("1m 30s", 90_000),
            ("500ms", 500),
            ("365d", 365 * 24 * 60 * 60 * 1_000),
        ] {
            let Span(duration) = text.parse().unwrap();
            assert_eq!(duration, Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_what_is_expected() {
        for text in [
            "",
            "abc",
            "-1",
            "-1s",
            "1e400",
            "inf",
            "NaN",
            "30 parsecs",
            "366d",
            "1e10",
            "+5",
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(
                error.contains("expected a duration such as `30s`"),
                "{text}: {error}"
            );
        }
    }
}
