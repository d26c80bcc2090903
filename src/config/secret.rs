//! Secrets: read as text and nothing else, never shown.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// What stands for a secret wherever the configuration is shown.
pub const MASK: &str = "<secret>";

/// A password or token as configured. Neither `Debug` nor serialization shows it.
#[derive(Debug, Clone)]
pub struct Secret(pub SecretString);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Any: a number must arrive as one, to be refused. 0042 read as 42 would be another password.
        deserializer.deserialize_any(Text)
    }
}

struct Text;

const UNQUOTED: &str = "not read as text; put it in quotes (value not shown)";

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a secret in quotes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(SecretString::from(text)))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(UNQUOTED))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(UNQUOTED))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(UNQUOTED))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(UNQUOTED))
    }
}

/// A text with the password of every URL in it masked: `redis://user:<secret>@host`, `unix:///path?pass=<secret>`.
#[must_use]
pub fn mask_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        // The last @ before the next blank or quote: a raw password may hold an @ or a slash of its own.
        let end = after.find([' ', '"', '\n']).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        // A unix socket's password is a parameter, and goes to the end whatever it holds.
        let (authority, parameter) = match authority.split_once("pass=") {
            Some((before, _)) => (before, true),
            None => (authority, false),
        };
        match authority.rsplit_once('@') {
            // The form that messages show has nothing to hide.
            Some(_) if authority.starts_with("[user:password@]") => masked.push_str(authority),
            Some((user, host)) => {
                if let Some((name, _)) = user.split_once(':') {
                    masked.push_str(name);
                    masked.push(':');
                }
                masked.push_str(MASK);
                masked.push('@');
                masked.push_str(host);
            }
            None => masked.push_str(authority),
        }
        if parameter {
            masked.push_str("pass=");
            masked.push_str(MASK);
        }
        rest = tail;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_passwords_and_nothing_else() {
        for (text, shown) in [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:pw@h:1", "redis://:<secret>@h:1"),
            ("redis://user:p/w@x@h", "redis://user:<secret>@h"),
            ("redis://user@h", "redis://<secret>@h"),
            (
                "see \"rediss://u:p@h\" and redis://:q@i",
                "see \"rediss://u:<secret>@h\" and redis://:<secret>@i",
            ),
            ("unix:///run/redis.sock?db=1&pass=a&b@c", "unix:///run/redis.sock?db=1&pass=<secret>"),
            ("expected redis://[user:password@]host", "expected redis://[user:password@]host"),
            ("no url", "no url"),
        ] {
            assert_eq!(mask_urls(text), shown);
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret(SecretString::from("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(serde_json::to_value(&secret).unwrap(), MASK);
    }
}
