//! Which versions still get fixes, and which have which: dated tables, read from `catalogue/versions.toml`.
//!
//! A line is `major.minor`. What follows from the tables for a server is said by the rows of the catalogue.

use std::{collections::BTreeMap, sync::LazyLock};

use measure::facts::Flavour;
use serde::Deserialize;

use super::value::{Missing, Value};

/// The tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    /// When all of this was looked up, as `2026-08-21`.
    as_of: String,
    support: Vec<Support>,
    hole: BTreeMap<String, Hole>,
}

/// How long the lines of one server are supported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Support {
    server: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the file; a test holds it to its form"))]
    source: String,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    line: String,
    /// The last day with fixes.
    until: Option<String>,
    /// No longer listed by its makers.
    #[serde(default)]
    ended: bool,
}

/// One hole, or several that were closed together: per line the first release without it, `none`, or `unaffected`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hole {
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the file; a test holds it to its form"))]
    cves: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the file; a test holds it to its form"))]
    sources: Vec<String>,
    #[serde(default)]
    redis: BTreeMap<String, String>,
    #[serde(default)]
    valkey: BTreeMap<String, String>,
}

const TEXT: &str = include_str!("catalogue/versions.toml");

static TABLES: LazyLock<Result<Tables, String>> =
    LazyLock::new(|| toml::from_str(TEXT).map_err(|error: toml::de::Error| error.to_string()));

/// Days of support that a line is given whose end is not announced.
const NO_END: f64 = 36_500.0;
const DAY: f64 = 86_400.0;

/// Whether a hole of this name is in the tables.
pub(super) fn knows(hole: &str) -> bool {
    TABLES.as_ref().is_ok_and(|tables| tables.hole.contains_key(hole))
}

/// What the tables say of the server's line at `now`, a unix time: days of support left (negative where it is over),
/// and the same in words.
///
/// # Errors
/// Where the tables do not have the line.
pub(super) fn support(flavour: Flavour, version: &[u64], now: f64) -> Result<(f64, String), Missing> {
    TABLES.as_ref().map_err(|error| Missing::unclear(error.clone()))?.support(flavour, version, now)
}

/// Whether the version is without the hole.
///
/// # Errors
/// Where the tables do not know.
pub(super) fn is_closed(hole: &str, flavour: Flavour, version: &[u64]) -> Result<Value, Missing> {
    TABLES.as_ref().map_err(|error| Missing::unclear(error.clone()))?.is_closed(hole, flavour, version)
}

/// The release to update to: that of the server's line, or of the next line that has one; the line itself where it began
/// with the fix.
///
/// # Errors
/// Where the tables do not know.
pub(super) fn closed_in(hole: &str, flavour: Flavour, version: &[u64]) -> Result<Value, Missing> {
    TABLES.as_ref().map_err(|error| Missing::unclear(error.clone()))?.closed_in(hole, flavour, version)
}

impl Tables {
    fn support(&self, flavour: Flavour, version: &[u64], now: f64) -> Result<(f64, String), Missing> {
        let name = name(flavour);
        let support = self.support.iter().find(|support| Some(&*support.server) == name);
        let support =
            support.ok_or_else(|| Missing::version(format!("no dates of {} are known", called(flavour))))?;
        let own = line_of(version);
        let Some(line) = support.lines.iter().find(|line| numbers(&line.line).as_ref() == Some(&own)) else {
            return Err(Missing::unclear(format!(
                "{} {} is not in the table of {}",
                called(flavour),
                written(&own),
                self.as_of
            )));
        };
        Ok(match line.until.as_deref().and_then(unix_day) {
            _ if line.ended => (-1.0, "no longer supported".to_owned()),
            None => (NO_END, "supported, its end not announced".to_owned()),
            Some(last) => {
                let days = ((last + DAY - now) / DAY).floor();
                let until = line.until.as_deref().unwrap_or_default();
                let verb = if days > 0.0 { "supported" } else { "was supported" };
                (days, format!("{verb} until {until}"))
            }
        })
    }

    fn lines(&self, hole: &str, flavour: Flavour) -> Result<&BTreeMap<String, String>, Missing> {
        let unknown = || Missing::version(format!("nothing is known of it in {}", called(flavour)));
        let hole = self.hole.get(hole).ok_or_else(unknown)?;
        let lines = match flavour {
            Flavour::Redis => &hole.redis,
            Flavour::Valkey => &hole.valkey,
            Flavour::Keydb | Flavour::Dragonfly => return Err(unknown()),
        };
        if lines.is_empty() { Err(unknown()) } else { Ok(lines) }
    }

    fn is_closed(&self, hole: &str, flavour: Flavour, version: &[u64]) -> Result<Value, Missing> {
        let lines = self.lines(hole, flavour)?;
        let own = line_of(version);
        let found = lines.iter().find(|(line, _)| numbers(line).as_ref() == Some(&own));
        match found.map(|(_, fixed)| &**fixed) {
            Some("unaffected") => {
                Err(Missing::version(format!("{} {} never had it", called(flavour), written(&own))))
            }
            Some("none") => Ok(Value::Flag(false)),
            Some(fixed) => {
                let fixed =
                    numbers(fixed).ok_or_else(|| Missing::unclear(format!("{fixed} is no version")))?;
                Ok(Value::Flag(version >= &fixed[..]))
            }
            None if lines.keys().filter_map(|line| numbers(line)).all(|line| line < own) => {
                Ok(Value::Flag(true))
            }
            None => {
                Err(Missing::unclear(format!("{} {} is not in the table", called(flavour), written(&own))))
            }
        }
    }

    fn closed_in(&self, hole: &str, flavour: Flavour, version: &[u64]) -> Result<Value, Missing> {
        let own = line_of(version);
        let mut fixes: Vec<_> =
            self.lines(hole, flavour)?.values().filter_map(|fixed| numbers(fixed)).collect();
        fixes.sort();
        fixes
            .into_iter()
            .find(|fixed| line_of(fixed) >= own)
            // Lines that began later have had the fix all along.
            .map_or_else(|| Ok(Value::Text(written(&own))), |fixed| Ok(Value::Text(written(&fixed))))
    }
}

const fn name(flavour: Flavour) -> Option<&'static str> {
    match flavour {
        Flavour::Redis => Some("redis"),
        Flavour::Valkey => Some("valkey"),
        Flavour::Keydb | Flavour::Dragonfly => None,
    }
}

/// As people write it.
pub(super) const fn called(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Redis => "Redis",
        Flavour::Valkey => "Valkey",
        Flavour::Keydb => "KeyDB",
        Flavour::Dragonfly => "Dragonfly",
    }
}

fn line_of(version: &[u64]) -> Vec<u64> {
    version.iter().copied().chain([0, 0]).take(2).collect()
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    match Value::version(text)? {
        Value::Version(numbers) => Some(numbers),
        _ => None,
    }
}

/// With dots.
pub(super) fn written(version: &[u64]) -> String {
    Value::Version(version.to_vec()).to_string()
}

/// `2026-12-01` as the unix time of its beginning.
fn unix_day(text: &str) -> Option<f64> {
    let day: chrono::NaiveDate = text.parse().ok()?;
    Some(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_tables_read() {
        let tables = TABLES.as_ref().unwrap();
        assert!(unix_day(&tables.as_of).is_some());
        for support in &tables.support {
            assert!(["redis", "valkey"].contains(&&*support.server), "{}", support.server);
            assert!(support.source.starts_with("https://"), "{}", support.source);
            for line in &support.lines {
                assert!(numbers(&line.line).is_some_and(|it| it.len() == 2), "{line:?}");
                assert!(line.until.as_deref().is_none_or(|day| unix_day(day).is_some()), "{line:?}");
            }
        }
        for (name, hole) in &tables.hole {
            assert!(!hole.cves.is_empty() && !hole.sources.is_empty(), "{name}");
            assert!(!hole.redis.is_empty() || !hole.valkey.is_empty(), "{name}");
            assert!(hole.sources.iter().all(|source| source.starts_with("https://")), "{name}");
            for (line, fixed) in hole.redis.iter().chain(&hole.valkey) {
                let reads = ["none", "unaffected"].contains(&&**fixed)
                    || numbers(fixed).is_some_and(|it| Some(line_of(&it)) == numbers(line) && it.len() == 3);
                assert!(numbers(line).is_some_and(|it| it.len() == 2) && reads, "{name}: {line} {fixed}");
            }
        }
    }

    fn tables() -> Tables {
        toml::from_str(
            r#"
            as_of = "2026-08-21"
            [[support]]
            server = "redis"
            source = "https://example.com"
            lines = [{ line = "7.0", ended = true }, { line = "8.0", until = "2026-12-01" }, { line = "8.2" }]
            [hole.a]
            cves = ["CVE-1"]
            sources = []
            redis = { "6.0" = "unaffected", "7.0" = "none", "7.2" = "7.2.11", "8.0" = "8.0.4" }
            "#,
        )
        .unwrap()
    }

    #[test]
    fn a_release_closes_a_hole_in_its_line_and_later_lines_never_had_it() {
        let closed = |version: &[u64]| tables().is_closed("a", Flavour::Redis, version);
        for (version, expected) in [
            ([7, 0, 15], false),
            ([7, 2, 10], false),
            ([7, 2, 11], true),
            ([8, 0, 3], false),
            ([8, 2, 0], true),
        ] {
            assert_eq!(closed(&version), Ok(Value::Flag(expected)), "{version:?}");
        }
        assert!(matches!(closed(&[7, 4, 0]), Err(Missing::Unknown(..))), "nothing is guessed");
        let (never, valkey) = (closed(&[6, 0, 14]), tables().is_closed("a", Flavour::Valkey, &[8, 0]));
        assert!(matches!(
            (never, valkey),
            (Err(Missing::NotApplicable(..)), Err(Missing::NotApplicable(..)))
        ));
        assert_eq!(tables().closed_in("a", Flavour::Redis, &[7, 0, 15]), Ok(Value::text("7.2.11")));
        assert_eq!(tables().closed_in("a", Flavour::Redis, &[8, 0, 1]), Ok(Value::text("8.0.4")));
        assert_eq!(tables().closed_in("a", Flavour::Redis, &[8, 4, 1]), Ok(Value::text("8.4")));
    }

    #[test]
    fn the_last_day_is_still_supported() {
        let december = unix_day("2026-12-01").unwrap();
        let left =
            |version: &[u64], now| tables().support(Flavour::Redis, version, now).map(|(days, _)| days);
        assert_eq!(left(&[8, 0, 4], december), Ok(1.0));
        assert_eq!(left(&[8, 0, 4], december + DAY), Ok(0.0));
        assert_eq!(left(&[7, 0, 15], december), Ok(-1.0));
        assert_eq!(left(&[8, 2, 1], december), Ok(NO_END));
        assert!(matches!(left(&[9, 0, 0], december), Err(Missing::Unknown(..))), "newer than the table");
    }
}
