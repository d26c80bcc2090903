//! Writing and removing many keys at a time, and knowing which of them are there: so that own keys which the server
//! evicted can be told from other people's.
//!
//! Names and single commands are `range`'s; what an eviction means for the run is the guard's.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use redis::{Value, aio::MultiplexedConnection};

use super::{BATCH, KeyRange, KeySpace};
use crate::{
    error::{Failure, Reason},
    guard::OwnErrors,
};

/// What one batch came to.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    /// Keys that the server acknowledged.
    pub written: u64,
    /// Keys that it refused.
    pub refused: u64,
    /// The first refusal.
    pub refusal: Option<Failure>,
}

/// The keys of a range that the server has acknowledged, and that were not removed since.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where each unbroken row of numbers begins, and where it ends (exclusive).
    rows: BTreeMap<u64, u64>,
    /// Keys that were gone when they were to be removed: evicted before.
    lost: u64,
    /// Keys that [`KeyRange::remove`] has removed.
    pub(super) removed: u64,
}

impl Known {
    fn add(&mut self, added: Range<u64>) {
        if added.is_empty() {
            return;
        }
        self.take(added.clone());
        let (mut start, mut end) = (added.start, added.end);
        if let Some((&first, &last)) = self.rows.range(..start).next_back()
            && last == start
        {
            self.rows.remove(&first);
            start = first;
        }
        if let Some(last) = self.rows.remove(&end) {
            end = last;
        }
        self.rows.insert(start, end);
    }

    /// Takes numbers out; returns how many of them were there.
    fn take(&mut self, taken: Range<u64>) -> u64 {
        if taken.is_empty() {
            return 0;
        }
        let touched: Vec<(u64, u64)> = self
            .rows
            .range(..taken.end)
            .rev()
            .take_while(|&(_, &end)| end > taken.start)
            .map(|(&start, &end)| (start, end))
            .collect();
        let mut count = 0;
        for (start, end) in touched {
            self.rows.remove(&start);
            if start < taken.start {
                self.rows.insert(start, taken.start);
            }
            if end > taken.end {
                self.rows.insert(taken.end, end);
            }
            count += end.min(taken.end) - start.max(taken.start);
        }
        count
    }

    fn count(&self) -> u64 {
        self.rows.iter().map(|(start, end)| end - start).sum()
    }
}

impl KeyRange {
    /// Writes the keys `numbers` with `value`, TTL in each command, as one pipeline: the caller chooses how many that
    /// are, and looks at the server's memory in between. The run's `own` account takes the refusals, so that the guard
    /// does not take them for other people's.
    ///
    /// # Errors
    /// `cancelled` once the run was stopped; nothing is sent then. Where the connection breaks: any of the batch may
    /// have been written. A refusal by the server is no error but part of [`Filled`].
    pub async fn fill(
        &self,
        conn: &mut MultiplexedConnection,
        numbers: Range<u64>,
        value: &[u8],
        own: &OwnErrors,
    ) -> Result<Filled, Failure> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(Failure::new(Reason::Cancelled, "the run was stopped: no more keys are written"));
        }
        let mut pipe = redis::pipe();
        for number in numbers.clone() {
            pipe.add_command(self.set_one(number, value));
        }
        pipe.ignore_errors();
        let answers: Vec<redis::RedisResult<Value>> = pipe.query_async(conn).await?;
        let mut filled = Filled::default();
        for (number, answer) in numbers.zip(answers) {
            match answer {
                Ok(_) => {
                    filled.written += 1;
                    self.known().add(number..number + 1);
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    own.note(failure.reason);
                    filled.refused += 1;
                    filled.refusal.get_or_insert(failure);
                }
            }
        }
        Ok(filled)
    }

    /// Removes the keys `numbers` by UNLINK, some hundred at a time, and returns how many were there. Those that had
    /// gone before are counted as lost.
    ///
    /// # Errors
    /// When the server refuses or goes away.
    pub async fn remove(
        &self,
        conn: &mut MultiplexedConnection,
        numbers: Range<u64>,
    ) -> Result<u64, Failure> {
        let mut total = 0;
        for first in numbers.clone().step_by(self.batch() as usize) {
            let batch = first..numbers.end.min(first + self.batch());
            let keys: Vec<String> = batch.clone().map(|number| self.key(number)).collect();
            // Before it is sent: a key on its way out must not look evicted.
            let known = self.known().take(batch);
            let removed: u64 = redis::cmd("UNLINK").arg(keys).query_async(conn).await?;
            let mut account = self.known();
            account.lost += known.saturating_sub(removed);
            account.removed += removed;
            total += removed;
        }
        Ok(total)
    }

    /// Which of the keys `numbers` are there, in their order. Leaves their age as it is.
    ///
    /// # Errors
    /// When the server refuses or goes away.
    pub async fn there(
        &self,
        conn: &mut MultiplexedConnection,
        numbers: Range<u64>,
    ) -> Result<Vec<bool>, Failure> {
        let mut there = Vec::new();
        for first in numbers.clone().step_by(BATCH as usize) {
            let mut pipe = redis::pipe();
            for number in first..numbers.end.min(first + BATCH) {
                pipe.cmd("EXISTS").arg(self.key(number));
            }
            there.extend(pipe.query_async::<Vec<bool>>(conn).await?);
        }
        Ok(there)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeySpace {
    /// No more keys: from now on [`KeyRange::fill`] refuses. For a run that is stopped.
    pub fn seal(&self) {
        self.inner.sealed.store(true, Ordering::Release);
    }

    /// Keys that were acknowledged by [`KeyRange::fill`], and not removed since.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.account().ranges.iter().map(|range| range.known().count()).sum()
    }

    /// How many of the keys that were acknowledged, and not removed by the run, are gone: evicted. Asks by EXISTS, which
    /// leaves their age as it is, some hundred at a time.
    ///
    /// Keys that the server has written but not yet acknowledged are not looked at: where the answer has to cover
    /// them, ask again a moment later.
    ///
    /// # Errors
    /// When the server refuses or goes away.
    pub async fn lost(&self, conn: &mut MultiplexedConnection) -> Result<u64, Failure> {
        let ranges = self.account().ranges.clone();
        let mut lost = 0;
        for range in ranges {
            let rows: Vec<(u64, u64)> = {
                let known = range.known();
                lost += known.lost;
                known.rows.iter().map(|(start, end)| (*start, *end)).collect()
            };
            for (start, end) in rows {
                for first in (start..end).step_by(BATCH as usize) {
                    let keys: Vec<String> =
                        (first..end.min(first + BATCH)).map(|number| range.key(number)).collect();
                    let asked = keys.len() as u64;
                    let there: u64 = redis::cmd("EXISTS").arg(keys).query_async(conn).await?;
                    lost += asked.saturating_sub(there);
                }
            }
        }
        Ok(lost)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_hold_what_a_set_would(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..10), 0..40)) {
            let mut known = Known::default();
            let mut set = std::collections::BTreeSet::new();
            for (add, start, length) in steps {
                let range = start..start + length;
                if add {
                    known.add(range.clone());
                    set.extend(range);
                } else {
                    let there = range.clone().filter(|number| set.remove(number)).count() as u64;
                    prop_assert_eq!(known.take(range), there);
                }
                let rows: Vec<u64> = known.rows.iter().flat_map(|(start, end)| *start..*end).collect();
                prop_assert_eq!(&rows, &set.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(known.count(), set.len() as u64);
            }
            let adjoining = known.rows.iter().zip(known.rows.iter().skip(1)).any(|((_, end), (start, _))| end == start);
            prop_assert!(!adjoining, "rows that touch are one");
        }
    }
}
