//! The only way to write keys: own prefix, TTL in the same command, caps on number and bytes, clean-up afterwards.
//!
//! A [`KeySpace`] belongs to one run. It hands out names and pre-encoded commands and remembers what they can have
//! created, so that clean-up needs no SCAN. What is measured with the keys does not belong here.

mod sweep;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use redis::aio::MultiplexedConnection;

use self::sweep::Sweep;
pub use self::sweep::leftovers;
use crate::{
    error::{Failure, ProbeError, Reason},
    resp,
    wire::{Command, Expect},
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: String,
    prefix: String,
    ttl: Duration,
    budget: KeyBudget,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    keys: u64,
    bytes: u64,
    ranges: Vec<KeyRange>,
    /// Once clean-up has begun.
    done: Option<CleanUp>,
}

impl Account {
    /// Keys that may have been written.
    fn written(&self) -> u64 {
        self.ranges.iter().filter(|range| !range.is_untouched()).map(|range| range.count).sum()
    }
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
    /// Whether a command that writes was ever handed out.
    written: Arc<AtomicBool>,
}

/// What clean-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CleanUp {
    /// Keys removed.
    pub keys_removed: u64,
    /// Keys that may be left; their TTL removes them.
    pub left_over: u64,
}

/// Keys in one UNLINK: some hundred microseconds of the server's time.
const BATCH: u64 = 500;

impl KeySpace {
    /// The key space of one run: `redprobe:{<target>}:<probe>:<run>:`. `ttl` is set by every write: the run's deadline
    /// and some minutes.
    #[must_use]
    pub fn new(target: &str, probe: &str, run: &str, ttl: Duration, budget: KeyBudget) -> Self {
        let prefix = format!("{}{probe}:{run}:", prefix_of(target));
        let account = Mutex::default();
        Self { inner: Arc::new(Inner { target: target.to_owned(), prefix, ttl, budget, account }) }
    }

    /// Sets `count` numbered keys of `value_size` bytes apart under `group`, within the budget. Counts against it for
    /// the whole run, also when the keys are deleted before its end.
    ///
    /// # Errors
    /// Skipped (`precondition`) where the budget does not allow it; says which limit and how to raise it.
    pub fn range(&self, group: &str, count: u64, value_size: usize) -> Result<KeyRange, ProbeError> {
        let mut account = self.account();
        let keys = account.keys.saturating_add(count);
        let bytes = account.bytes.saturating_add(count.saturating_mul(value_size as u64));
        self.allow("max_keys", "keys", keys, self.inner.budget.keys.min(KeyRange::MOST))?;
        self.allow("max_bytes", "bytes of values", bytes, self.inner.budget.bytes)?;
        let range = KeyRange {
            prefix: format!("{}{group}:", self.inner.prefix),
            count,
            value_size,
            ttl: self.inner.ttl,
            written: Arc::default(),
        };
        (account.keys, account.bytes) = (keys, bytes);
        account.ranges.push(range.clone());
        Ok(range)
    }

    fn allow(&self, setting: &str, of: &str, wanted: u64, limit: u64) -> Result<(), ProbeError> {
        if wanted <= limit {
            return Ok(());
        }
        let target = &self.inner.target;
        let message = format!(
            "the run would need {wanted} {of}, and targets.{target}.{setting} allows {limit}: raise it to at least \
             {wanted}, or make the probe's settings smaller"
        );
        Err(ProbeError::skipped(Reason::Precondition, message))
    }

    /// How long its keys live at the most.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.inner.ttl
    }

    /// Whether nothing can have been written: no command that writes was handed out.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.account().ranges.iter().all(KeyRange::is_untouched)
    }

    /// What clean-up has done so far. Where it failed or was cut short: `left_over` is exact if the server could still be
    /// asked, and else the number of keys that may have been written and were not seen to be gone.
    #[must_use]
    pub fn cleaned_up(&self) -> CleanUp {
        let account = self.account();
        account.done.unwrap_or_else(|| CleanUp { keys_removed: 0, left_over: account.written() })
    }

    /// Removes everything that may have been written, by UNLINK (DEL where that is denied) in batches, and counts. To
    /// be called when nothing writes any more; calling it again does no harm.
    ///
    /// # Errors
    /// When the server refuses or goes away; what is left then goes by its TTL, and [`KeySpace::cleaned_up`] says how
    /// much that is.
    pub async fn clean_up(&self, conn: &mut MultiplexedConnection) -> Result<CleanUp, Failure> {
        let (ranges, mut left, before) = {
            let account = self.account();
            let written = account.ranges.iter().filter(|range| !range.is_untouched());
            let before = account.done.map_or(0, |done| done.keys_removed);
            (written.cloned().collect::<Vec<_>>(), account.written(), before)
        };
        let mut total = CleanUp { keys_removed: before, left_over: left };
        self.account().done = Some(total);
        let mut sweep = Sweep::new(conn);
        let mut remaining = 0;
        for range in &ranges {
            for first in (0..range.count).step_by(BATCH as usize) {
                let keys: Vec<String> =
                    (first..range.count.min(first + BATCH)).map(|index| range.key(index)).collect();
                let (removed, exist) = sweep.batch(&keys).await?;
                left -= keys.len() as u64;
                remaining += exist;
                total.keys_removed += removed;
                total.left_over = left + remaining;
                self.account().done = Some(total);
            }
        }
        match sweep.refused {
            Some(failure) if remaining > 0 => Err(failure),
            _ => Ok(total),
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.inner.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `redprobe:{<target>}:`. The braces keep all keys of a target in one slot of a cluster.
fn prefix_of(target: &str) -> String {
    format!("{PREFIX}{{{target}}}:")
}

impl KeyRange {
    /// Digits of a key's number.
    pub const DIGITS: usize = 9;
    /// Keys that can be numbered with them.
    const MOST: u64 = 1_000_000_000;

    /// The name of key `index`.
    #[must_use]
    pub fn key(&self, index: u64) -> String {
        debug_assert!(index < self.count, "key {index} of {}", self.count);
        format!("{}{index:0digits$}", self.prefix, digits = Self::DIGITS)
    }

    /// Says that none of its keys exists: the server refused every write, or has answered the removal. Clean-up then
    /// leaves it out, until the next write is handed out.
    pub fn settle(&self) {
        self.written.store(false, Ordering::Relaxed);
    }

    fn is_untouched(&self) -> bool {
        !self.written.load(Ordering::Relaxed)
    }

    /// `GET key`; a missing key is a good answer.
    #[must_use]
    pub fn get(&self) -> Command {
        self.command("get", &[b"GET"], &[], Expect::Bulk)
    }

    /// `SET key value PX ttl`, with a value of random bytes: one that no memory or wire can compress.
    #[must_use]
    pub fn set(&self) -> Command {
        self.written.store(true, Ordering::Relaxed);
        let mut value = vec![0; self.value_size];
        let mut seed = DefaultHasher::new();
        self.prefix.hash(&mut seed);
        StdRng::seed_from_u64(seed.finish()).fill(value.as_mut_slice());
        let ttl = self.ttl_milliseconds().to_string();
        self.command("set", &[b"SET"], &[&value, b"PX", ttl.as_bytes()], Expect::Simple)
    }

    /// Deletes a key, as `UNLINK` so that a large value is freed off the server's main thread.
    #[must_use]
    pub fn delete(&self) -> Command {
        self.command("del", &[b"UNLINK"], &[], Expect::Integer)
    }

    /// The words before and after the key, encoded with the place of its number.
    fn command(&self, name: &'static str, before: &[&[u8]], after: &[&[u8]], expect: Expect) -> Command {
        let key = format!("{}{:0digits$}", self.prefix, 0, digits = Self::DIGITS);
        let words: Vec<&[u8]> =
            before.iter().copied().chain([key.as_bytes()]).chain(after.iter().copied()).collect();
        let request = resp::encode(&words);
        // The key ends where its own encoding, as the last word of those up to it, ends but for the line break; the
        // count of words in front has the same length for up to nine of them.
        let upto = resp::encode(&words[..=before.len()]).len();
        let number_at = upto - 2 - Self::DIGITS;
        debug_assert!(words.len() <= 9);
        Command { name, request, number_at: Some(number_at), expect }
    }

    fn ttl_milliseconds(&self) -> u64 {
        u64::try_from(self.ttl.as_nanos() / 1_000_000).unwrap_or(u64::MAX).max(1)
    }

    /// `SET key value PX ttl` of one key, for the redis crate's connections.
    #[must_use]
    pub fn set_one(&self, index: u64, value: &[u8]) -> redis::Cmd {
        self.written.store(true, Ordering::Relaxed);
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.key(index)).arg(value).arg("PX").arg(self.ttl_milliseconds());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn space(keys: u64, bytes: u64) -> KeySpace {
        KeySpace::new("staging", "throughput", "01J", Duration::from_secs(60), KeyBudget { keys, bytes })
    }

    #[test]
    fn commands_carry_prefix_ttl_and_the_place_of_the_number() {
        let range = space(100, 1_000).range("load", 10, 16).unwrap();
        assert_eq!(range.key(7), "redprobe:{staging}:throughput:01J:load:000000007");
        let set = range.set();
        for (command, verb) in [(&set, "SET"), (&range.get(), "GET"), (&range.delete(), "UNLINK")] {
            let at = command.number_at.unwrap();
            assert_eq!(&command.request[at..at + KeyRange::DIGITS], b"000000000");
            assert_eq!(&command.request[at + KeyRange::DIGITS..][..2], b"\r\n");
            let text = String::from_utf8_lossy(&command.request);
            assert!(text.contains(verb) && text.contains("redprobe:{staging}:throughput:01J:load:000000000"));
        }
        assert!(set.request.ends_with(b"$2\r\nPX\r\n$5\r\n60000\r\n"));
        assert_eq!(set.request, range.set().request, "the same seed gives the same value");
    }

    #[test]
    fn the_budget_is_for_the_whole_run_and_names_its_key() {
        let keys = space(10, 100);
        keys.range("a", 6, 10).unwrap();
        let error = keys.range("b", 5, 1).unwrap_err();
        assert_eq!(error.failure().reason, Reason::Precondition);
        assert!(matches!(error, ProbeError::Skipped(_)));
        let message = &error.failure().message;
        assert!(
            message.contains("need 11 keys") && message.contains("targets.staging.max_keys allows 10"),
            "{message}"
        );
        let message = keys.range("b", 4, 11).unwrap_err().failure().message.clone();
        assert!(message.contains("104 bytes") && message.contains("targets.staging.max_bytes"), "{message}");
        keys.range("b", 4, 10).unwrap();
        assert!(keys.range("c", 1, 0).is_err());
        assert!(space(u64::MAX, u64::MAX).range("a", KeyRange::MOST + 1, 1).is_err());
    }

    #[test]
    fn untouched_until_a_command_that_writes_is_handed_out() {
        for write in [|range: &KeyRange| drop(range.set()), |range: &KeyRange| drop(range.set_one(0, b"x"))] {
            let keys = space(10, 100);
            let range = keys.range("a", 5, 10).unwrap();
            let _ = (range.get(), range.delete(), range.get_one(0), range.unlink_one(0));
            assert!(keys.is_untouched());
            write(&range.clone());
            assert!(!keys.is_untouched());
        }
    }
}
