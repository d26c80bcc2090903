//! Configuration: what the file, the environment and the flags say (`Raw`), checked and resolved into a [`Plan`].
//!
//! Only the [`Plan`] travels on. All mistakes are reported at once, each with its key path. What a probe makes of its
//! settings belongs to the probe.

use std::fmt;

mod cron;
pub mod plan;
pub mod raw;
pub mod secret;
pub mod settings;

pub use cron::CronTimes;
pub use plan::{
    App, Http, Job, Limit, Limits, Log, LogFormat, Overrides, Plan, RunRequest, Schedule, Target,
};

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Key path: `targets.staging.url`.
    pub key: String,
    /// The value where it helps, what was expected, how to mend it. Never a secret.
    pub message: String,
}

impl Mistake {
    /// A mistake at this key.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Every mistake in a configuration, as an error to return. Printed one per line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(pub Vec<Mistake>);

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
        unimplemented!()
    }
}
