//! What is known of versions: how long each line is supported, and which release closed which hole.
//!
//! The facts are dated data, in `catalogue/versions.toml`; what to say about them is in the catalogue. A line that the
//! table does not know is unknown here too: nothing is guessed.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::NaiveDate;
use serde::Deserialize;

use super::value::{Missing, Type, Value};

/// `catalogue/versions.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versions {
    as_of: String,
    support: Vec<Support>,
    hole: BTreeMap<String, Hole>,
}

/// The lines of one kind of server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Support {
    server: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever edits the table; a test demands it"))]
    source: String,
    lines: Vec<Line>,
}

/// A line, such as 7.2.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    line: String,
    /// The last day with security fixes.
    until: Option<String>,
    /// Whether its makers list it no more.
    #[serde(default)]
    ended: bool,
}

/// A hole: for each line the first release with the fix, `none` or `unaffected`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hole {
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever edits the table; a test demands it"))]
    cves: Vec<String>,
    #[serde(default)]
    redis: BTreeMap<String, String>,
    #[serde(default)]
    valkey: BTreeMap<String, String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever edits the table; a test demands it"))]
    sources: Vec<String>,
}

static VERSIONS: LazyLock<Versions> = LazyLock::new(|| {
    toml::from_str(include_str!("catalogue/versions.toml")).expect("a unit test reads the same text")
});

/// A server's kind and version, and the day on which it is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// `redis`, `valkey`, or another one.
    pub(super) flavour: &'a str,
    /// Its numbers, such as 7, 2, 11.
    pub(super) version: &'a [u64],
    /// Today.
    pub(super) today: NaiveDate,
}

/// The type of what [`support`] answers to this name.
pub(super) fn support_type(name: &str) -> Option<Type> {
    match name {
        "days_left" => Some(Type::Number),
        "text" => Some(Type::Text),
        _ => None,
    }
}

/// The type of what [`hole`] answers to this name.
pub(super) fn hole_type(id: &str, name: &str) -> Option<Type> {
    VERSIONS.hole.get(id)?;
    match name {
        "closed" => Some(Type::Flag),
        "fixed_in" => Some(Type::Text),
        _ => None,
    }
}

/// How long this line is supported: `days_left` (endless where no end is announced, 0 or less after it), or `text`.
///
/// # Errors
/// Unknown where the table does not have the line.
pub(super) fn support(asked: Asked<'_>, name: &str) -> Result<Value, Missing> {
    let as_of = &VERSIONS.as_of;
    let lines = VERSIONS.support.iter().find(|support| support.server == asked.flavour).map(|it| &it.lines);
    let line = lines.and_then(|lines| lines.iter().find(|it| is_of(asked.version, &it.line)));
    let Some(line) = line else {
        let (flavour, line) = (asked.flavour, line_of(asked.version));
        return Err(Missing::unclear(format!(
            "support of {flavour} {line} is not in the table, which is of {as_of}"
        )));
    };
    let (days_left, text) = match &line.until {
        _ if line.ended => (f64::NEG_INFINITY, format!("line {} is listed no more", line.line)),
        None => (f64::INFINITY, format!("line {} is supported, no end announced (as of {as_of})", line.line)),
        Some(until) => {
            let days = (date(until)? - asked.today).num_days();
            let past = if days > 0 { "is supported until" } else { "was supported until" };
            (days as f64, format!("line {} {past} {until}", line.line))
        }
    };
    if name == "days_left" { Ok(Value::Number(days_left)) } else { Ok(Value::text(text)) }
}

/// Whether this server has the fix of a hole: `closed`, or the release that has it: `fixed_in`.
///
/// # Errors
/// Not applicable where this server never had it; unknown where the table does not say.
pub(super) fn hole(asked: Asked<'_>, id: &str, name: &str) -> Result<Value, Missing> {
    let flavour = asked.flavour;
    let lines = VERSIONS.hole.get(id).map(|hole| match flavour {
        "redis" => &hole.redis,
        "valkey" => &hole.valkey,
        _ => const { &BTreeMap::new() },
    });
    let Some(lines) = lines.filter(|lines| !lines.is_empty()) else {
        return Err(Missing::version(format!("not known of {flavour}")));
    };
    let Some((line, fixed)) = lines.iter().find(|(line, _)| is_of(asked.version, line)) else {
        let newest = lines
            .keys()
            .filter_map(|line| Value::version(line))
            .max_by(|a, b| a.order(b).unwrap_or(std::cmp::Ordering::Equal));
        let newer = newest.is_some_and(|newest| {
            Value::Version(asked.version.to_vec()).order(&newest).is_some_and(std::cmp::Ordering::is_gt)
        });
        return match (newer, name) {
            (true, "closed") => Ok(Value::Flag(true)),
            (true, _) => Ok(Value::text("any release of this line")),
            (false, _) => Err(Missing::unclear(format!(
                "no release of {flavour} {} is known to have the fix, nor that it needs none (as of {})",
                line_of(asked.version),
                VERSIONS.as_of
            ))),
        };
    };
    match (fixed.as_str(), name) {
        ("unaffected", _) => Err(Missing::version(format!("{flavour} {line} never had it"))),
        ("none", "closed") => Ok(Value::Flag(false)),
        ("none", _) => Ok(Value::text(format!("a newer line: {line} got no fix"))),
        (fixed, "closed") => {
            let has = Value::Version(asked.version.to_vec()).order(&Value::text(fixed));
            Ok(Value::Flag(has.is_some_and(std::cmp::Ordering::is_ge)))
        }
        (fixed, _) => Ok(Value::text(fixed)),
    }
}

/// Whether a version belongs to a line.
fn is_of(version: &[u64], line: &str) -> bool {
    line_of(version) == line
}

/// The line of a version: its first two numbers.
fn line_of(version: &[u64]) -> String {
    let part = |index: usize| version.get(index).copied().unwrap_or(0);
    format!("{}.{}", part(0), part(1))
}

fn date(text: &str) -> Result<NaiveDate, Missing> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| Missing::unclear(format!("{text} in the table is no date")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask<'a>(flavour: &'a str, version: &'a [u64], today: &str) -> Asked<'a> {
        Asked { flavour, version, today: date(today).unwrap() }
    }

    fn closed(flavour: &str, version: &[u64], id: &str) -> Result<Value, Missing> {
        hole(ask(flavour, version, "2026-09-01"), id, "closed")
    }

    #[test]
    fn the_table_is_whole() {
        assert!(date(&VERSIONS.as_of).is_ok());
        for support in &VERSIONS.support {
            assert!(support.source.starts_with("https://"), "{support:?}");
            for line in &support.lines {
                assert!(line.until.as_deref().is_none_or(|until| date(until).is_ok()), "{line:?}");
                assert!(!(line.ended && line.until.is_some()), "{line:?}");
            }
        }
        for (id, hole) in &VERSIONS.hole {
            assert!(
                !hole.cves.is_empty() && hole.sources.iter().all(|it| it.starts_with("https://")),
                "{id}"
            );
            for (line, fixed) in hole.redis.iter().chain(&hole.valkey) {
                let of_line = Value::version(fixed)
                    .is_some_and(|it| matches!(it, Value::Version(numbers) if is_of(&numbers, line)));
                assert!(of_line || fixed == "none" || fixed == "unaffected", "{id}: {line} = {fixed}");
            }
        }
    }

    #[test]
    fn support_ends_on_its_day() {
        let days = |version: &[u64], today| support(ask("redis", version, today), "days_left");
        assert_eq!(days(&[6, 2, 20], "2027-03-31"), Ok(Value::Number(1.0)));
        assert_eq!(days(&[6, 2, 20], "2027-04-02"), Ok(Value::Number(-1.0)));
        assert_eq!(days(&[7, 0, 15], "2026-09-01"), Ok(Value::Number(f64::NEG_INFINITY)));
        assert_eq!(days(&[8, 4, 1], "2026-09-01"), Ok(Value::Number(f64::INFINITY)));
        assert!(matches!(days(&[8, 12, 0], "2026-09-01"), Err(Missing::Unknown(..))));
        assert!(matches!(support(ask("keydb", &[6, 3], "2026-09-01"), "text"), Err(Missing::Unknown(..))));
        let text = support(ask("valkey", &[8, 0, 2], "2027-09-16"), "text");
        assert_eq!(text, Ok(Value::text("line 8.0 was supported until 2027-09-15")));
    }

    #[test]
    fn a_hole_is_closed_from_the_release_with_the_fix() {
        assert_eq!(closed("redis", &[7, 2, 10], "S27"), Ok(Value::Flag(false)));
        assert_eq!(closed("redis", &[7, 2, 11], "S27"), Ok(Value::Flag(true)));
        assert_eq!(closed("redis", &[7, 0, 15], "S27"), Ok(Value::Flag(false)), "open, and never mended");
        assert_eq!(closed("redis", &[8, 4, 0], "S27"), Ok(Value::Flag(true)), "newer than the newest listed");
        assert_eq!(closed("redis", &[8, 10, 0], "S32b"), Ok(Value::Flag(false)), "10 is more than 8");
        assert_eq!(closed("valkey", &[8, 1, 4], "S27"), Ok(Value::Flag(true)));
        let fixed_in = hole(ask("redis", &[7, 0, 15], "2026-09-01"), "S27", "fixed_in");
        assert_eq!(fixed_in, Ok(Value::text("a newer line: 7.0 got no fix")));
    }

    #[test]
    fn what_the_table_does_not_know_is_not_guessed() {
        assert!(matches!(closed("redis", &[7, 4, 0], "S30"), Err(Missing::NotApplicable(..))));
        assert!(
            matches!(closed("redis", &[8, 0, 6], "S31"), Err(Missing::Unknown(..))),
            "between listed lines"
        );
        assert!(matches!(closed("valkey", &[9, 0, 0], "S30"), Err(Missing::NotApplicable(..))));
        assert!(matches!(closed("keydb", &[6, 3, 0], "S27"), Err(Missing::NotApplicable(..))));
    }
}
