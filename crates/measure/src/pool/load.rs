//! Load over pools: each operation takes a connection out, uses it, and gives it back, and its time is taken apart.
//!
//! When operations are due is [`crate::load`]'s; what one does with its connection is a [`Task`]'s.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{Cmd, Value};

use super::{AcquireTimes, Lent, Parts, Pool};
use crate::{
    clock::{self, Instant},
    error::{Failure, Reason},
    load::{Client, Connector, Slot},
};

/// What a worker does with a connection that it was lent, for one operation.
pub trait Task: Clone + Send + 'static {
    /// Does operation `slot` of worker `worker`.
    ///
    /// # Errors
    /// With the reason why it did not succeed.
    fn perform(
        &mut self,
        worker: usize,
        slot: &Slot,
        conn: &mut Lent,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// Makes the command of an operation, from the worker's and the key's number.
type Make = Arc<dyn Fn(usize, u64) -> Cmd + Send + Sync>;

/// The simplest task: one command per operation, any reply that is not an error is a good one.
#[derive(Clone, Default)]
pub struct Commands {
    kinds: Vec<(Make, Duration)>,
}

impl Commands {
    /// Adds the next kind of the plan's mix: its command, from the numbers of worker and key, and its bound.
    #[must_use]
    pub fn with(
        mut self,
        bound: Duration,
        command: impl Fn(usize, u64) -> Cmd + Send + Sync + 'static,
    ) -> Self {
        self.kinds.push((Arc::new(command), bound));
        self
    }
}

impl Task for Commands {
    async fn perform(&mut self, worker: usize, slot: &Slot, conn: &mut Lent) -> Result<(), Failure> {
        let (make, bound) = &self.kinds[slot.kind];
        conn.query::<Value>(&make(worker, slot.key), *bound).await.map(drop)
    }
}

/// How workers use their pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A connection is taken out for each operation, and kept this long after its reply, as by one who works between
    /// two commands.
    EachTime(Duration),
    /// Each worker takes one out before its first operation and keeps it.
    Kept,
}

/// Where the time of each kind of operation of a phase went, as its workers write it down. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    kinds: Vec<Parts>,
    begun: Option<Instant>,
    first_failure: Option<Instant>,
}

impl Ledger {
    /// Per kind, in the order of the plan's mix; kinds after the last that was ever done are not there.
    #[must_use]
    pub fn parts(&self) -> Vec<Parts> {
        self.pages().kinds.clone()
    }

    /// When the first operation asked for a connection.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.pages().begun
    }

    /// When the first operation failed.
    #[must_use]
    pub fn first_failure(&self) -> Option<Instant> {
        self.pages().first_failure
    }

    fn add(&self, slot: &Slot, begun: Instant, parts: Parts) {
        let mut pages = self.pages();
        if pages.kinds.len() <= slot.kind {
            pages.kinds.resize(slot.kind + 1, Parts::default());
        }
        pages.kinds[slot.kind].add(parts);
        // Not in the order in which they began.
        pages.begun = Some(pages.begun.map_or(begun, |first| first.min(begun)));
        if slot.result.is_err() {
            pages.first_failure.get_or_insert(slot.done);
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Workers on pools: worker w uses pool w mod n, as n processes with a pool each would.
#[derive(Debug, Clone)]
pub struct PooledConnector<T> {
    pools: Arc<[Pool]>,
    task: T,
    usage: Use,
    ledger: Ledger,
}

impl<T: Task> PooledConnector<T> {
    /// On at least one pool.
    #[must_use]
    pub fn new(pools: &[Pool], task: T, usage: Use) -> Self {
        Self { pools: pools.into(), task, usage, ledger: Ledger::default() }
    }

    /// Where the time goes, to be read when the phase is over.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }
}

impl<T: Task> Connector for PooledConnector<T> {
    type Client = PooledClient<T>;

    async fn connect(&self, worker: usize) -> Result<PooledClient<T>, Failure> {
        let pool = self.pools[worker % self.pools.len()].clone();
        let kept = if self.usage == Use::Kept { Some(pool.acquire().await.0?) } else { None };
        let (task, usage, ledger) = (self.task.clone(), self.usage, self.ledger.clone());
        Ok(PooledClient { pool, worker, task, usage, kept, ledger, refusal: String::new(), cut_off: false })
    }
}

/// One worker on a pool.
pub struct PooledClient<T> {
    pool: Pool,
    worker: usize,
    task: T,
    usage: Use,
    kept: Option<Lent>,
    ledger: Ledger,
    refusal: String,
    /// The last checkout could not even open a connection.
    cut_off: bool,
}

impl<T: Task> Client for PooledClient<T> {
    /// One after the other: what a pool's users do is not pipelined.
    async fn execute(&mut self, batch: &mut [Slot]) -> Result<(), Failure> {
        for at in 0..batch.len() {
            let Err(failure) = self.operate(&mut batch[at]).await else { continue };
            self.refusal.clone_from(&failure.message);
            if self.is_usable_after(&failure) {
                continue;
            }
            let now = clock::now();
            for rest in &mut batch[at + 1..] {
                (rest.sent, rest.done, rest.result) = (now, now, Err(failure.reason));
            }
            return Err(failure);
        }
        Ok(())
    }

    fn last_refusal(&self) -> Option<&str> {
        (!self.refusal.is_empty()).then_some(&self.refusal)
    }
}

impl<T: Task> PooledClient<T> {
    /// The pool outlives what goes wrong with a connection. Only where none can be opened a worker pauses, which it does
    /// after an error; else it would spin.
    fn is_usable_after(&self, failure: &Failure) -> bool {
        let pauses = match self.usage {
            Use::Kept => failure.reason.is_broken_connection(),
            Use::EachTime(_) => self.cut_off,
        };
        !pauses
    }

    async fn operate(&mut self, slot: &mut Slot) -> Result<(), Failure> {
        let begun = clock::now();
        let mut fresh = None;
        let (lent, times) = match &mut self.kept {
            Some(kept) => (Ok(kept), AcquireTimes::default()),
            None => {
                let (lent, times) = self.pool.acquire().await;
                self.cut_off = lent.as_ref().is_err_and(|failure| failure.reason != Reason::PoolTimeout);
                (lent.map(|lent| fresh.insert(lent)), times)
            }
        };
        slot.sent = clock::now();
        let sent = lent.is_ok();
        let result = match lent {
            Ok(conn) => self.task.perform(self.worker, slot, conn).await,
            Err(failure) => Err(failure),
        };
        slot.done = clock::now();
        slot.result = result.as_ref().map(|&()| ()).map_err(|failure| failure.reason);
        self.ledger.add(slot, begun, parts(slot, begun, times, sent));
        if let Use::EachTime(hold) = self.usage
            && !hold.is_zero()
            && result.is_ok()
        {
            tokio::time::sleep(hold).await;
        }
        result
    }
}

fn parts(slot: &Slot, begun: Instant, times: AcquireTimes, sent: bool) -> Parts {
    Parts {
        attempts: 1,
        sent: u64::from(sent),
        observed: slot.done.saturating_duration_since(slot.due),
        late: begun.saturating_duration_since(slot.due),
        wait: times.wait,
        recycle: times.recycle,
        create: times.create,
        round_trip: if sent { slot.done.saturating_duration_since(slot.sent) } else { Duration::ZERO },
    }
}
