//! Where the time of an operation went: disjoint shares of the observed time.
//!
//! The server's part comes from the difference of `INFO commandstats` around a phase: all commands' busy time over the
//! phase, not the operation's own, since a GET that waits 134 ms behind a script shows 4 µs of its own.

use std::collections::BTreeMap;

use crate::{
    facts::{CommandStat, Info},
    report::{Attribution, Operation},
};

/// What the server spent on commands between two readings of INFO.
#[derive(Debug, Clone, Default)]
pub struct CommandCosts {
    /// Per command: calls and microseconds in between.
    pub commands: BTreeMap<String, CommandStat>,
}

impl CommandCosts {
    /// The difference of two readings; a restart in between gives the later reading as it is.
    #[must_use]
    pub fn between(_before: &Info, _after: &Info) -> Self {
        unimplemented!()
    }

    /// Mean time of one call of `command` in seconds, `None` where there was none.
    #[must_use]
    pub fn seconds_per_call(&self, _command: &str) -> Option<f64> {
        unimplemented!()
    }

    /// Time in all commands, in seconds.
    #[must_use]
    pub fn busy_seconds(&self) -> f64 {
        unimplemented!()
    }
}

/// Splits an operation's response time. `connections` is the number of operations that can be out at a time.
#[must_use]
pub fn attribute(_operation: &Operation, _costs: &CommandCosts, _connections: u64) -> Attribution {
    unimplemented!()
}
