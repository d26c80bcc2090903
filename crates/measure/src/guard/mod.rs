//! May this effect run here, now, and may it go on? The checks before a run (`preflight`), the canary that watches while
//! load runs (`canary`), and what a run did itself (`own`), which is no reason to stop it.
//!
//! What the configuration allows is decided before anything here is asked.

mod canary;
mod own;
mod preflight;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{canary::Canary, own::OwnErrors, preflight::Preflight};

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
