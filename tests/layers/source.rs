//! A Rust file as text: comments and unit tests blanked out, `use` trees flattened.
//!
//! Enough of a reader for the rules of `layers.rs`, and no more: it knows strings, comments and braces.

/// One file.
pub(super) struct Source {
    /// From the root of the repository: `src/probe.rs`.
    pub(super) path: String,
    /// As it stands.
    pub(super) whole: String,
    /// Without comments and without its unit tests; lines keep their numbers.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), whole: text.into(), code: without_unit_tests(&without_comments(text)) }
    }

    /// Where `needle` stands in the code, not as a part of a longer word; with the line it stands on.
    pub(super) fn find(&self, needle: &str) -> Vec<(usize, String)> {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        self.code
            .match_indices(needle)
            .filter(|(at, _)| {
                let before = self.code[..*at].chars().next_back();
                let after = self.code[at + needle.len()..].chars().next();
                !(needle.starts_with(part_of_word) && before.is_some_and(part_of_word)
                    || needle.ends_with(part_of_word) && after.is_some_and(part_of_word))
            })
            .map(|(at, _)| {
                let number = line_of(&self.code, at);
                (number, self.code.lines().nth(number - 1).unwrap_or_default().trim().to_owned())
            })
            .collect()
    }

    /// Every path of the code that begins with `crate::`, `use` trees flattened: `crate::sink::Record`.
    pub(super) fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            if self.code[..at].ends_with('$') {
                continue;
            }
            let mut paths = Vec::new();
            flatten(&self.code[at..], "", &mut paths);
            found.extend(paths.into_iter().map(|path| (line_of(&self.code, at), path)));
        }
        found
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Reads one path, or one tree in braces, at the start of `text`; returns the length that it took.
fn flatten(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let length = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..length]);
    if !(text[length..].starts_with('{') && path.ends_with("::")) {
        found.push(path);
        return length;
    }
    let mut at = length + 1;
    while let Some(next) = text[at..].chars().next() {
        match next {
            '}' => return at + 1,
            c if c.is_whitespace() || c == ',' || c == '*' => at += 1,
            _ => {
                at += flatten(&text[at..], &path, found).max(1);
                // `as name` of an import.
                at += text[at..].find([',', '}']).unwrap_or(0);
            }
        }
    }
    at
}

/// Blanks out comments; strings stay, and what looks like a comment in one does too.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            rest = &rest[length..];
            continue;
        } else if rest.starts_with("/*") {
            let length = rest.find("*/").map_or(rest.len(), |at| at + 2);
            out.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
            continue;
        } else if let Some(length) = string_length(rest) {
            length
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\''") {
            rest[1..].find('\'').map_or(3, |at| at + 2).max(3)
        } else {
            c.len_utf8()
        };
        let taken = taken.min(rest.len());
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// The length of the string literal that `text` starts with.
fn string_length(text: &str) -> Option<usize> {
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 1;
            return Some(1 + body + raw[body..].find(&end).map_or(raw.len() - body, |at| at + end.len()));
        }
        return None;
    }
    let body = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 2),
            _ => {}
        }
    }
    Some(text.len())
}

/// Cuts the file at its unit tests, which come last by custom.
fn without_unit_tests(code: &str) -> String {
    let cut = code
        .match_indices("#[cfg(test)]")
        .find(|(at, found)| {
            let next = code[at + found.len()..].trim_start();
            next.starts_with("mod tests") || next.starts_with("pub(crate) mod tests")
        })
        .map_or(code.len(), |(at, _)| at);
    code[..cut].to_owned()
}

#[test]
fn comments_go_and_strings_stay() {
    let source =
        Source::new("a.rs", "let a = \"// kept\"; // gone\n/* gone\n too */ let b = r#\"\"x\"// kept\"#;\n");
    assert_eq!(source.code, "let a = \"// kept\"; \n\n let b = r#\"\"x\"// kept\"#;\n");
}

#[test]
fn unit_tests_do_not_count() {
    let source = Source::new("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { use crate::sink; }\n");
    assert_eq!(source.crate_paths(), []);
}

#[test]
fn use_trees_are_flattened() {
    let source = Source::new(
        "a.rs",
        "use crate::{\n    config::{Job, plan::Limit as L},\n    sink,\n};\nfn f() -> crate::http::Error {}\n",
    );
    let paths: Vec<String> = source.crate_paths().into_iter().map(|(_, path)| path).collect();
    assert_eq!(
        paths,
        ["crate::config::Job", "crate::config::plan::Limit", "crate::sink", "crate::http::Error"]
    );
}
