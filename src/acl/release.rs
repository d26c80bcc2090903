//! Which server a rule is for: a rule with a command that the server does not know is refused as a whole.
//!
//! A version and what it knows. What a version says of a server's support or its gaps does not belong here.

use std::{fmt, str::FromStr};

use measure::{
    Grant,
    facts::{Flavour, ServerFacts},
    grant::OLDEST,
};

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which program.
    pub flavour: Flavour,
    /// Its own version, as it was given.
    pub version: String,
    /// The version of Redis whose commands it has at the least.
    level: (u16, u16),
}

/// What a rule is for where nobody says otherwise.
const CURRENT: (u16, u16) = (8, 0);
/// What Valkey began from.
const VALKEY: (u16, u16) = (7, 2);

impl Release {
    /// A current Redis.
    #[must_use]
    pub fn current() -> Self {
        Self { flavour: Flavour::Redis, version: format!("{}.{}", CURRENT.0, CURRENT.1), level: CURRENT }
    }

    /// What a server says that it is; `None` where its version is none.
    #[must_use]
    pub fn of(server: &ServerFacts) -> Option<Self> {
        Self::new(server.flavour, &server.version)
    }

    /// Whether it has this command.
    #[must_use]
    pub fn knows(&self, grant: &Grant) -> bool {
        grant.since <= self.level
    }

    /// Whether its `COMMAND INFO` tells subcommands apart.
    #[must_use]
    pub fn tells_subcommands(&self) -> bool {
        self.level >= (7, 0)
    }

    /// Why its rule may not be quite right, where it may not.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        if matches!(self.flavour, Flavour::Keydb | Flavour::Dragonfly) {
            return Some(format!(
                "{self} is not Redis: the rule is one for Redis 6.2, and was not tried there"
            ));
        }
        (self.level < OLDEST).then(|| format!("{self} is older than 6.2, which the rule is for"))
    }

    fn new(flavour: Flavour, version: &str) -> Option<Self> {
        let mut parts = version.split('.').map(|part| part.parse().ok());
        let major = parts.next()??;
        let own = (major, parts.next().flatten().unwrap_or(0));
        let level = match flavour {
            Flavour::Redis => own,
            Flavour::Valkey => VALKEY,
            Flavour::Keydb | Flavour::Dragonfly => OLDEST,
        };
        Some(Self { flavour, version: version.to_owned(), level })
    }
}

impl FromStr for Release {
    type Err = String;

    /// `7.2`, `redis 7.2.4`, `valkey 8.1` or `valkey-8.1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let (flavour, version) = match lower.split_once([' ', '-']) {
            None => (Some(Flavour::Redis), lower.as_str()),
            Some((name, version)) => (flavour(name), version.trim()),
        };
        let wrong = || format!("{text:?} is no version of a server; write one such as 7.2 or \"valkey 8.1\"");
        let release = Self::new(flavour.ok_or_else(wrong)?, version).ok_or_else(wrong)?;
        let whole = version.split('.').all(|part| part.parse::<u16>().is_ok());
        if whole { Ok(release) } else { Err(wrong()) }
    }
}

fn flavour(name: &str) -> Option<Flavour> {
    Some(match name {
        "redis" => Flavour::Redis,
        "valkey" => Flavour::Valkey,
        "keydb" => Flavour::Keydb,
        "dragonfly" => Flavour::Dragonfly,
        _ => return None,
    })
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.flavour {
            Flavour::Redis => "Redis",
            Flavour::Valkey => "Valkey",
            Flavour::Keydb => "KeyDB",
            Flavour::Dragonfly => "Dragonfly",
        };
        write!(f, "{name} {}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, shown, level) in [
            ("7.2", "Redis 7.2", (7, 2)),
            ("redis 6.2.14", "Redis 6.2.14", (6, 2)),
            ("8", "Redis 8", (8, 0)),
            ("Valkey 8.1", "Valkey 8.1", (7, 2)),
            ("valkey-9.0.1", "Valkey 9.0.1", (7, 2)),
            ("keydb 6.3", "KeyDB 6.3", (6, 2)),
        ] {
            let release: Release = text.parse().unwrap();
            assert_eq!((release.to_string().as_str(), release.level), (shown, level), "{text}");
        }
        for text in ["", "seven", "7.x", "garnet 1.0", "redis", "7..2", "-7"] {
            let message = text.parse::<Release>().unwrap_err();
            assert!(message.contains("write one such as"), "{text}: {message}");
        }
    }

    #[test]
    fn knows_what_came_before_it() {
        let knows = |text: &str, since: (u16, u16)| {
            let grant = Grant::observe("x", "", "test").since(since.0, since.1);
            text.parse::<Release>().unwrap().knows(&grant)
        };
        assert!(knows("7.0", (7, 0)) && knows("10.0", (8, 2)) && knows("valkey 9.0", (7, 2)));
        assert!(!knows("6.2", (7, 0)) && !knows("7.9", (8, 0)) && !knows("valkey 9.0", (7, 4)));
    }
}
