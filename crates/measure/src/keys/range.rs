//! A group of numbered keys: their names and the commands on them. How many a run may have is the key space's; writing
//! many of them at a time, and knowing which are there, `fill`'s.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{BATCH, BATCH_BYTES, fill::Known};
use crate::{
    resp,
    wire::{Command, Expect},
};

/// A group of numbered keys of one value size, such as those of one phase.
#[derive(Debug, Clone)]
pub struct KeyRange {
    /// `redprobe:{<target>}:<probe>:<run>:<group>:`, followed by the number in [`KeyRange::DIGITS`] digits.
    pub prefix: String,
    /// Keys in it: numbers 0 to `count − 1`.
    pub count: u64,
    /// Bytes of each value.
    pub value_size: usize,
    /// TTL that every write sets; less for most keys of a range that was [`KeyRange::spread`].
    pub ttl: Duration,
    /// How far apart the ends of its keys are.
    pub(super) spread: Duration,
    /// Whether a command that writes was ever handed out.
    pub(super) written: Arc<AtomicBool>,
    /// Which of its keys are known to be there.
    pub(super) known: Arc<Mutex<Known>>,
    /// Whether the run was stopped.
    pub(super) sealed: Arc<AtomicBool>,
}

impl KeyRange {
    /// Digits of a key's number.
    pub const DIGITS: usize = 9;
    /// Keys that can be numbered with them.
    pub(super) const MOST: u64 = 1_000_000_000;

    /// The name of key `index`.
    #[must_use]
    pub fn key(&self, index: u64) -> String {
        debug_assert!(index < self.count, "key {index} of {}", self.count);
        format!("{}{index:0digits$}", self.prefix, digits = Self::DIGITS)
    }

    /// Lets its keys end over this time, the latest after the TTL, for those written by [`KeyRange::fill`] and
    /// [`KeyRange::set_one`]. Thousands of values that expire in one moment hold up the server for as long as it takes to
    /// free them.
    #[must_use]
    pub fn spread(self, over: Duration) -> Self {
        Self { spread: over.min(self.ttl / 2), ..self }
    }

    /// The TTL that the write of key `index` sets.
    #[must_use]
    pub fn ttl_of(&self, index: u64) -> Duration {
        // The golden ratio's multiples lie evenly, however many there are of them.
        let share = (index as f64 * 0.618_033_988_749_895).fract();
        self.ttl - self.spread.mul_f64(share)
    }

    /// Keys that one command may remove.
    pub(super) fn batch(&self) -> u64 {
        (BATCH_BYTES / (self.value_size as u64).max(1)).clamp(1, BATCH)
    }

    /// Says that none of its keys exists: the server refused every write, or has answered the removal. Clean-up then
    /// leaves it out, until the next write is handed out.
    pub fn settle(&self) {
        self.written.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_untouched(&self) -> bool {
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
        let ttl = milliseconds(self.ttl).to_string();
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

    pub(super) fn ttl_milliseconds(&self) -> u64 {
        milliseconds(self.ttl)
    }

    /// `SET key value PX ttl` of one key, for the redis crate's connections.
    #[must_use]
    pub fn set_one(&self, index: u64, value: &[u8]) -> redis::Cmd {
        self.written.store(true, Ordering::Relaxed);
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.key(index)).arg(value).arg("PX").arg(milliseconds(self.ttl_of(index)));
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

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos() / 1_000_000).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use crate::keys::{KeyBudget, KeySpace};

    use super::*;

    #[test]
    fn a_spread_range_ends_evenly_and_none_of_it_after_the_ttl() {
        let budget = KeyBudget { keys: 1_000, bytes: 1 << 30 };
        let space = KeySpace::new("staging", "fill", "01J", Duration::from_secs(100), budget);
        let plain = space.range("a", 1_000, 1 << 20).unwrap();
        assert_eq!(plain.ttl_of(7), Duration::from_secs(100));
        let spread = plain.spread(Duration::from_secs(40));
        let mut tenths = [0; 10];
        for index in 0..spread.count {
            let early = (spread.ttl - spread.ttl_of(index)).as_secs_f64();
            assert!((0.0..40.0).contains(&early), "{early}");
            tenths[(early / 4.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (95..=105).contains(count)), "{tenths:?}");
        let longest = spread.spread(Duration::from_secs(1_000));
        assert!(longest.ttl_of(3) >= Duration::from_secs(50), "never so much that a key ends before its run");
    }

    #[test]
    fn one_removal_takes_few_large_keys_or_many_small_ones() {
        let budget = KeyBudget { keys: u64::MAX, bytes: u64::MAX };
        let space = KeySpace::new("staging", "fill", "01J", Duration::from_secs(100), budget);
        let batch = |size| space.range("a", 1, size).unwrap().batch();
        assert_eq!([batch(0), batch(128), batch(64 << 10), batch(1 << 30)], [500, 500, 64, 1]);
    }
}
