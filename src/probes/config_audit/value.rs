//! What an expression is about: values, their types, and why one is missing.
//!
//! Reading them from a server belongs to `facts`; reading a setting's text, to `normal`.

use std::fmt;

use crate::verdict::human;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Any number: bytes, seconds, counts.
    Number(f64),
    /// yes or no.
    Flag(bool),
    /// A word or a sentence.
    Text(String),
    /// Several.
    List(Vec<Value>),
    /// A version: its numbers.
    Version(Vec<u64>),
}

/// What is known of a value before there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A number.
    Number,
    /// yes or no.
    Flag,
    /// Text; may be yes or no as well.
    Text,
    /// A list.
    List,
    /// A version.
    Version,
    /// The server decides.
    Any,
}

/// Why a check has no answer. A closed set; the text beside it is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is so or it is not, and nobody here knows.
    Unknown(Unknown, String),
    /// The question does not arise.
    NotApplicable(Moot, String),
}

/// Why something is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The server refuses the command to this user, or has renamed it away.
    Denied,
    /// It compares with an earlier audit, and there is none.
    FirstAudit,
    /// It is read on the server's machine, and redprobe runs on another.
    Remote,
    /// A file of the machine that cannot be read.
    Unreadable,
    /// The server's answer is not understood.
    Unclear,
}

/// Why a question does not arise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moot {
    /// This version or flavour has no such thing.
    Version,
    /// The server is not set up in a way that it concerns.
    Setup,
}

impl Unknown {
    /// Every reason.
    pub(super) const ALL: [Self; 5] =
        [Self::Denied, Self::FirstAudit, Self::Remote, Self::Unreadable, Self::Unclear];

    /// As reports have it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::FirstAudit => "first_audit",
            Self::Remote => "remote",
            Self::Unreadable => "unreadable",
            Self::Unclear => "unclear",
        }
    }
}

impl Moot {
    /// As reports have it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Setup => "setup",
        }
    }
}

impl Missing {
    /// Something that is not understood.
    pub(super) fn unclear(text: impl Into<String>) -> Self {
        Self::Unknown(Unknown::Unclear, text.into())
    }

    /// Something that this version does not have.
    pub(super) fn version(text: impl Into<String>) -> Self {
        Self::NotApplicable(Moot::Version, text.into())
    }

    /// Something that this server is not set up for.
    pub(super) fn setup(text: impl Into<String>) -> Self {
        Self::NotApplicable(Moot::Setup, text.into())
    }

    /// The weightier of two: what is not known outweighs what does not arise.
    pub(super) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::NotApplicable(..), Self::Unknown(..)) => other,
            _ => self,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(why, text) => write!(f, "unknown ({}): {text}", why.as_str()),
            Self::NotApplicable(why, text) => write!(f, "not applicable ({}): {text}", why.as_str()),
        }
    }
}

impl Value {
    /// Text as a value.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A version such as `7.2.11`: numbers between dots; what follows (`-rc1`, `~deb12`) does not count.
    pub(super) fn version(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers: Option<Vec<u64>> =
            text[..end].trim_end_matches('.').split('.').map(|part| part.parse().ok()).collect();
        numbers.map(Self::Version)
    }

    /// Whether both mean the same: yes is `'yes'`, and text that reads as a version equals one.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Flag(flag), Self::Text(text)) | (Self::Text(text), Self::Flag(flag)) => {
                text == yes_or_no(*flag)
            }
            (Self::Version(_), Self::Text(text)) => Self::version(text).is_some_and(|it| self.same(&it)),
            (Self::Text(_), Self::Version(_)) => other.same(self),
            (Self::Version(a), Self::Version(b)) => compare_versions(a, b).is_eq(),
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            _ => self == other,
        }
    }

    /// Which comes first, where that can be said.
    pub(super) fn order(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Version(a), Self::Version(b)) => Some(compare_versions(a, b)),
            (Self::Version(_), Self::Text(text)) => self.order(&Self::version(text)?),
            (Self::Text(text), Self::Version(_)) => Self::version(text)?.order(other),
            _ => None,
        }
    }
}

/// `7.2` is `7.2.0`.
fn compare_versions(a: &[u64], b: &[u64]) -> std::cmp::Ordering {
    let part = |version: &[u64], index| version.get(index).copied().unwrap_or(0);
    (0..a.len().max(b.len()))
        .map(|index| part(a, index).cmp(&part(b, index)))
        .find(|order| order.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}

/// As redis.conf has it.
pub(super) const fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// For people: words as they are, numbers with commas, an empty text as two quotes.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => f.write_str(&human::value(*number, measure::report::Unit::Count)),
            Self::Flag(flag) => f.write_str(yes_or_no(*flag)),
            Self::Text(text) if text.is_empty() => f.write_str("\"\""),
            Self::Text(text) => f.write_str(text),
            Self::List(values) if values.is_empty() => f.write_str("none"),
            Self::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    let between = if index > 0 { " " } else { "" };
                    write!(f, "{between}{value}")?;
                }
                Ok(())
            }
            Self::Version(numbers) => {
                let parts: Vec<_> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&parts.join("."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        let version = |text: &str| Value::version(text).unwrap();
        assert_eq!(version("7.2.11").order(&version("7.2.9")), Some(Ordering::Greater));
        assert_eq!(version("7.2").order(&version("7.2.0")), Some(Ordering::Equal));
        assert_eq!(version("8.8.0-rc1").order(&Value::text("8.8.0")), Some(Ordering::Equal));
        assert!(version("9.0").same(&Value::text("9.0.0")));
        assert_eq!(Value::version("unstable"), None);
        assert_eq!(Value::version(""), None);
    }

    #[test]
    fn yes_is_a_word_too() {
        assert!(Value::Flag(true).same(&Value::text("yes")));
        assert!(Value::text("no").same(&Value::Flag(false)));
        assert!(!Value::text("everysec").same(&Value::Flag(true)));
    }

    #[test]
    fn what_is_unknown_outweighs_what_does_not_arise() {
        let (unknown, moot) = (Missing::unclear("a"), Missing::version("b"));
        assert_eq!(unknown.clone().or(moot.clone()), unknown);
        assert_eq!(moot.or(unknown.clone()), unknown);
    }

    proptest! {
        #[test]
        fn reading_a_version_never_panics(text in ".{0,20}") {
            let _ = Value::version(&text);
        }

        #[test]
        fn versions_are_ordered_both_ways(a in "[0-9]{1,2}(\\.[0-9]{1,3}){0,3}", b in "[0-9]{1,2}(\\.[0-9]{1,3}){0,3}") {
            let (a, b) = (Value::version(&a).unwrap(), Value::version(&b).unwrap());
            prop_assert_eq!(a.order(&b), b.order(&a).map(Ordering::reverse));
            prop_assert_eq!(a.same(&b), a.order(&b) == Some(Ordering::Equal));
        }
    }
}
