//! May this effect run here, now, and may it go on? The checks before a run (`preflight`), the canary that watches while
//! load runs (`canary`), the watch over a run that disrupts (`watch`, `seen`), and what a run brought upon itself, which
//! is no reason to stop it (`own`).
//!
//! What the configuration allows is decided before anything here is asked.

mod canary;
mod own;
mod preflight;
mod seen;
mod watch;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    canary::{CANARY, Canary},
    own::OwnErrors,
    preflight::{PREFLIGHT, Preflight},
    watch::{WATCH, Watch},
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
