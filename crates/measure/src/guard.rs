//! May this effect run here, now? The checks before a run, and the canary that watches while load runs.
//!
//! The rules are those of the safety contract; the numbers come from the caller. What the configuration allows is
//! decided before anything here is asked.

use std::{fmt, time::Duration};

use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use crate::{
    conn::Endpoint,
    error::{Failure, ProbeError},
};

/// What a probe does to its target. Each step includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads what the server says of itself: INFO, CONFIG GET, PING.
    #[default]
    Observe,
    /// Own keys at a bounded rate.
    Touch,
    /// Many keys, many connections, full speed.
    Load,
    /// Changes settings, rewrites, restarts.
    Disrupt,
}

impl Effect {
    /// As the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Effect::Observe => "observe",
            Effect::Touch => "touch",
            Effect::Load => "load",
            Effect::Disrupt => "disrupt",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a run is about to take from the server, checked against what the server has.
#[derive(Debug, Clone, Copy)]
pub struct Preflight {
    /// The effect.
    pub effect: Effect,
    /// Connections it will open.
    pub connections: u64,
    /// Bytes of values it will keep at a time.
    pub bytes: u64,
}

impl Preflight {
    /// Asks the server and decides. Passes for Observe without asking.
    ///
    /// # Errors
    /// Skipped (`precondition`, or `loading`) with a sentence that names the figure and the limit; failed where the
    /// server cannot be asked.
    pub async fn check(&self, _conn: &mut MultiplexedConnection) -> Result<(), ProbeError> {
        unimplemented!()
    }
}

/// A connection of its own that asks once a second whether the server still answers, while load runs on others.
#[derive(Debug)]
pub struct Canary;

impl Canary {
    /// Longest time without an answer before load must stop.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Runs until the server has not answered for [`Canary::PATIENCE`], and returns why. Never returns while it does.
    pub async fn watch(_endpoint: &Endpoint, _name: &str) -> Failure {
        unimplemented!()
    }
}
