//! What one thread counts while its workers run: per second and kind of operation.
//!
//! Finished seconds go to the collector, which adds them up; nothing is summarised here.

use std::{collections::BTreeMap, time::Duration};

use tokio::sync::mpsc;

use super::Slot;
use crate::{clock::Instant, error::Reason, latency::Recorder, report::LoopKind};

/// One kind of operation in one second.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) attempts: u64,
    pub(super) ok: u64,
    pub(super) errors: [u64; Reason::ALL.len()],
    pub(super) response: Recorder,
    /// Open loop only: in a closed loop it is the same as `response`.
    pub(super) service: Option<Recorder>,
}

impl Tally {
    pub(super) fn new(kind: LoopKind) -> Self {
        Self {
            attempts: 0,
            ok: 0,
            errors: [0; Reason::ALL.len()],
            response: Recorder::default(),
            service: (kind == LoopKind::Open).then(Recorder::default),
        }
    }

    pub(super) fn merge(&mut self, other: &Tally) {
        self.attempts += other.attempts;
        self.ok += other.ok;
        for (mine, theirs) in self.errors.iter_mut().zip(other.errors) {
            *mine += theirs;
        }
        self.response.merge(&other.response);
        if let (Some(mine), Some(theirs)) = (&mut self.service, &other.service) {
            mine.merge(theirs);
        }
    }
}

/// One second of one thread, all kinds.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) index: u64,
    pub(super) kinds: Vec<Tally>,
}

/// What a thread knows only at its end.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Per kind: operations that were due.
    pub(super) offered: Vec<u64>,
    /// When the last reply came.
    pub(super) last_done: Option<Instant>,
    pub(super) reconnects: u64,
    /// One example and the count, per reason.
    pub(super) examples: BTreeMap<Reason, (String, u64)>,
}

/// What a thread tells the collector.
#[derive(Debug)]
pub(super) enum Message {
    Connected { times: Box<Recorder>, failures: Vec<crate::error::Failure>, workers: usize },
    Second(Box<Second>),
    Done(Totals),
}

/// The accounts of one thread.
pub(super) struct Book {
    loop_kind: LoopKind,
    start: Instant,
    second_ends: Instant,
    second: Second,
    pub(super) totals: Totals,
    /// Per kind: operations that are out now.
    in_flight: Vec<u64>,
    sender: mpsc::Sender<Message>,
}

impl Book {
    pub(super) fn new(
        loop_kind: LoopKind,
        kinds: usize,
        start: Instant,
        sender: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            loop_kind,
            start,
            second_ends: start + Duration::from_secs(1),
            second: Second { index: 0, kinds: vec![Tally::new(loop_kind); kinds] },
            totals: Totals { offered: vec![0; kinds], ..Totals::default() },
            in_flight: vec![0; kinds],
            sender,
        }
    }

    /// Operations that are due; they count as missed unless they are sent.
    pub(super) fn offer(&mut self, kind: usize) {
        self.totals.offered[kind] += 1;
    }

    pub(super) fn depart(&mut self, batch: &[Slot]) {
        for slot in batch {
            self.in_flight[slot.kind] += 1;
        }
    }

    /// Counts a batch whose slots all have their result.
    pub(super) fn arrive(&mut self, batch: &[Slot]) {
        let mut rest = batch;
        while let Some(first) = rest.first() {
            // Pipelined replies that came in one read share their times: counted at once.
            let same = rest.iter().take_while(|slot| slot.is_twin_of(first)).count();
            self.count(first, same as u64);
            rest = &rest[same..];
        }
    }

    fn count(&mut self, slot: &Slot, count: u64) {
        if slot.done >= self.second_ends {
            self.turn_page(slot.done);
        }
        self.in_flight[slot.kind] -= count;
        self.totals.last_done = Some(slot.done);
        let tally = &mut self.second.kinds[slot.kind];
        tally.attempts += count;
        if let Err(reason) = slot.result {
            tally.errors[reason as usize] += count;
            return;
        }
        tally.ok += count;
        let service = slot.done.saturating_duration_since(slot.sent);
        match &mut tally.service {
            Some(recorder) => {
                recorder.record_n(service, count);
                tally.response.record_n(slot.done.saturating_duration_since(slot.due), count);
            }
            None => tally.response.record_n(service, count),
        }
    }

    pub(super) fn example(&mut self, reason: Reason, message: &str) {
        let entry = self.totals.examples.entry(reason).or_insert_with(|| (message.to_owned(), 0));
        entry.1 += 1;
    }

    /// Sends the finished second and begins the one that `now` lies in. Where the collector is behind, the second
    /// goes on instead: its counts move in time, but none is lost.
    fn turn_page(&mut self, now: Instant) {
        let Ok(permit) = self.sender.try_reserve() else { return };
        let elapsed = now.saturating_duration_since(self.start).as_secs_f64();
        let index = elapsed.floor().max(0.0) as u64;
        let kinds = vec![Tally::new(self.loop_kind); self.second.kinds.len()];
        let finished = std::mem::replace(&mut self.second, Second { index, kinds });
        permit.send(Message::Second(Box::new(finished)));
        self.second_ends = self.start + Duration::from_secs(index + 1);
    }

    /// Closes the accounts. What is still out was sent, and nobody will know what became of it.
    pub(super) fn close(mut self) -> (Second, Totals) {
        for (tally, out) in self.second.kinds.iter_mut().zip(self.in_flight) {
            tally.attempts += out;
            tally.errors[Reason::Cancelled as usize] += out;
        }
        (self.second, self.totals)
    }
}

impl Slot {
    fn is_twin_of(&self, other: &Slot) -> bool {
        self.kind == other.kind
            && self.done == other.done
            && self.due == other.due
            && self.sent == other.sent
            && self.result == other.result
    }
}
