//! The only way to write keys: own prefix, TTL in the same command, caps on number and bytes, clean-up afterwards.
//!
//! A [`KeySpace`] belongs to one run. It hands out names and pre-encoded commands and remembers what they can have
//! created, so that clean-up needs no SCAN. What is measured with the keys does not belong here.

use std::{sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;

use crate::{
    error::{Failure, ProbeError},
    wire::Command,
};

/// First part of every key of ours.
pub const PREFIX: &str = "redprobe:";

/// At most this much, over the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBudget {
    /// Keys.
    pub keys: u64,
    /// Bytes of values.
    pub bytes: u64,
}

/// The keys of one run. Cheap to clone; all clones share the account.
#[derive(Debug, Clone)]
pub struct KeySpace {
    _inner: Arc<()>,
}

/// A group of numbered keys of one value size, such as those of one phase.
#[derive(Debug, Clone)]
pub struct KeyRange {
    /// `redprobe:{<target>}:<probe>:<run>:<group>:`, followed by the number in [`KeyRange::DIGITS`] digits.
    pub prefix: String,
    /// Keys in it: numbers 0 to `count − 1`.
    pub count: u64,
    /// Bytes of each value.
    pub value_size: usize,
    /// TTL that every write sets.
    pub ttl: Duration,
}

/// What clean-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CleanUp {
    /// Keys removed.
    pub keys_removed: u64,
    /// Keys that may be left; their TTL removes them.
    pub left_over: u64,
}

impl KeySpace {
    /// The key space of one run: `redprobe:{<target>}:<probe>:<run>:`. `ttl` is set by every write: the run's deadline
    /// and some minutes.
    #[must_use]
    pub fn new(_target: &str, _probe: &str, _run: &str, _ttl: Duration, _budget: KeyBudget) -> Self {
        unimplemented!()
    }

    /// Sets `count` numbered keys of `value_size` bytes apart under `group`, within the budget.
    ///
    /// # Errors
    /// Skipped (`precondition`) where the budget does not allow it; says which limit and how to raise it.
    pub fn range(&self, _group: &str, _count: u64, _value_size: usize) -> Result<KeyRange, ProbeError> {
        unimplemented!()
    }

    /// Whether anything may have been written.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        unimplemented!()
    }

    /// Removes everything that may have been written, by UNLINK in batches, and counts.
    ///
    /// # Errors
    /// When the server refuses or goes away; what is left then goes by its TTL.
    pub async fn clean_up(&self, _conn: &mut MultiplexedConnection) -> Result<CleanUp, Failure> {
        unimplemented!()
    }
}

impl KeyRange {
    /// Digits of a key's number.
    pub const DIGITS: usize = 9;

    /// The name of key `index`.
    #[must_use]
    pub fn key(&self, _index: u64) -> String {
        unimplemented!()
    }

    /// `GET key`; a missing key is a good answer.
    #[must_use]
    pub fn get(&self) -> Command {
        unimplemented!()
    }

    /// `SET key value PX ttl`, with a value of random bytes.
    #[must_use]
    pub fn set(&self) -> Command {
        unimplemented!()
    }

    /// Deletes a key, as `UNLINK` so that a large value is freed off the server's main thread.
    #[must_use]
    pub fn delete(&self) -> Command {
        unimplemented!()
    }

    /// `SET key value PX ttl` of one key, for the redis crate's connections.
    #[must_use]
    pub fn set_one(&self, index: u64, value: &[u8]) -> redis::Cmd {
        let mut cmd = redis::cmd("SET");
        let ttl = u64::try_from(self.ttl.as_nanos() / 1_000_000).unwrap_or(u64::MAX);
        cmd.arg(self.key(index)).arg(value).arg("PX").arg(ttl);
        cmd
    }

    /// `GET` of one key, for the redis crate's connections.
    #[must_use]
    pub fn get_one(&self, index: u64) -> redis::Cmd {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.key(index));
        cmd
    }

    /// `UNLINK` of one key, for the redis crate's connections.
    #[must_use]
    pub fn unlink_one(&self, index: u64) -> redis::Cmd {
        let mut cmd = redis::cmd("UNLINK");
        cmd.arg(self.key(index));
        cmd
    }
}

/// Counts own keys of `target` that no live run owns, by SCAN on the own prefix, at most `batch` keys a second.
///
/// # Errors
/// When the server refuses or goes away.
pub async fn leftovers(_conn: &mut MultiplexedConnection, _target: &str) -> Result<u64, Failure> {
    unimplemented!()
}
