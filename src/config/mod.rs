//! Configuration: what the file, the environment and the flags say (`Raw`), checked and resolved into a [`Plan`].
//!
//! Only the [`Plan`] travels on. All mistakes are reported at once, each with its key path. What a probe makes of its
//! settings belongs to the probe.

use std::fmt;

use config::ValueKind;

mod access;
mod ad_hoc;
mod cron;
mod de;
mod default_file;
mod jobs;
mod nodes;
pub mod plan;
mod pools;
mod raw;
mod resolve;
pub mod secret;
pub mod settings;
mod shard;
mod sources;
mod suggest;
mod target_tls;
mod targets;
#[cfg(test)]
mod tests;
pub mod web;
mod words;

pub use access::Access;
pub use ad_hoc::{RunRequest, effect};
pub use cron::CronTimes;
pub use default_file::default_file;
pub use jobs::find_probe;
pub use plan::{App, Http, Job, Limit, Limits, Log, LogFormat, Overrides, Plan, Profile, Schedule, Target};
pub use shard::Shard;

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Key path: `targets.staging.url`.
    pub key: String,
    /// The value where it helps, what was expected, how to mend it. Never a secret.
    pub message: String,
}

impl Mistake {
    /// A mistake at this key. Passwords of URLs in the message are masked.
    pub fn new(key: impl Into<String>, message: impl AsRef<str>) -> Self {
        Self { key: key.into(), message: secret::mask_urls(message.as_ref()) }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Every mistake in a configuration: collected while it is read, an error to return at the end. Printed one per line.
#[derive(Debug, Default, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    pub(crate) fn add(&mut self, key: impl Into<String>, message: impl AsRef<str>) {
        self.0.push(Mistake::new(key, message));
    }

    /// Takes what came of a step; a mistake becomes `None`.
    fn take<T>(&mut self, key: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(key, message)).ok()
    }

    /// `value`, where there is no mistake at all.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// A part of the configuration, with the path that leads to it.
#[derive(Debug, Clone)]
pub struct Source {
    /// `jobs.starvation.settings`.
    pub path: String,
    /// What is there; a missing part is an empty table.
    pub value: config::Value,
}

impl Source {
    /// Reads it as `T`.
    ///
    /// # Errors
    /// Every mistake in it, not only the first.
    pub fn read<T: serde::de::DeserializeOwned>(self) -> Result<T, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let value = self.read_rest(&mut mistakes);
        mistakes.or(value)
    }

    /// Reads what can be read of it, and adds every mistake: serde stops at the first, so each is recorded, cut out, and
    /// the rest read again, until it reads. `None` where nothing of it can be.
    pub(crate) fn read_rest<T: serde::de::DeserializeOwned>(mut self, mistakes: &mut Mistakes) -> Option<T> {
        loop {
            let misread = match T::deserialize(de::De(self.value.clone())) {
                Ok(value) => return Some(value),
                Err(misread) => misread,
            };
            let steps: Vec<&str> = misread.path().collect();
            let key = std::iter::once(self.path.as_str())
                .filter(|path| !path.is_empty())
                .chain(steps.iter().copied());
            let key = key.collect::<Vec<_>>().join(".");
            let cut = cut(&mut self.value, &steps);
            let blame = cut.as_ref().map_or("", sources::blame);
            mistakes.add(key, format!("{misread}{blame}"));
            // Nothing to cut: the part as a whole cannot be read.
            cut?;
        }
    }
}

/// Cuts out what the path leads to, or the last list on the way there.
fn cut(value: &mut config::Value, path: &[&str]) -> Option<config::Value> {
    let (key, rest) = path.split_first()?;
    let ValueKind::Table(table) = &mut value.kind else { return None };
    let inner = table.get_mut(*key)?;
    match cut(inner, rest) {
        Some(gone) => Some(gone),
        None => table.remove(*key),
    }
}
