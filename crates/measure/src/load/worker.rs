//! One worker: claims operations that are due, has its client do them, counts what came of it, connects anew.
//!
//! Threads and their runtimes are `thread`'s, the accounts `book`'s.

use std::{rc::Rc, sync::atomic::Ordering, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{Client, Connector, Order, Slot, thread::Shared};
use crate::{
    clock::{self, Alarm, Instant},
    error::{Failure, Reason},
    pace::Starts,
};

/// Operations that were due before the end are still sent this long after it, so that ordinary lateness of some
/// microseconds does not count as missed.
const GRACE: Duration = Duration::from_millis(100);
/// First and longest pause between attempts to connect anew.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

pub(super) struct Worker<C: Connector> {
    shared: Rc<Shared<C>>,
    index: usize,
    client: Option<C::Client>,
    /// Set while there is no connection: when to try again, how long to wait after that, and why.
    outage: Option<Outage>,
    begin: Instant,
    starts: Starts,
    alarm: Option<Alarm>,
    choose: Chooser,
    end: Option<Instant>,
}

struct Outage {
    retry_at: Instant,
    pause: Duration,
    reason: Reason,
}

impl<C: Connector> Worker<C> {
    pub(super) fn new(
        shared: Rc<Shared<C>>,
        index: usize,
        client: Option<C::Client>,
        start: Instant,
    ) -> Result<Self, Failure> {
        let plan = &shared.plan;
        let first = start + plan.delay;
        let begin = first + plan.ramp.mul_f64(index as f64 / plan.workers as f64);
        let mut starts = Starts::new(plan.pace, first, index as u64, plan.workers as u64);
        while starts.due().is_some_and(|due| due < begin) {
            starts.advance();
        }
        let alarm = if starts.due().is_some() || begin > start { Some(Alarm::new()?) } else { None };
        let choose = Chooser::new(&shared, index);
        let end = plan.stop.duration.map(|duration| first + duration);
        Ok(Self { shared, index, client, outage: None, begin, starts, alarm, choose, end })
    }

    /// Works until the phase's end.
    pub(super) async fn work(mut self) -> Result<(), Failure> {
        self.sleep_until(self.begin).await?;
        let mut batch = Vec::with_capacity(self.shared.plan.pipeline);
        loop {
            batch.clear();
            self.claim(&mut batch).await?;
            if batch.is_empty() {
                break;
            }
            self.shared.book.borrow_mut().depart(&batch);
            self.perform(&mut batch).await;
            self.shared.book.borrow_mut().arrive(&batch);
            if let Some(outage) = self.outage.as_ref().filter(|_| self.starts.due().is_none()) {
                // A closed loop would spin on a server that is gone.
                let retry_at = self.end.map_or(outage.retry_at, |end| outage.retry_at.min(end));
                tokio::time::sleep_until(retry_at.into()).await;
            }
        }
        self.count_missed();
        Ok(())
    }

    async fn sleep_until(&mut self, due: Instant) -> Result<(), Failure> {
        match &mut self.alarm {
            Some(alarm) => Ok(alarm.sleep_until(due).await?),
            None => Ok(()),
        }
    }

    /// Takes the operations that are due, waiting for the first. None at the phase's end.
    async fn claim(&mut self, batch: &mut Vec<Slot>) -> Result<(), Failure> {
        let pipeline = self.shared.plan.pipeline;
        let Some(due) = self.starts.due() else {
            let now = clock::now();
            if self.end.is_none_or(|end| now < end) {
                let count = self.shared.take(pipeline as u64);
                batch.extend((0..count).map(|_| self.choose.slot(now)));
                let mut book = self.shared.book.borrow_mut();
                batch.iter().for_each(|slot| book.offer(slot.kind));
            }
            return Ok(());
        };
        if self.end.is_some_and(|end| due >= end) {
            return Ok(());
        }
        if clock::now() < due {
            self.sleep_until(due).await?;
        }
        let now = clock::now();
        if self.end.is_some_and(|end| now > end + GRACE) {
            return Ok(());
        }
        while batch.len() < pipeline
            && let Some(due) = self.starts.due()
            && due <= now
            && self.end.is_none_or(|end| due < end)
            && self.shared.take(1) == 1
        {
            let slot = self.choose.slot(due);
            self.shared.book.borrow_mut().offer(slot.kind);
            batch.push(slot);
            self.starts.advance();
        }
        Ok(())
    }

    /// What was due and never sent still was offered.
    fn count_missed(&mut self) {
        let Some(end) = self.end else { return };
        let mut book = self.shared.book.borrow_mut();
        while self.starts.due().is_some_and(|due| due < end) && self.shared.take(1) == 1 {
            let kind = self.choose.slot(end).kind;
            book.offer(kind);
            self.starts.advance();
        }
    }

    async fn perform(&mut self, batch: &mut [Slot]) {
        if self.client.is_none()
            && let Err(reason) = self.connect_anew().await
        {
            let now = clock::now();
            for slot in batch {
                (slot.sent, slot.done, slot.result) = (now, now, Err(reason));
            }
            return;
        }
        let Some(client) = &mut self.client else { return };
        let result = client.execute(batch).await;
        for reason in batch.iter().filter_map(|slot| slot.result.err()) {
            let text = match &result {
                Err(failure) if failure.reason == reason => &failure.message,
                _ => client.last_refusal().unwrap_or(reason.as_str()),
            };
            self.shared.book.borrow_mut().example(reason, text);
        }
        if let Err(failure) = result {
            self.client = None;
            self.shared.book.borrow_mut().totals.reconnects += 1;
            self.outage = Some(Outage { retry_at: clock::now(), pause: BACKOFF.0, reason: failure.reason });
        }
    }

    /// Connects, at most once per pause: operations due in between fail at once with the last reason, as an
    /// application's would.
    async fn connect_anew(&mut self) -> Result<(), Reason> {
        let pause = match &self.outage {
            Some(outage) if clock::now() < outage.retry_at => return Err(outage.reason),
            Some(outage) => outage.pause,
            None => BACKOFF.0,
        };
        match self.shared.connector.connect(self.index).await {
            Ok(client) => {
                self.client = Some(client);
                self.outage = None;
                Ok(())
            }
            Err(failure) => {
                let reason = failure.reason;
                self.shared.book.borrow_mut().example(reason, &failure.message);
                let retry_at = clock::now() + pause;
                self.outage = Some(Outage { retry_at, pause: (pause * 2).min(BACKOFF.1), reason });
                Err(reason)
            }
        }
    }
}

impl<C: Connector> Shared<C> {
    /// Takes up to `count` operations of those that are left.
    fn take(&self, count: u64) -> u64 {
        let Some(left) = &self.operations_left else { return count };
        let before = left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(count)))
            .unwrap_or_default();
        before.min(count)
    }
}

/// Draws kind and key of the next operation.
struct Chooser {
    order: Order,
    /// `Random`: cumulative weights. `Cycle`: ends of each kind's turn.
    ends: Vec<u64>,
    key_space: u64,
    rng: SmallRng,
    worker: u64,
    workers: u64,
    drawn: u64,
}

impl Chooser {
    fn new<C: Connector>(shared: &Shared<C>, index: usize) -> Self {
        let plan = &shared.plan;
        let ends = plan
            .mix
            .iter()
            .scan(0, |sum, share| {
                *sum += u64::from(share.weight);
                Some(*sum)
            })
            .collect();
        Self {
            order: plan.order,
            ends,
            key_space: plan.key_space,
            rng: SmallRng::seed_from_u64(plan.seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            worker: index as u64,
            workers: plan.workers as u64,
            drawn: 0,
        }
    }

    fn slot(&mut self, due: Instant) -> Slot {
        let total = self.ends[self.ends.len() - 1];
        let (at, key) = match self.order {
            Order::Random if self.ends.len() == 1 && self.key_space == 1 => (0, 0),
            Order::Random => (self.rng.random_range(0..total), self.rng.random_range(0..self.key_space)),
            Order::Cycle => {
                let round = self.drawn / total;
                (self.drawn % total, (round * self.workers + self.worker) % self.key_space)
            }
        };
        self.drawn += 1;
        let kind = self.ends.iter().position(|end| at < *end).unwrap_or_default();
        Slot { kind, key, due, sent: due, done: due, result: Ok(()) }
    }
}
