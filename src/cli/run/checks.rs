//! The checks of an audit as text: what fails first, with why and the remedy; what could not be looked at with the reason.
//!
//! Two forms of one order: plain text for a terminal, Markdown for a ticket. What a check says is the probe's matter.

use std::{collections::BTreeMap, fmt::Write};

use measure::report::Check;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    /// For a terminal of this many columns.
    Text(usize),
    /// For a page.
    Markdown,
}

/// Severities, the worst first.
const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "info"];
/// Width of the names before the fields of a check.
const NAMES: usize = 10;
/// Narrowest column of text: below that a terminal wraps by itself.
const NARROWEST: usize = 30;

/// All checks: failing, then doubtful ones in full, then those that could not be looked at by reason, then counts.
pub(in crate::cli) fn checks(checks: &[Check], form: Form) -> String {
    let mut text = String::new();
    for (status, heading) in [("fail", "Failing"), ("warn", "Worth a look")] {
        section(&mut text, heading, &of(checks, status), form);
    }
    unknown(&mut text, &of(checks, "unknown"), form);
    if !checks.is_empty() {
        let count = |status| of(checks, status).len();
        let (passed, not_applicable) = (count("pass"), count("not_applicable"));
        let last = format!("{passed} passed, {not_applicable} not applicable here, {} in all", checks.len());
        paragraph(&mut text, &last, form);
    }
    text
}

/// The checks of this status, the worst first, and by id within a severity.
fn of<'a>(checks: &'a [Check], status: &str) -> Vec<&'a Check> {
    let mut found: Vec<_> = checks.iter().filter(|check| check.status == status).collect();
    let rank = |check: &Check| SEVERITIES.iter().position(|severity| *severity == check.severity);
    found.sort_by(|a, b| (rank(a), &a.check).cmp(&(rank(b), &b.check)));
    found
}

fn section(text: &mut String, heading: &str, checks: &[&Check], form: Form) {
    if checks.is_empty() {
        return;
    }
    let counted: Vec<_> = SEVERITIES
        .iter()
        .map(|severity| (severity, checks.iter().filter(|check| check.severity == *severity).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {severity}"))
        .collect();
    title(text, &format!("{heading}: {}", counted.join(", ")), form);
    for check in checks {
        entry(text, check, form);
    }
}

fn title(text: &mut String, title: &str, form: Form) {
    if !text.is_empty() {
        text.push('\n');
    }
    // Writing to a String cannot fail, here and below.
    let _ = match form {
        Form::Text(_) => writeln!(text, "{title}"),
        Form::Markdown => writeln!(text, "## {title}"),
    };
}

fn entry(text: &mut String, check: &Check, form: Form) {
    let Check { check: id, title, severity, .. } = check;
    let fields = [
        ("expected", &*check.expected),
        ("found", &*check.actual),
        ("why", &*check.why),
        ("remedy", &*check.remedy),
        ("source", &*check.source),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    match form {
        Form::Text(columns) => {
            let _ = writeln!(text, "\n  {severity:<8}  {id}  {title}");
            for (name, value) in fields {
                let room = columns.saturating_sub(NAMES + 4).max(NARROWEST);
                for (number, line) in wrapped(value, room).iter().enumerate() {
                    let name = if number == 0 { name } else { "" };
                    let _ = writeln!(text, "    {name:<NAMES$}{line}");
                }
            }
        }
        Form::Markdown => {
            let _ = writeln!(text, "\n### {id} {title} ({severity})\n");
            for (name, value) in fields {
                let _ = writeln!(text, "- **{name}**: {}", escaped(value));
            }
        }
    }
}

fn unknown(text: &mut String, checks: &[&Check], form: Form) {
    if checks.is_empty() {
        return;
    }
    title(text, &format!("Not known: {}", checks.len()), form);
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for check in checks {
        reasons.entry(&check.actual).or_default().push(&check.check);
    }
    for (reason, ids) in reasons {
        item(text, &format!("{reason}: {}", ids.join(" ")), form);
    }
}

fn item(text: &mut String, words: &str, form: Form) {
    match form {
        Form::Text(columns) => {
            for (number, line) in wrapped(words, columns.saturating_sub(4).max(NARROWEST)).iter().enumerate()
            {
                let _ = writeln!(text, "{}{line}", if number == 0 { "  " } else { "    " });
            }
        }
        Form::Markdown => {
            let _ = writeln!(text, "{}- {}", if text.ends_with("\n\n") { "" } else { "\n" }, escaped(words));
        }
    }
}

fn paragraph(text: &mut String, words: &str, form: Form) {
    let Form::Text(_) = form else {
        let _ = writeln!(text, "\n{}", escaped(words));
        return;
    };
    let _ = writeln!(text, "{}{words}", if text.is_empty() { "" } else { "\n" });
}

/// A server's words in Markdown as they stand.
fn escaped(words: &str) -> String {
    let special = |c: char| matches!(c, '\\' | '`' | '*' | '_' | '<' | '>' | '|' | '#' | '[' | ']');
    words.chars().fold(String::new(), |mut text, c| {
        if special(c) {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

/// Lines of at most `room` characters, broken at blanks; a longer word has a line of its own.
fn wrapped(words: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &'static str, severity: &'static str, status: &'static str, actual: &str) -> Check {
        Check {
            check: id.into(),
            title: "a title".into(),
            status,
            severity,
            area: "memory",
            expected: "more than 0".into(),
            actual: actual.into(),
            why: "it matters because of something that takes more than one line to say in a narrow terminal"
                .into(),
            remedy: "CONFIG SET maxmemory 2gb".into(),
            source: "https://example.org/".into(),
        }
    }

    fn sample() -> Vec<Check> {
        vec![
            check("A1", "low", "fail", "0"),
            check("A2", "critical", "fail", "a_b"),
            check("A3", "high", "warn", "0"),
            check("A4", "high", "unknown", "CONFIG is denied"),
            check("A5", "low", "unknown", "CONFIG is denied"),
            check("A6", "low", "pass", "1"),
            check("A7", "low", "not_applicable", "since 7.0"),
        ]
    }

    #[test]
    fn the_worst_comes_first_and_nothing_is_left_out() {
        let text = checks(&sample(), Form::Text(60));
        let places: Vec<_> =
            ["Failing: 1 critical, 1 low", "A2", "A1", "Worth a look: 1 high", "A3", "Not known: 2"]
                .iter()
                .map(|words| text.find(words).unwrap_or_else(|| panic!("{words} is missing:\n{text}")))
                .collect();
        assert!(places.is_sorted(), "{text}");
        assert!(text.contains("CONFIG is denied: A4 A5"), "{text}");
        assert!(text.ends_with("\n1 passed, 1 not applicable here, 7 in all\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("    remedy    CONFIG SET maxmemory 2gb\n"), "{text}");
    }

    #[test]
    fn markdown_shows_what_a_server_says_as_it_stands() {
        let text = checks(&sample(), Form::Markdown);
        assert!(text.starts_with("## Failing: 1 critical, 1 low\n\n### A2 a title (critical)\n"), "{text}");
        assert!(text.contains("- **found**: a\\_b\n"), "{text}");
    }

    #[test]
    fn no_checks_are_no_text() {
        assert_eq!(checks(&[], Form::Text(80)), "");
    }

    #[test]
    fn a_word_that_is_too_long_has_its_own_line() {
        assert_eq!(wrapped("a bbbbbbbb c", 5), ["a", "bbbbbbbb", "c"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
