//! The log of one run: bounded, scrubbed, kept with its record.
//!
//! The daemon's own log is `tracing`; what is worth telling the operator at once goes there, not here.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use measure::{
    clock::{self, Instant},
    conn::Password,
};

/// Lines kept.
const LINES: usize = 200;
/// Characters kept of a line, and of an error's text.
const WIDTH: usize = 500;

/// What a run says of itself while it goes: kept with its record, shown by `-v`, `&debug=true` and the API.
#[derive(Debug, Clone, Default)]
pub struct RunLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    scrub: Scrub,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: Vec<String>,
    left_out: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Self { began: clock::now(), scrub: Scrub::default(), lines: Mutex::default() }
    }
}

impl RunLog {
    /// A log in which this secret never shows.
    pub(super) fn new(scrub: Scrub) -> Self {
        Self(Arc::new(Inner { scrub, ..Inner::default() }))
    }

    /// Adds a line, with the time since the run began.
    pub fn note(&self, line: impl Into<String>) {
        let line = self.0.scrub.clean(line.into());
        let at = self.0.began.elapsed();
        tracing::debug!(target: "redprobe::run", "{line}");
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.kept.len() < LINES {
            lines.kept.push(format!("{} {line}", stamp(at)));
        } else {
            lines.left_out += 1;
        }
    }

    /// The lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = (lines.left_out > 0).then(|| format!("{} more lines were left out", lines.left_out));
        lines.kept.iter().cloned().chain(left_out).collect()
    }
}

fn stamp(at: Duration) -> String {
    format!("+{:.3}s", at.as_secs_f64())
}

/// Takes a secret out of texts. A server can repeat what it was sent: `ERR unknown command 'AUTH', with args
/// beginning with: 'the password'`.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrub(Vec<Password>);

impl Scrub {
    pub(super) fn new<'a>(passwords: impl IntoIterator<Item = &'a Password>) -> Self {
        Self(passwords.into_iter().cloned().collect())
    }

    /// The text without the secret, and not longer than a line may be.
    pub(super) fn clean(&self, text: String) -> String {
        let mut text = self.0.iter().fold(text, |text, password| password.hide(text));
        if let Some((end, _)) = text.char_indices().nth(WIDTH) {
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let log = RunLog::new(Scrub::new(Some(&"s3cret".into())));
        log.note("ERR unknown command 'AUTH', with args beginning with: 's3cret'");
        let lines = log.lines();
        assert!(lines[0].ends_with("beginning with: '***'"), "{lines:?}");
        assert!(!format!("{log:?}").contains("s3cret"));
    }

    #[test]
    fn an_empty_secret_changes_nothing() {
        let scrub = Scrub::new(Some(&"".into()));
        assert_eq!(scrub.clean("text".to_owned()), "text");
    }

    #[test]
    fn neither_lines_nor_their_number_grow_without_end() {
        let log = RunLog::default();
        for _ in 0..LINES + 7 {
            log.note("ü".repeat(10_000));
        }
        let lines = log.lines();
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[LINES], "7 more lines were left out");
        assert!(lines[0].chars().count() < WIDTH + 20);
    }
}
