//! Streams among the numbered keys of a run: reading them blocked, and creating them with their TTL in one step.
//!
//! A stream is a key like any other to budget and clean-up. What is read from it belongs to the caller.

use std::{sync::atomic::Ordering, time::Duration};

use redis::{Cmd, Pipeline};

use super::KeyRange;

/// The consumer in every group.
const CONSUMER: &str = "redprobe";

impl KeyRange {
    /// `XREAD BLOCK block STREAMS key after`: entries after id `after`, or only those that come from now on with `$`.
    /// Creates nothing; where no entry comes it answers nil after `block`, and at once where that is zero.
    #[must_use]
    pub fn xread(&self, index: u64, block: Duration, after: &str) -> Cmd {
        let mut cmd = redis::cmd("XREAD");
        self.streams(&mut cmd, index, block, after);
        cmd
    }

    /// `XREADGROUP … BLOCK block STREAMS key after` by the only consumer of `group`, which must be there: with `>` the
    /// entries that it was never given, with an id those after it which it was given already; they never block.
    #[must_use]
    pub fn xreadgroup(&self, index: u64, block: Duration, group: &str, after: &str) -> Cmd {
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg("GROUP").arg(group).arg(CONSUMER);
        self.streams(&mut cmd, index, block, after);
        cmd
    }

    fn streams(&self, cmd: &mut Cmd, index: u64, block: Duration, after: &str) {
        // BLOCK 0 would wait for ever.
        if !block.is_zero() {
            cmd.arg("BLOCK").arg(milliseconds(block));
        }
        cmd.arg("STREAMS").arg(self.key(index)).arg(after);
    }

    /// Adds a group to a stream, which is created where it is not there, and sets the TTL: one transaction.
    #[must_use]
    pub fn xgroup_create(&self, index: u64, group: &str) -> Pipeline {
        self.in_one_step(index, |pipe, key| {
            pipe.cmd("XGROUP").arg("CREATE").arg(key).arg(group).arg("$").arg("MKSTREAM").ignore();
        })
    }

    /// Adds an entry with these fields and values, and sets the TTL: one transaction, whose answer begins with the
    /// entry's id: `((String, i64),)`.
    #[must_use]
    pub fn xadd(&self, index: u64, fields: &[(&str, &[u8])]) -> Pipeline {
        self.in_one_step(index, |pipe, key| {
            pipe.cmd("XADD").arg(key).arg("*");
            for (field, value) in fields {
                pipe.arg(*field).arg(*value);
            }
            pipe.ignore();
        })
    }

    fn in_one_step(&self, index: u64, add: impl FnOnce(&mut Pipeline, &str)) -> Pipeline {
        self.written.store(true, Ordering::Relaxed);
        let key = self.key(index);
        let mut pipe = redis::pipe();
        // Not `atomic`, which makes one and the same error of whatever EXEC is refused for.
        pipe.cmd("MULTI").ignore();
        add(&mut pipe, &key);
        pipe.cmd("PEXPIRE").arg(&key).arg(self.ttl_milliseconds()).ignore().cmd("EXEC");
        pipe
    }
}

/// For BLOCK, in whole ones.
fn milliseconds(block: Duration) -> u64 {
    u64::try_from(block.as_nanos() / 1_000_000).unwrap_or(u64::MAX).max(1)
}
