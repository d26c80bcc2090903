//! The only way to write keys: own prefix, TTL in the same command, caps on number and bytes, clean-up afterwards.
//!
//! A [`KeySpace`] belongs to one run. It hands out names and pre-encoded commands and remembers what they can have
//! created, so that clean-up needs no SCAN. What is measured with the keys does not belong here.

mod census;
mod fill;
mod range;
mod remains;
mod scan;
mod streams;
mod sweep;
mod tag;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use redis::aio::MultiplexedConnection;

use self::sweep::Sweep;
pub use self::{
    census::own_keys,
    fill::Filled,
    range::KeyRange,
    remains::remove_run,
    sweep::{Leftovers, SCAN, leftovers},
    tag::{Tag, Whose},
};
use crate::{
    error::{Failure, ProbeError, Reason},
    grant::Grant,
};

/// First part of every key of ours.
pub const PREFIX: &str = "redprobe:";

/// What clean-up sends: UNLINK, or where that alone is denied DEL, which no rule need grant.
pub const GRANTS: &[Grant] = &[
    Grant::touch("unlink", "{key}", "remove what a run has written"),
    Grant::touch("exists", "{key}", "see that it is gone")
        .optional("keys that could not be removed are not counted"),
];

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
    tag: Tag,
    prefix: String,
    ttl: Duration,
    budget: KeyBudget,
    account: Mutex<Account>,
    /// Whether the run was stopped.
    sealed: Arc<AtomicBool>,
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

    /// Keys that the run itself has removed with [`KeyRange::remove`].
    fn removed(&self) -> u64 {
        self.ranges.iter().map(|range| range.known().removed).sum()
    }
}

/// What clean-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CleanUp {
    /// Keys removed, by the run itself with [`KeyRange::remove`] and after it.
    pub keys_removed: u64,
    /// Keys that may be left; their TTL removes them.
    pub left_over: u64,
}

/// Keys in one UNLINK: some hundred microseconds of the server's time.
const BATCH: u64 = 500;
/// Bytes of values in one UNLINK: a string is freed at once and not in the background, 4 MB of them in about a
/// millisecond.
const BATCH_BYTES: u64 = 4 << 20;

impl KeySpace {
    /// The key space of one run: `redprobe:{<tag>}:<probe>:<run>:`. `ttl` is set by every write: the run's deadline
    /// and some minutes.
    #[must_use]
    pub fn new(tag: impl Into<Tag>, probe: &str, run: &str, ttl: Duration, budget: KeyBudget) -> Self {
        let tag = tag.into();
        let prefix = format!("{}{probe}:{run}:", tag.prefix());
        let (account, sealed) = (Mutex::default(), Arc::default());
        Self { inner: Arc::new(Inner { tag, prefix, ttl, budget, account, sealed }) }
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
            spread: Duration::ZERO,
            written: Arc::default(),
            known: Arc::default(),
            sealed: Arc::clone(&self.inner.sealed),
        };
        (account.keys, account.bytes) = (keys, bytes);
        account.ranges.push(range.clone());
        Ok(range)
    }

    fn allow(&self, setting: &str, of: &str, wanted: u64, limit: u64) -> Result<(), ProbeError> {
        if wanted <= limit {
            return Ok(());
        }
        let target = self.inner.tag.target();
        let message = format!(
            "the run would need {wanted} {of}, and targets.{target}.{setting} allows {limit}: raise it to at least \
             {wanted}, or make the probe's settings smaller"
        );
        Err(ProbeError::skipped(Reason::Precondition, message))
    }

    /// The slot of all its keys; `None` outside of a cluster.
    #[must_use]
    pub fn slot(&self) -> Option<u16> {
        self.inner.tag.slot()
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
        account
            .done
            .unwrap_or_else(|| CleanUp { keys_removed: account.removed(), left_over: account.written() })
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
            let before = account.done.map_or_else(|| account.removed(), |done| done.keys_removed);
            (written.cloned().collect::<Vec<_>>(), account.written(), before)
        };
        let mut total = CleanUp { keys_removed: before, left_over: left };
        self.account().done = Some(total);
        let mut sweep = Sweep::new(conn);
        let mut remaining = 0;
        for range in &ranges {
            let batch = range.batch();
            for first in (0..range.count).step_by(batch as usize) {
                let keys: Vec<String> =
                    (first..range.count.min(first + batch)).map(|index| range.key(index)).collect();
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
