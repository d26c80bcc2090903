//! Settings as data: a struct with defaults and documentation in one declaration, and the units that values have.
//!
//! Used by the probes and by the configuration's own sections. Reading files belongs to `raw`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

// What a probe may know of its target's configuration beside its own settings.
pub use super::plan::Profile;
pub(crate) use super::suggest::nearest;

pub mod clients;

/// A settings struct that knows its documentation.
pub trait Documented {
    /// Name and documentation of each setting, in order.
    const DOCS: &'static [(&'static str, &'static str)];
}

/// Declares a settings struct: each field with documentation, type and default. Unknown keys are errors.
#[macro_export]
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident : $type:ty = $default:expr,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self { Self { $($field: $default,)* } }
        }

        impl $crate::config::settings::Documented for $name {
            const DOCS: &'static [(&'static str, &'static str)] =
                &[$(($crate::config::settings::plain(stringify!($field)), concat!($($doc, "\n"),+)),)*];
        }
    };
}

/// The name of a field as serde has it: without the `r#` of one that is a word of the language.
#[must_use]
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Text, or a number as text: `max_bytes = 1024` has no quotes, and `timeout = 30` gets the message of its own type.
pub(super) fn text_or_number<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<String, D::Error> {
    struct Text(&'static str);

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_u64<E>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }

    deserializer.deserialize_any(Text(expected))
}

/// A duration as the configuration writes it: `"500ms"`, `"30s"`, `"1h 30m"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Whole seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The shorter of it and 5 s, for `--quick`.
    #[must_use]
    pub fn quick(self) -> Self {
        self.min(Self::secs(5))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_or_number(deserializer, "a duration such as \"30s\"")?;
        humantime::parse_duration(text.trim()).map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is no duration; write a number and its unit, such as \"500ms\", \"30s\" or \"5m\""
            ))
        })
    }
}

/// A size as redis.conf writes it: `"1k"` is 1,000 bytes, `"1kb"` 1,024; likewise m, mb, g, gb; case does not matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("gb", 1 << 30),
    ("mb", 1 << 20),
    ("kb", 1 << 10),
    ("g", 1_000_000_000),
    ("m", 1_000_000),
    ("k", 1_000),
    ("b", 1),
];

impl Size {
    /// Reads a size.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), *factor)))
            .unwrap_or((text.as_str(), 1));
        digits.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS[..3]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .map_or(("B", 1), |(unit, factor)| (*unit, *factor));
        write!(f, "{}{}", self.0 / factor, unit.to_ascii_uppercase())
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_or_number(deserializer, "a size such as \"50MB\"")?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is no size; write a whole number and a unit as redis.conf does, such as \"128B\", \"50MB\" or \"2gb\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_in_redis_conf_units() {
        for (text, bytes) in [
            ("2gb", 2_147_483_648),
            ("2g", 2_000_000_000),
            ("50MB", 52_428_800),
            ("128B", 128),
            ("7", 7),
            ("1 kb", 1_024),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "mb", "-1", "1.5gb", "1tb", "99999999999gb"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn size_reads_what_it_writes(bytes in any::<u64>()) {
            prop_assert_eq!(Size::parse(&Size(bytes).to_string()), Some(Size(bytes)));
        }

        #[test]
        fn size_never_panics(text in ".{0,12}") {
            let _ = Size::parse(&text);
        }
    }
}
