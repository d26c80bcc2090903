//! Streams among the numbered keys of a run: reading them blocked, and creating them with their TTL in one step.
//!
//! A stream is a key like any other to budget and clean-up. What is read from it belongs to the caller.

use std::{sync::atomic::Ordering, time::Duration};

use redis::{Cmd, Pipeline};

use super::KeyRange;

/// The consumer group of every stream that has one.
const GROUP: &str = "redprobe";

impl KeyRange {
    /// `XREAD BLOCK block STREAMS key after`: entries after id `after`, or only those that come from now on with `$`.
    /// Creates nothing; where no entry comes it answers nil after `block`.
    #[must_use]
    pub fn xread(&self, index: u64, block: Duration, after: &str) -> Cmd {
        let mut cmd = redis::cmd("XREAD");
        cmd.arg("BLOCK").arg(milliseconds(block)).arg("STREAMS").arg(self.key(index)).arg(after);
        cmd
    }

    /// `XREADGROUP … BLOCK block STREAMS key >` by consumer `consumer`; the group must be there.
    #[must_use]
    pub fn xreadgroup(&self, index: u64, block: Duration, consumer: &str) -> Cmd {
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg("GROUP").arg(GROUP).arg(consumer).arg("BLOCK").arg(milliseconds(block));
        cmd.arg("STREAMS").arg(self.key(index)).arg(">");
        cmd
    }

    /// Creates an empty stream with its group, and sets the TTL: one transaction.
    #[must_use]
    pub fn xgroup_create(&self, index: u64) -> Pipeline {
        self.in_one_step(index, |pipe, key| {
            pipe.cmd("XGROUP").arg("CREATE").arg(key).arg(GROUP).arg("$").arg("MKSTREAM").ignore();
        })
    }

    /// Adds an entry with these fields and values, and sets the TTL: one transaction, which answers with the entry's id.
    #[must_use]
    pub fn xadd(&self, index: u64, fields: &[(&str, &[u8])]) -> Pipeline {
        self.in_one_step(index, |pipe, key| {
            pipe.cmd("XADD").arg(key).arg("*");
            for (field, value) in fields {
                pipe.arg(*field).arg(*value);
            }
        })
    }

    fn in_one_step(&self, index: u64, add: impl FnOnce(&mut Pipeline, &str)) -> Pipeline {
        self.written.store(true, Ordering::Relaxed);
        let key = self.key(index);
        let mut pipe = redis::pipe();
        add(pipe.atomic(), &key);
        pipe.cmd("PEXPIRE").arg(&key).arg(self.ttl_milliseconds()).ignore();
        pipe
    }
}

/// For BLOCK, where 0 would wait for ever.
fn milliseconds(block: Duration) -> u64 {
    u64::try_from(block.as_nanos() / 1_000_000).unwrap_or(u64::MAX).max(1)
}
