//! Sentences with values in them: `maxmemory {config.maxmemory}`, `{info.used_memory / config.maxmemory:percent}`.
//!
//! A value is shown as its kind wants it; `:bytes`, `:percent`, `:seconds`, `:milliseconds` and `:plain` say it of the
//! others. A value that is missing reads `unknown`: why it is missing is the check's status.

use measure::report::Unit;

use super::{
    expr::{Expr, Lookup},
    normal,
    path::{Path, What},
    value::Value,
};
use crate::verdict::human;

/// A sentence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Slot(Expr, Format),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Auto,
    Bytes,
    Percent,
    Seconds,
    Milliseconds,
    Plain,
}

const FORMATS: [(&str, Format); 5] = [
    ("bytes", Format::Bytes),
    ("percent", Format::Percent),
    ("seconds", Format::Seconds),
    ("milliseconds", Format::Milliseconds),
    ("plain", Format::Plain),
];

impl Template {
    /// Reads a sentence.
    ///
    /// # Errors
    /// Where an expression in it does not read.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inner, after) =
                after.split_once('}').ok_or_else(|| format!("{text:?}: a {{ without its }}"))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(slot(inner)?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Self(pieces))
    }

    /// A sentence of the values that these expressions read.
    pub(super) fn of_paths<'a>(expressions: impl IntoIterator<Item = &'a Expr>) -> Self {
        let mut pieces = Vec::new();
        let mut seen: Vec<&Path> = Vec::new();
        for path in expressions.into_iter().flat_map(Expr::paths) {
            // What the rule is about is in its `expected`.
            if seen.contains(&path) || path.what == What::Profile {
                continue;
            }
            let between = if seen.is_empty() { "" } else { ", " };
            pieces.push(Piece::Text(format!("{between}{} ", path.name())));
            pieces.push(Piece::Slot(Expr::Path(path.clone()), Format::Auto));
            seen.push(path);
        }
        Self(pieces)
    }

    /// The sentence, where it has no values.
    pub(super) fn fixed(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The sentence with its values.
    pub(super) fn fill(&self, facts: &dyn Lookup) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Slot(expr, format) => {
                expr.eval(facts).map_or_else(|_| "unknown".to_owned(), |value| show(expr, *format, &value))
            }
        };
        self.0.iter().map(piece).collect()
    }

    /// Every name in it.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().flat_map(|piece| match piece {
            Piece::Text(_) => Vec::new(),
            Piece::Slot(expr, _) => expr.paths(),
        })
    }
}

fn slot(inner: &str) -> Result<Piece, String> {
    let (text, format) = match inner.rsplit_once(':') {
        None => (inner, Format::Auto),
        Some((text, name)) => {
            let found = FORMATS.iter().find(|(known, _)| *known == name.trim());
            let names = || FORMATS.map(|(name, _)| name).join(", ");
            (text, found.ok_or_else(|| format!("{{{inner}}}: formats are {}", names()))?.1)
        }
    };
    let expr = Expr::parse(text).map_err(|mistake| format!("{{{inner}}}: {mistake}"))?;
    Ok(Piece::Slot(expr, format))
}

fn show(expr: &Expr, format: Format, value: &Value) -> String {
    let Value::Number(number) = *value else {
        return match expr {
            Expr::Path(Path { what: What::Config(setting), .. }) => normal::show(setting.kind, value),
            _ => value.to_string(),
        };
    };
    match format {
        Format::Auto => show_number(expr, number),
        Format::Bytes => human::value(number, Unit::Bytes),
        Format::Percent => human::value(number, Unit::Ratio),
        Format::Seconds => seconds(number),
        Format::Milliseconds => seconds(number / 1_000.0),
        Format::Plain => number.to_string(),
    }
}

fn show_number(expr: &Expr, number: f64) -> String {
    let Expr::Path(path) = expr else { return human::value(number, Unit::Count) };
    match &path.what {
        What::Config(setting) => normal::show(setting.kind, &Value::Number(number)),
        What::BufferLimit(_, 0 | 1) => normal::show_size(number),
        What::Info(name) if is_bytes(name) => human::value(number, Unit::Bytes),
        What::Host("cgroup_memory_max" | "swap_total" | "swapped" | "disk_free") => {
            human::value(number, Unit::Bytes)
        }
        What::Age(_) => seconds(number),
        What::Latency(..) => seconds(number / 1_000.0),
        _ => human::value(number, Unit::Count),
    }
}

fn is_bytes(field: &str) -> bool {
    let sized = ["_bytes", "_size", "_memory"].iter().any(|end| field.ends_with(end));
    let memory = ["used_memory", "mem_", "maxmemory", "total_system_memory"]
        .iter()
        .any(|start| field.starts_with(start));
    (sized || memory) && !["ratio", "perc", "allocator", "policy"].iter().any(|part| field.contains(part))
}

/// Longer than people count in seconds: in hours and days.
fn seconds(seconds: f64) -> String {
    match seconds.abs() {
        long if long >= 2.0 * 86_400.0 => {
            format!("{} days", human::value((seconds / 86_400.0).round(), Unit::Count))
        }
        long if long >= 7_200.0 => {
            format!("{} hours", human::value((seconds / 3_600.0).round(), Unit::Count))
        }
        _ => human::value(seconds, Unit::Seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::config_audit::value::Missing;

    struct Facts;

    impl Lookup for Facts {
        fn look_up(&self, path: &Path) -> Result<Value, Missing> {
            match &*path.text {
                "config.maxmemory" => Ok(Value::Number(2_147_483_648.0)),
                "info.used_memory" => Ok(Value::Number(1_932_735_283.2)),
                "info.uptime_in_seconds" => Ok(Value::Number(864_000.0)),
                "config.save" => Ok(Value::List(vec![])),
                _ => Err(Missing::unclear("missing")),
            }
        }
    }

    fn filled(text: &str) -> String {
        Template::parse(text).unwrap().fill(&Facts)
    }

    #[test]
    fn values_are_shown_as_their_kind_wants_it() {
        assert_eq!(filled("maxmemory {config.maxmemory}"), "maxmemory 2gb");
        assert_eq!(filled("{info.used_memory}"), "1.8 GB");
        assert_eq!(filled("{info.used_memory / config.maxmemory:percent} used"), "90 % used");
        assert_eq!(filled("{info.uptime_in_seconds:seconds}"), "10 days");
        assert_eq!(filled("save {config.save}"), "save \"\"");
        assert_eq!(filled("{info.nothing}"), "unknown");
        assert_eq!(Template::parse("plain").unwrap().fixed(), Some("plain"));
    }

    #[test]
    fn the_sentence_of_a_rule_names_what_it_reads_once() {
        let rule = Expr::parse("config.maxmemory > 0 and info.used_memory / config.maxmemory < 1").unwrap();
        assert_eq!(Template::of_paths([&rule]).fill(&Facts), "maxmemory 2gb, used_memory 1.8 GB");
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["{", "{config.nonsense}", "{config.maxmemory:stones}", "{}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
