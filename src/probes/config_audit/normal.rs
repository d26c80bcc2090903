//! Texts of settings as values, and back: the same value however it is written, by the server or by a person.
//!
//! `2g` is 2,000,000,000 bytes and `2gb` 2,147,483,648; `save` is a set of pairs; a buffer limit has four parts, of which
//! `slave` is the old name of `replica`. Which setting is of which kind is in `known`.

use measure::report::Unit;

use super::{
    known::Kind,
    value::{Value, yes_or_no},
};
use crate::{config::settings::Size, verdict::human};

/// Reads the text of a setting of this kind; `None` where it is none.
pub(super) fn read(kind: Kind, text: &str) -> Option<Value> {
    let text = text.trim();
    match kind {
        Kind::Number => whole(text),
        Kind::Size => size(text),
        Kind::SizeOrShare => match text.strip_suffix('%') {
            Some(percent) => percent.parse::<u8>().ok().filter(|it| *it <= 100).map(|_| Value::text(text)),
            None => size(text),
        },
        Kind::Flag => flag(text),
        Kind::Word(words) => {
            let word = text.to_ascii_lowercase();
            words.contains(&&*word).then_some(Value::Text(word))
        }
        Kind::Text => Some(Value::text(unquoted(text))),
        Kind::Words => Some(sorted(unquoted(text).split_whitespace().map(Value::text).collect())),
        Kind::Letters => {
            let mut letters: Vec<char> = unquoted(text).chars().collect();
            letters.sort_unstable();
            Some(Value::Text(letters.into_iter().collect()))
        }
        Kind::SavePoints => save_points(unquoted(text)),
        Kind::BufferLimits => buffer_limits(unquoted(text)),
        Kind::Octal => u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(number),
    }
}

/// Reads what the server answers. A word that no version was known to have is text all the same.
pub(super) fn read_answer(kind: Kind, text: &str) -> Option<Value> {
    let word = || matches!(kind, Kind::Word(_)).then(|| Value::text(text.to_ascii_lowercase()));
    read(kind, text).or_else(word)
}

/// As redis.conf could have it.
pub(super) fn show(kind: Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Size | Kind::SizeOrShare, Value::Number(bytes)) => show_size(*bytes),
        (Kind::Octal, Value::Number(mode)) => format!("{:o}", *mode as u32),
        (Kind::Number, Value::Number(number)) => number.to_string(),
        (_, Value::Text(text)) if text.is_empty() => "\"\"".to_owned(),
        (_, Value::List(values)) if values.is_empty() => "\"\"".to_owned(),
        (Kind::BufferLimits, Value::List(classes)) => {
            let class = |class: &Value| match class {
                Value::List(parts) => match &parts[..] {
                    [name, Value::Number(hard), Value::Number(soft), seconds] => {
                        format!("{name} {} {} {seconds}", show_size(*hard), show_size(*soft))
                    }
                    _ => class.to_string(),
                },
                other => other.to_string(),
            };
            classes.iter().map(class).collect::<Vec<_>>().join(" ")
        }
        (Kind::SavePoints, Value::List(_)) => value.to_string().replace(',', ""),
        _ => value.to_string(),
    }
}

/// In the unit of redis.conf that leaves no remainder, or rounded for people where none does.
pub(super) fn show_size(bytes: f64) -> String {
    if bytes < 1024.0 {
        return bytes.to_string();
    }
    let exact = Size(bytes as u64).to_string().to_ascii_lowercase();
    // `2gb` says it all, `1953125kb` and a row of digits do not.
    let unit = exact.trim_start_matches(|c: char| c.is_ascii_digit());
    if unit.len() == 2 && exact.len() <= "1024kb".len() {
        exact
    } else {
        format!("{} ({} bytes)", human::value(bytes, Unit::Bytes), human::count(bytes as u64))
    }
}

/// Whether a setting is what was expected. Of the buffer limits only the classes that were named count.
pub(super) fn same(kind: Kind, expected: &Value, actual: &Value) -> bool {
    match (kind, expected, actual) {
        (Kind::BufferLimits, Value::List(expected), Value::List(actual)) => {
            expected.iter().all(|class| actual.iter().any(|other| other.same(class)))
        }
        _ => expected.same(actual),
    }
}

/// What a value of this kind looks like, after "expected".
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Number => "a whole number".to_owned(),
        Kind::Size => "a size such as \"64mb\" or \"2gb\"".to_owned(),
        Kind::SizeOrShare => "a size such as \"64mb\", or a share such as \"5%\"".to_owned(),
        Kind::Flag => "\"yes\" or \"no\"".to_owned(),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Text | Kind::Words | Kind::Letters => "text".to_owned(),
        Kind::SavePoints => "seconds and changes such as \"900 1 300 10\", or \"\"".to_owned(),
        Kind::BufferLimits => {
            "class, hard limit, soft limit and seconds such as \"pubsub 32mb 8mb 60\"".to_owned()
        }
        Kind::Octal => "a file mode such as \"700\"".to_owned(),
    }
}

fn number(number: impl Into<f64>) -> Value {
    Value::Number(number.into())
}

fn whole(text: &str) -> Option<Value> {
    text.parse::<i64>().ok().map(|it| Value::Number(it as f64))
}

/// As the server reads it: no blank between number and unit, no fraction.
fn size(text: &str) -> Option<Value> {
    let compact = !text.contains(char::is_whitespace) && text.starts_with(|c: char| c.is_ascii_digit());
    Size::parse(text).filter(|_| compact).map(|size| Value::Number(size.0 as f64))
}

fn flag(text: &str) -> Option<Value> {
    match &*text.to_ascii_lowercase() {
        "yes" | "true" => Some(Value::Flag(true)),
        "no" | "false" => Some(Value::Flag(false)),
        _ => None,
    }
}

/// Two quotes around nothing are how redis.conf writes nothing.
fn unquoted(text: &str) -> &str {
    match text {
        "\"\"" | "''" => "",
        text => text,
    }
}

fn sorted(mut values: Vec<Value>) -> Value {
    values.sort_by_key(|value| format!("{value:?}"));
    values.dedup();
    Value::List(values)
}

fn save_points(text: &str) -> Option<Value> {
    let numbers: Vec<f64> =
        text.split_whitespace().map(|word| Some(word.parse::<u32>().ok()?.into())).collect::<Option<_>>()?;
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for pair in numbers.chunks(2) {
        let [seconds, changes] = pair else { return None };
        pairs.push((*seconds, *changes));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    pairs.dedup();
    let pair = |(seconds, changes)| Value::List(vec![number(seconds), number(changes)]);
    Some(Value::List(pairs.into_iter().map(pair).collect()))
}

fn buffer_limits(text: &str) -> Option<Value> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut classes = Vec::new();
    for class in words.chunks(4) {
        let [name, hard, soft, seconds] = class else { return None };
        let name = match &*name.to_ascii_lowercase() {
            "slave" | "replica" => "replica",
            "normal" => "normal",
            "pubsub" => "pubsub",
            _ => return None,
        };
        classes.push(Value::List(vec![Value::text(name), size(hard)?, size(soft)?, whole(seconds)?]));
    }
    Some(sorted(classes))
}

/// One of the three numbers of a class of `client-output-buffer-limit`.
pub(super) fn buffer_limit(limits: &Value, class: &str, index: usize) -> Option<Value> {
    let Value::List(classes) = limits else { return None };
    let parts = classes.iter().find_map(|entry| match entry {
        Value::List(parts) if parts.first().is_some_and(|name| name.same(&Value::text(class))) => Some(parts),
        _ => None,
    });
    parts?.get(index + 1).cloned()
}

/// Whether it is said as redis.conf has a switch.
pub(super) fn flag_text(flag: bool) -> String {
    yes_or_no(flag).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reads_same(kind: Kind, a: &str, b: &str) -> bool {
        same(kind, &read(kind, a).unwrap(), &read(kind, b).unwrap())
    }

    #[test]
    fn sizes_are_bytes_however_they_are_written() {
        assert!(reads_same(Kind::Size, "2gb", "2147483648"));
        assert!(reads_same(Kind::Size, "2G", "2000000000"));
        assert!(!reads_same(Kind::Size, "2g", "2gb"));
        assert!(reads_same(Kind::Size, "100MB", "104857600"));
        assert!(reads_same(Kind::SizeOrShare, "5%", "5%"));
        for text in ["-1", "1.5gb", "10%", "2 gb", "", "gb"] {
            assert_eq!(read(Kind::Size, text), None, "{text}");
        }
        assert_eq!(show(Kind::Size, &Value::Number(2_147_483_648.0)), "2gb");
        assert_eq!(show(Kind::Size, &Value::Number(2_000_000_000.0)), "1.86 GB (2,000,000,000 bytes)");
        assert_eq!(show(Kind::Size, &Value::Number(0.0)), "0");
    }

    #[test]
    fn save_points_are_a_set_of_pairs() {
        assert!(reads_same(Kind::SavePoints, "900 1 300 10", "300 10  900 1"));
        assert!(!reads_same(Kind::SavePoints, "900 1", "900 2"));
        for nothing in ["", "\"\"", "''"] {
            assert_eq!(read(Kind::SavePoints, nothing), Some(Value::List(vec![])), "{nothing}");
        }
        for text in ["900", "900 one", "900 1 300", "-1 1"] {
            assert_eq!(read(Kind::SavePoints, text), None, "{text}");
        }
        assert_eq!(
            show(Kind::SavePoints, &read(Kind::SavePoints, "300 10 3600 1").unwrap()),
            "3600 1 300 10"
        );
    }

    #[test]
    fn buffer_limits_have_four_parts_and_a_renamed_class() {
        let kind = Kind::BufferLimits;
        let server = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert!(reads_same(kind, "replica 256mb 64mb 60 normal 0 0 0 pubsub 32mb 8mb 60", server));
        assert!(
            reads_same(kind, "pubsub 32mb 8mb 60", server),
            "of what is expected only the named class counts"
        );
        assert!(!reads_same(kind, "pubsub 32mb 8mb 61", server));
        let value = read(kind, server).unwrap();
        assert_eq!(buffer_limit(&value, "replica", 1), Some(Value::Number(67_108_864.0)));
        assert_eq!(show(kind, &value), "normal 0 0 0 pubsub 32mb 8mb 60 replica 256mb 64mb 60");
        for text in ["pubsub 1 2", "other 1 2 3", "pubsub 1 2 x"] {
            assert_eq!(read(kind, text), None, "{text}");
        }
    }

    #[test]
    fn words_letters_switches_and_modes() {
        assert!(reads_same(Kind::Words, "127.0.0.1 -::1", "-::1  127.0.0.1"));
        assert!(reads_same(Kind::Letters, "AKE", "KEA"));
        assert!(reads_same(Kind::Flag, "true", "YES"));
        assert!(reads_same(Kind::Octal, "0700", "700"));
        assert_eq!(show(Kind::Octal, &read(Kind::Octal, "770").unwrap()), "770");
        assert_eq!(read(Kind::Word(&["a"]), "b"), None);
        assert_eq!(read_answer(Kind::Word(&["a"]), "B"), Some(Value::text("b")));
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_is_shown_of_it_neither(text in ".{0,40}") {
            for setting in super::super::known::KNOWN {
                if let Some(value) = read_answer(setting.kind, &text) {
                    let _ = show(setting.kind, &value);
                    prop_assert!(same(setting.kind, &value, &value));
                }
            }
        }

        #[test]
        fn a_size_that_is_shown_exactly_reads_back(bytes in 0_u64..1 << 50) {
            let shown = show_size(bytes as f64);
            if !shown.contains('(') {
                prop_assert_eq!(read(Kind::Size, &shown), Some(Value::Number(bytes as f64)));
            }
        }

        #[test]
        fn the_order_of_save_points_does_not_matter(mut pairs in prop::collection::vec((1_u32..9999, 1_u32..9999), 0..6)) {
            let text = |pairs: &[(u32, u32)]| pairs.iter().map(|(s, c)| format!("{s} {c}")).collect::<Vec<_>>().join(" ");
            let before = read(Kind::SavePoints, &text(&pairs));
            pairs.reverse();
            prop_assert_eq!(before, read(Kind::SavePoints, &text(&pairs)));
        }
    }
}
