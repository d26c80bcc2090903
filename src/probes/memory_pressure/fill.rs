//! Filling memory: batch by batch, with a look at the server after each.
//!
//! How far it may go is `plan`'s; what others' keys mean for it, `look`'s.

use std::{collections::BTreeMap, time::Duration};

use measure::{
    ProbeError, Reason, clock,
    journal::crash_point,
    keys::KeyRange,
    latency::Recorder,
    load::Progress,
    report::{LoopKind, Operation},
};

use super::{
    look::Look,
    plan::{KEY_OVERHEAD, rounded, size},
    policy::Order,
    run::Pressure,
};
use crate::verdict::human;

/// The phase's name.
pub(super) const FILL: &str = "fill";
/// Bytes in one batch, whatever `batch_size` says: what a server takes in some milliseconds.
const BATCH_BYTES: u64 = 8 << 20;
/// Share of the limit, in percent, from which a policy may soon have to act.
const NEARLY_FULL: u64 = 85;
/// Keys are of one age within a second, by the server's clock of keys, and of those of one age a policy may take any: also
/// the lease, however fresh it is. So there is a pause before each quarter of the limit that is evicted.
const AGE: Duration = Duration::from_millis(1_500);
/// Between two points of the plot.
const POINT_EVERY: Duration = Duration::from_millis(100);

/// Why the fill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The goal was reached.
    Reached,
    /// It was reached before.
    AlreadyAbove,
    /// The server refused writes: full.
    Refused,
    /// Going on would have doubled the server's table of keys, beyond the goal.
    Table,
    /// All keys that were foreseen are written: others gave memory back meanwhile.
    OutOfKeys,
    /// The run was told to stop.
    Interrupted,
}

/// What was written.
#[derive(Debug, Clone)]
pub(super) struct Fill {
    pub(super) end: End,
    /// Keys acknowledged; their numbers begin at 0.
    pub(super) written: u64,
    /// Numbers used up, those of refused keys too.
    pub(super) tried: u64,
    pub(super) refused: BTreeMap<Reason, u64>,
    pub(super) duration: Duration,
    pub(super) last: Look,
    times: Recorder,
}

impl Fill {
    /// For the report.
    pub(super) fn operation(&self) -> Operation {
        let response = self.times.summary();
        Operation {
            phase: FILL,
            operation: "set",
            loop_kind: LoopKind::Closed,
            duration_seconds: self.duration.as_secs_f64(),
            offered: self.tried,
            attempts: self.tried,
            ok: self.written,
            errors: self.refused.clone(),
            indeterminate: 0,
            missed: 0,
            service: response.clone(),
            response,
            response_buckets: self.times.buckets(),
            service_buckets: self.times.buckets(),
        }
    }
}

impl Pressure<'_> {
    /// Writes until the goal is reached, or something else ends it. The caller has made room for the keys.
    pub(super) async fn fill(&mut self, keys: &KeyRange) -> Result<Fill, ProbeError> {
        let (cx, began) = (self.cx, clock::now());
        self.begin(FILL);
        let value = random(keys.value_size);
        let mut fill = Fill {
            end: End::AlreadyAbove,
            written: 0,
            tried: 0,
            refused: BTreeMap::new(),
            duration: Duration::ZERO,
            last: self.look(FILL, began).await?,
            times: Recorder::default(),
        };
        let (mut plotted, mut young) = (began, 0);
        while let Some(batch) = self.next_batch(keys, &mut fill) {
            crash_point("between fill batches");
            self.let_keys_age(&fill, &mut young).await;
            self.keep_lease().await?;
            let sent = clock::now();
            let numbers = fill.tried..fill.tried + batch;
            let answer = keys.fill(&mut self.conn, numbers, &value, &cx.own_errors).await?;
            fill.times.record_n(clock::now() - sent, answer.written);
            fill.written += answer.written;
            fill.tried += batch;
            fill.last = Look::take(cx, &mut self.conn).await?;
            if let Some(refusal) = answer.refusal {
                *fill.refused.entry(refusal.reason).or_default() += answer.refused;
                if refusal.reason != Reason::Oom {
                    return Err(refusal.into());
                }
            }
            self.others.check(cx, &mut self.conn, (&self.plan, &fill.last)).await?;
            if clock::now() - plotted >= POINT_EVERY {
                plotted = clock::now();
                self.plot(FILL, began, fill.last);
                self.tell(&fill, began);
            }
        }
        fill.duration = clock::now() - began;
        self.plot(FILL, began, fill.last);
        cx.log.note(format!(
            "fill: {} of {} in {:.3} s, {} refused; used memory is {} of {}",
            human::things(fill.written, "key"),
            rounded(self.plan.value_size),
            fill.duration.as_secs_f64(),
            human::count(fill.refused.values().sum()),
            size(fill.last.used),
            size(self.plan.limit),
        ));
        Ok(fill)
    }

    /// Where the oldest will have to go: makes sure that there are old ones. `young` is the key from which on they are not.
    async fn let_keys_age(&self, fill: &Fill, young: &mut u64) {
        if !self.plan.is_above_limit() || self.plan.policy.order() != Order::Oldest {
            return;
        }
        let nearly_full = fill.last.used > self.plan.limit / 100 * NEARLY_FULL;
        if nearly_full && (fill.tried - *young) * self.plan.value_size > self.plan.limit / 4 {
            *young = fill.tried;
            self.pause(AGE).await;
        }
    }

    /// How many keys to write next; `None` at the end, which `fill` then has.
    fn next_batch(&self, keys: &KeyRange, fill: &mut Fill) -> Option<u64> {
        let cost = keys.value_size as u64 + KEY_OVERHEAD;
        // Above the limit used memory stays where it is: there it is the bytes written that count.
        let missing = if self.plan.is_above_limit() {
            self.plan.fill.saturating_sub(fill.written * cost)
        } else {
            self.plan.goal.saturating_sub(fill.last.used)
        };
        let wanted = missing.div_ceil(cost).min(self.batch_size).min((BATCH_BYTES / cost).max(1));
        let before_doubling = if self.plan.is_above_limit() {
            wanted
        } else {
            keys_before_doubling(fill.last.keys, missing.max(self.plan.limit / 100)).min(wanted)
        };
        let batch = before_doubling.min(keys.count - fill.tried);
        let end = if self.cx.control.kill.is_cancelled() {
            End::Interrupted
        } else if fill.refused.contains_key(&Reason::Oom) {
            End::Refused
        } else if missing == 0 {
            if fill.tried == 0 { End::AlreadyAbove } else { End::Reached }
        } else if before_doubling == 0 {
            End::Table
        } else if batch == 0 {
            End::OutOfKeys
        } else {
            return Some(batch);
        };
        fill.end = end;
        None
    }

    fn tell(&self, fill: &Fill, began: clock::Instant) {
        let seconds = (clock::now() - began).as_secs_f64();
        let done = fill.last.used.saturating_sub(self.start.used) as f64 / self.plan.fill.max(1) as f64;
        let done = done.clamp(0.0, 1.0);
        let left = (done > 0.01).then(|| Duration::from_secs_f64(seconds / done * (1.0 - done)));
        let per_second = if seconds > 0.0 { fill.written as f64 / seconds } else { 0.0 };
        self.cx.control.progress.send_replace(Progress { phase: FILL, done, per_second, left });
    }
}

/// Keys that can be added before the server's tables of keys and of their ends double, where that would take more than
/// `room`. The tables double when there is a key for each of their places, to 8 bytes for each of twice as
/// many; the old ones stay until all is moved.
fn keys_before_doubling(keys: u64, room: u64) -> u64 {
    let places = keys.max(4).next_power_of_two();
    let doubled = places.saturating_mul(2 * 8 * 2);
    if doubled > room { places - keys } else { u64::MAX }
}

/// Bytes that nothing can compress.
fn random(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    while bytes.len() < length {
        // xorshift64: any sequence without repeats will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_stops_before_the_tables_double_beyond_its_goal() {
        assert_eq!(
            keys_before_doubling(1_000_000, 10 << 20),
            48_576,
            "33 MB of new tables do not fit into 10 MB"
        );
        assert_eq!(keys_before_doubling(1 << 20, 10 << 20), 0);
        assert_eq!(keys_before_doubling(1_000, 10 << 20), u64::MAX);
        assert_eq!(keys_before_doubling(0, 1 << 20), u64::MAX);
    }

    #[test]
    fn values_are_as_long_as_asked_and_no_part_repeats() {
        let bytes = random(1_003);
        assert_eq!(bytes.len(), 1_003);
        let words: std::collections::BTreeSet<&[u8]> = bytes.chunks(8).collect();
        assert_eq!(words.len(), 126);
    }
}
