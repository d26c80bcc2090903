//! Starts the threads of a phase, adds up what they count, tells progress, applies the stop rule, makes the result.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Connector, LoadPlan, LoadResult, Progress, StoppedBy,
    book::{Message, Second, Tally, Totals},
    thread::{self, Seat, Setup},
};
use crate::{
    clock::{self, Instant},
    error::{Failure, Reason, one_line},
    latency::Recorder,
    report::{LoopKind, Operation, ReportedError, TimelinePoint},
};

/// Messages under way; a thread sends one a second.
const QUEUE: usize = 64;

pub(super) struct Collector {
    plan: Arc<LoadPlan>,
    kill: CancellationToken,
    progress: watch::Sender<Progress>,
    sender: Option<mpsc::Sender<Message>>,
    receiver: mpsc::Receiver<Message>,
    start: watch::Sender<Option<Instant>>,
    threads: usize,
    connected: usize,
    connects: Recorder,
    failures: Vec<Failure>,
    kinds: Vec<Tally>,
    /// Per second: all kinds together.
    seconds: BTreeMap<u64, Tally>,
    totals: Totals,
    done: usize,
    too_many_errors: bool,
}

impl Collector {
    pub(super) fn new(plan: LoadPlan, kill: CancellationToken, progress: watch::Sender<Progress>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let kinds = vec![Tally::new(plan.pace.kind()); plan.mix.len()];
        let totals = Totals { offered: vec![0; plan.mix.len()], ..Totals::default() };
        Self {
            threads: plan.threads.min(plan.workers),
            plan: Arc::new(plan),
            kill,
            progress,
            sender: Some(sender),
            receiver,
            start: watch::Sender::new(None),
            connected: 0,
            connects: Recorder::default(),
            failures: Vec::new(),
            kinds,
            seconds: BTreeMap::new(),
            totals,
            done: 0,
            too_many_errors: false,
        }
    }

    pub(super) fn start_threads<C: Connector>(
        &mut self,
        connector: C,
        tracker: &TaskTracker,
    ) -> Result<(), Failure> {
        for (index, seat) in self.seats().into_iter().enumerate() {
            let setup = Setup { seat, connector: connector.clone() };
            let running = tracker.token();
            std::thread::Builder::new().name(format!("load-{index}")).spawn(move || {
                let _running = running;
                if let Err(failure) = thread::main(setup) {
                    tracing::warn!(%failure, "a load thread ended early");
                }
            })?;
        }
        Ok(())
    }

    /// The whole phase as one thread's part.
    pub(super) fn only_seat(&mut self) -> Seat {
        debug_assert_eq!(self.threads, 1, "a crew has one thread");
        self.seats().swap_remove(0)
    }

    /// What each thread has to do. To be asked once: when the last thread is gone, so is the last sender.
    fn seats(&mut self) -> Vec<Seat> {
        let sender = self.sender.take().expect("threads are started once");
        let operations_left = self.plan.stop.operations.map(|count| Arc::new(AtomicU64::new(count)));
        let seat = |index| Seat {
            plan: Arc::clone(&self.plan),
            workers: (index..self.plan.workers).step_by(self.threads).collect(),
            operations_left: operations_left.clone(),
            kill: self.kill.clone(),
            sender: sender.clone(),
            start: self.start.subscribe(),
        };
        (0..self.threads).map(seat).collect()
    }

    /// Waits for every thread, bounded by their own bounds: duration, operation timeout, kill switch.
    pub(super) async fn finish(mut self) -> Result<LoadResult, Failure> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = self.receiver.recv() => match message {
                    Some(message) => self.take(message)?,
                    None => break,
                },
                _ = tick.tick() => self.tell(),
            }
        }
        if self.done < self.threads && !self.kill.is_cancelled() {
            return Err(Failure::new(Reason::Panic, "a load thread broke off; its log says why"));
        }
        Ok(self.result())
    }

    fn take(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Connected { times, failures, workers } => {
                self.connects.merge(&times);
                self.failures.extend(failures);
                self.connected += workers;
                if self.connected == self.plan.workers {
                    if self.connects.count() == 0 {
                        return Err(self.failures.swap_remove(0));
                    }
                    self.start.send_replace(Some(clock::now()));
                }
            }
            Message::Second(second) => self.add(&second),
            Message::Done(totals) => {
                self.done += 1;
                self.totals.merge(totals);
            }
        }
        Ok(())
    }

    fn add(&mut self, second: &Second) {
        let kind = self.plan.pace.kind();
        let sum = self.seconds.entry(second.index).or_insert_with(|| Tally::new(kind));
        for (total, tally) in self.kinds.iter_mut().zip(&second.kinds) {
            total.merge(tally);
            sum.merge(tally);
        }
        let limit = self.plan.stop.error_ratio.filter(|_| second.index > 0);
        if limit
            .is_some_and(|limit| 1.0 - sum.ok as f64 / sum.attempts.max(1) as f64 > limit && sum.attempts > 0)
        {
            self.too_many_errors = true;
            self.kill.cancel();
        }
    }

    fn tell(&self) {
        let Some(start) = *self.start.borrow() else { return };
        let elapsed = start.elapsed();
        let sent: u64 = self.kinds.iter().map(|tally| tally.attempts).sum();
        let by_time = self.plan.stop.duration.map(|total| elapsed.as_secs_f64() / total.as_secs_f64());
        let by_count = self.plan.stop.operations.map(|total| sent as f64 / total.max(1) as f64);
        self.progress.send_replace(Progress {
            phase: self.plan.phase,
            done: by_time.unwrap_or_default().max(by_count.unwrap_or_default()).min(1.0),
            per_second: self.seconds.last_key_value().map_or(0.0, |(_, tally)| tally.ok as f64),
            left: self.plan.stop.duration.map(|total| total.saturating_sub(elapsed)),
        });
    }

    fn result(self) -> LoadResult {
        let start = self.start.borrow().unwrap_or_else(clock::now);
        let duration = self.duration(start);
        let stopped_by = if self.too_many_errors {
            StoppedBy::ErrorRatio
        } else if self.kill.is_cancelled() {
            StoppedBy::Killed
        } else if self
            .plan
            .stop
            .operations
            .is_some_and(|count| self.totals.offered.iter().sum::<u64>() >= count)
        {
            StoppedBy::Operations
        } else {
            StoppedBy::Duration
        };
        let operations = (0..self.plan.mix.len()).map(|index| self.operation(index, duration)).collect();
        LoadResult {
            operations,
            timeline: self.timeline(duration),
            connects: self.connects.summary(),
            reconnects: self.totals.reconnects,
            errors: self.errors(),
            clipped: self.kinds.iter().map(|tally| tally.response.clipped()).sum(),
            stopped_by,
            duration,
        }
    }

    /// To the last reply, or the planned end where that is later and nothing ended the phase before.
    fn duration(&self, start: Instant) -> Duration {
        let measured =
            self.totals.last_done.map_or(Duration::ZERO, |done| done.saturating_duration_since(start));
        match self.plan.stop.duration {
            Some(planned) if !self.kill.is_cancelled() && self.plan.stop.operations.is_none() => {
                measured.max(self.plan.delay + planned)
            }
            _ => measured,
        }
    }

    fn operation(&self, index: usize, duration: Duration) -> Operation {
        let tally = &self.kinds[index];
        let service = tally.service.as_ref().unwrap_or(&tally.response);
        let errors: BTreeMap<Reason, u64> =
            Reason::ALL.iter().copied().zip(tally.errors).filter(|(_, count)| *count > 0).collect();
        let indeterminate = errors
            .iter()
            .filter(|(reason, _)| reason.is_indeterminate() || **reason == Reason::Cancelled)
            .map(|(_, count)| count)
            .sum();
        let offered = self.totals.offered[index];
        Operation {
            phase: self.plan.phase,
            operation: self.plan.mix[index].operation,
            loop_kind: self.plan.pace.kind(),
            duration_seconds: duration.as_secs_f64(),
            offered,
            attempts: tally.attempts,
            ok: tally.ok,
            errors,
            indeterminate,
            missed: offered.saturating_sub(tally.attempts),
            response: tally.response.summary(),
            service: service.summary(),
            response_buckets: tally.response.buckets(),
            service_buckets: service.buckets(),
        }
    }

    /// Every whole second of the phase, also those in which nothing came back.
    fn timeline(&self, duration: Duration) -> Vec<TimelinePoint> {
        let whole = duration.as_secs_f64().floor() as u64;
        let empty = Tally::new(LoopKind::Closed);
        (0..whole)
            .map(|index| {
                let tally = self.seconds.get(&index).unwrap_or(&empty);
                let latency = tally.response.summary();
                let mut values =
                    BTreeMap::from([("ok", tally.ok as f64), ("errors", (tally.attempts - tally.ok) as f64)]);
                let named = [
                    ("p50_seconds", latency.p50),
                    ("p99_seconds", latency.p99),
                    ("max_seconds", latency.max),
                ];
                values.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
                TimelinePoint { phase: self.plan.phase, at_seconds: index as f64, values }
            })
            .collect()
    }

    fn errors(&self) -> Vec<ReportedError> {
        let mut examples = self.totals.examples.clone();
        for failure in &self.failures {
            examples.entry(failure.reason).or_insert_with(|| (failure.message.clone(), 0)).1 += 1;
        }
        let phase = self.plan.phase;
        let report = |(reason, (message, count)): (_, (String, _))| {
            let message = one_line(&message);
            ReportedError { phase, reason, message, count }
        };
        examples.into_iter().map(report).collect()
    }
}

impl Totals {
    fn merge(&mut self, other: Totals) {
        for (mine, theirs) in self.offered.iter_mut().zip(other.offered) {
            *mine += theirs;
        }
        self.last_done = self.last_done.max(other.last_done);
        self.reconnects += other.reconnects;
        for (reason, (message, count)) in other.examples {
            self.examples.entry(reason).or_insert((message, 0)).1 += count;
        }
    }
}
