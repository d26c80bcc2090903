//! What a server says of itself, parsed from its text: INFO, its version, flavour, role and statistics of commands.
//!
//! Parsers take text and never fail: what is not there is `None`. Asking for the text belongs to the caller.

use std::collections::BTreeMap;

use serde::Serialize;

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// KeyDB.
    Keydb,
    /// Dragonfly.
    Dragonfly,
}

/// `INFO`, as fields. Sections do not matter: field names are unique.
#[derive(Debug, Clone, Default)]
pub struct Info {
    _text: String,
}

/// One line of `INFO commandstats`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CommandStat {
    /// Calls executed.
    pub calls: u64,
    /// Time in them, in microseconds.
    pub usec: u64,
    /// Calls refused before execution (since Redis 6.2).
    pub rejected: u64,
    /// Calls that failed (since Redis 6.2).
    pub failed: u64,
}

/// What a report says of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Version of the flavour's own numbering.
    pub version: String,
    /// Which program.
    pub flavour: Flavour,
    /// master or slave, as INFO says.
    pub role: String,
    /// Changes at every start of the server.
    #[serde(skip)]
    pub run_id: String,
}

impl Info {
    /// Reads the text of INFO, whole or any section of it.
    #[must_use]
    pub fn parse(_text: &str) -> Self {
        unimplemented!()
    }

    /// A field as it stands.
    #[must_use]
    pub fn text(&self, _field: &str) -> Option<&str> {
        unimplemented!()
    }

    /// A field as a number; `aof_enabled:1`, `used_memory:123`, `mem_fragmentation_ratio:1.2` all are.
    #[must_use]
    pub fn number(&self, _field: &str) -> Option<f64> {
        unimplemented!()
    }

    /// A field as a whole number.
    #[must_use]
    pub fn integer(&self, _field: &str) -> Option<u64> {
        unimplemented!()
    }

    /// `yes`, `1`, `ok`, `up` are true; `no`, `0`, `err`, `down` are false.
    #[must_use]
    pub fn flag(&self, _field: &str) -> Option<bool> {
        unimplemented!()
    }

    /// Version, flavour, role; `None` where INFO was denied or is not one.
    #[must_use]
    pub fn server(&self) -> Option<ServerFacts> {
        unimplemented!()
    }

    /// `cmdstat_*`, by lower-case command name (`get`, `config|get`).
    #[must_use]
    pub fn commands(&self) -> BTreeMap<String, CommandStat> {
        unimplemented!()
    }

    /// `errorstat_*` counts by code.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        unimplemented!()
    }

    /// `db0:keys=1,expires=0`: keys and those with a TTL, by database number.
    #[must_use]
    pub fn keyspace(&self) -> BTreeMap<u32, (u64, u64)> {
        unimplemented!()
    }
}
