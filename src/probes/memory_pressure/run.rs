//! One run, phase by phase: how it was before, fill, watch, delete, watch again, give everything back.
//!
//! What is written and when to stop is `fill`'s; what the figures mean, `findings`'.

use std::time::Duration;

use measure::{
    Failure, ProbeError,
    clock::{self, Instant},
    journal::{Restored, crash_point},
    keys::KeyRange,
    lease::freshen,
    load::{LoadPlan, Progress, Share},
    pace::Pace,
    redis::aio::MultiplexedConnection,
    report::{Report, TimelinePoint, Unit},
};

use super::{
    Settings,
    fill::Fill,
    look::{Look, Others},
    plan::Plan,
    policy::{Order, Takes},
};
use crate::probe::{ProbeCx, phases::Phases};

/// The canary's phases.
pub(super) const BEFORE: &str = "before";
pub(super) const MONITOR: &str = "monitor";
pub(super) const RECOVERY: &str = "recovery";
/// The others.
const DELETE: &str = "delete";
pub(super) const RELEASE: &str = "release";
const RESTORE: &str = "restore";
/// How long the canary is timed before there is pressure, where the monitoring lasts that long, and how often: enough for
/// a p95.
pub(super) const BEFORE_LASTS: Duration = Duration::from_secs(3);
const CANARY_RATE: f64 = 100.0;
/// Longest time between two looks for others' keys, whatever `monitoring_interval` says.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest time that memory gets to come back to where it was, and how often it is asked.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(5);
const BACK_EVERY: Duration = Duration::from_millis(50);
/// Share of the growth that may be left for it to count as back.
const BACK: f64 = 0.02;
/// Over how long the keys end, should nobody remove them.
const ENDS_SPREAD: Duration = Duration::from_secs(120);
/// How much longer than the run's keys the lease lives under a policy that could take it.
const LEASE_OUTLIVES: Duration = Duration::from_secs(30);
/// Keys whose presence is asked for at the most, to see in which order they went.
const MOST_ORDERED: u64 = 100_000;

/// A run under way.
pub(super) struct Pressure<'a> {
    pub(super) cx: &'a ProbeCx,
    pub(super) conn: MultiplexedConnection,
    pub(super) plan: Plan,
    pub(super) batch_size: u64,
    pub(super) start: Look,
    pub(super) others: Others,
    points: Vec<TimelinePoint>,
    last: Look,
}

/// What watching gave.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watched {
    pub(super) seconds: f64,
    pub(super) evicted: u64,
    pub(super) commands: u64,
    pub(super) lowest: u64,
    pub(super) highest: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// What deleting and giving back came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Relief {
    /// Keys removed by the delete phase, and used memory before and after it.
    pub(super) deleted: u64,
    pub(super) before: u64,
    pub(super) after: u64,
    /// Time from the removal of the last key until memory was back; none where it was not, in time.
    pub(super) back: Option<Duration>,
    pub(super) end: Option<Look>,
}

/// The keys of a run.
pub(super) struct Keys {
    pub(super) fill: KeyRange,
    canary: KeyRange,
}

impl Keys {
    /// Within the target's budgets, which is checked before anything is changed.
    pub(super) fn new(cx: &ProbeCx, plan: &Plan) -> Result<Self, ProbeError> {
        let size = usize::try_from(plan.value_size).unwrap_or(usize::MAX);
        let fill = cx.keys.range("fill", plan.fill.div_ceil(plan.value_size), size)?.spread(ENDS_SPREAD);
        Ok(Self { fill, canary: cx.keys.range("canary", 1, 16)? })
    }
}

impl<'a> Pressure<'a> {
    pub(super) fn new(
        cx: &'a ProbeCx,
        conn: MultiplexedConnection,
        (settings, plan): (&Settings, Plan),
        (start, others): (Look, Others),
    ) -> Self {
        let (points, batch_size) = (Vec::new(), settings.batch_size);
        Self { cx, conn, plan, batch_size, start, others, points, last: start }
    }

    pub(super) fn begin(&self, phase: &'static str) {
        self.cx.control.progress.send_replace(Progress { phase, ..Progress::default() });
    }

    /// Where the policy will have to act: keeps the lease of the server out of its way, without which the run is over.
    pub(super) async fn keep_lease(&mut self) -> Result<(), ProbeError> {
        if self.plan.is_above_limit() && self.plan.policy.takes() != Takes::Nothing {
            freshen(&mut self.conn, &self.cx.lease, self.cx.keys.ttl() + LEASE_OUTLIVES).await?;
        }
        Ok(())
    }

    /// A look that is plotted, and that ends the run where others would be harmed.
    pub(super) async fn look(&mut self, phase: &'static str, began: Instant) -> Result<Look, ProbeError> {
        let look = Look::take(self.cx, &mut self.conn).await?;
        self.others.check(self.cx, &mut self.conn, (&self.plan, &look)).await?;
        self.plot(phase, began, look);
        Ok(look)
    }

    pub(super) fn plot(&mut self, phase: &'static str, began: Instant, look: Look) {
        self.points.push(look.point(phase, began, &self.plan, &self.last));
        self.last = look;
    }

    /// Writes the canary's key and times reads of it while there is no pressure.
    pub(super) async fn before(
        &mut self,
        phases: &mut Phases<'_>,
        keys: &Keys,
        lasts: Duration,
    ) -> Result<(), ProbeError> {
        let cx = self.cx;
        let written = keys.canary.fill(&mut self.conn, 0..1, b"redprobe canary!", &cx.own_errors).await?;
        if let Some(refusal) = written.refusal {
            return Err(refusal.into());
        }
        self.begin(BEFORE);
        phases.load(canary(BEFORE, lasts), vec![keys.canary.get()]).await?;
        Ok(())
    }

    /// Watches for `lasts`, a point of the plot each `interval`, while the canary is timed.
    pub(super) async fn watch(
        &mut self,
        phases: &mut Phases<'_>,
        keys: &Keys,
        (phase, lasts, interval): (&'static str, Duration, Duration),
    ) -> Result<Watched, ProbeError> {
        self.begin(phase);
        let timed = phases.load(canary(phase, lasts), vec![keys.canary.get()]);
        let (_timed, watched) = tokio::try_join!(timed, self.observe(phase, lasts, interval))?;
        Ok(watched)
    }

    async fn observe(
        &mut self,
        phase: &'static str,
        lasts: Duration,
        interval: Duration,
    ) -> Result<Watched, ProbeError> {
        let began = clock::now();
        let first = self.look(phase, began).await?;
        let mut watched =
            Watched { lowest: first.used, highest: first.used, first: first.used, ..Watched::default() };
        let (mut look, mut plotted) = (first, began);
        while clock::now() - began < lasts && !self.cx.control.kill.is_cancelled() {
            let left = lasts.saturating_sub(clock::now() - began);
            self.pause(interval.min(LOOK_EVERY).min(left)).await;
            self.keep_lease().await?;
            look = Look::take(self.cx, &mut self.conn).await?;
            self.others.check(self.cx, &mut self.conn, (&self.plan, &look)).await?;
            watched.lowest = watched.lowest.min(look.used);
            watched.highest = watched.highest.max(look.used);
            if clock::now() - plotted >= interval {
                plotted = clock::now();
                self.plot(phase, began, look);
            }
        }
        watched.seconds = (look.at - first.at).as_secs_f64();
        watched.evicted = look.evicted.saturating_sub(first.evicted);
        watched.commands = look.commands.saturating_sub(first.commands);
        watched.last = look.used;
        Ok(watched)
    }

    pub(super) async fn pause(&self, length: Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.cx.control.kill.cancelled() => {}
        }
    }

    /// Removes the keys written last, since the first may have been evicted.
    pub(super) async fn delete(
        &mut self,
        keys: &Keys,
        fill: &Fill,
        count: u64,
    ) -> Result<Relief, ProbeError> {
        self.begin(DELETE);
        let before = self.look(DELETE, clock::now()).await?.used;
        let numbers = fill.tried.saturating_sub(count)..fill.tried;
        crash_point("before keys are deleted");
        let deleted = self.remove(&keys.fill, numbers).await?;
        crash_point("after keys were deleted");
        let after = Look::take(self.cx, &mut self.conn).await?.used;
        Ok(Relief { deleted, before, after, ..Relief::default() })
    }

    async fn remove(&mut self, keys: &KeyRange, numbers: std::ops::Range<u64>) -> Result<u64, Failure> {
        let known = self.cx.keys.known();
        let removed = keys.remove(&mut self.conn, numbers).await?;
        let gone_before = known.saturating_sub(self.cx.keys.known()).saturating_sub(removed);
        self.others.lost_at_removal += gone_before;
        Ok(removed)
    }

    /// How well the order in which own keys were evicted is that of the policy: 1 as it says, 0 as by chance. `None` where
    /// the policy has none that would show, or too few went.
    ///
    /// To be asked while the keys that the delete phase left alone are there.
    pub(super) async fn order(
        &mut self,
        keys: &Keys,
        fill: &Fill,
        to_delete: u64,
    ) -> Result<Option<f64>, ProbeError> {
        self.others.count_lost(self.cx, &mut self.conn).await?;
        let all = fill.tried.saturating_sub(to_delete);
        let order = self.plan.policy.order();
        if order == Order::None || all > MOST_ORDERED || self.others.lost < FEWEST_ORDERED {
            return Ok(None);
        }
        let there = keys.fill.there(&mut self.conn, 0..all).await?;
        let pace = fill.duration.div_f64(fill.tried.max(1) as f64);
        let mut ends: Vec<(Duration, bool)> = (0..all)
            .zip(there)
            .map(|(number, there)| {
                let written_at = pace.mul_f64(number as f64);
                let end =
                    if order == Order::Oldest { written_at } else { written_at + keys.fill.ttl_of(number) };
                (end, there)
            })
            .collect();
        ends.sort_unstable();
        Ok(order_of(ends.iter().map(|(_, there)| *there)))
    }

    /// Removes all that is left of the run's keys, and waits until memory is back where it was.
    pub(super) async fn release(
        &mut self,
        keys: &Keys,
        fill: &Fill,
        relief: &mut Relief,
    ) -> Result<(), ProbeError> {
        self.begin(RELEASE);
        let began = clock::now();
        crash_point("before keys are removed");
        self.remove(&keys.fill, 0..fill.tried).await?;
        self.remove(&keys.canary, 0..1).await?;
        crash_point("after keys were removed");
        let removed = clock::now();
        let growth = fill.last.used.saturating_sub(self.start.used) as f64;
        let enough = self.start.used + (growth * BACK) as u64;
        loop {
            let look = Look::take(self.cx, &mut self.conn).await?;
            relief.end = Some(look);
            let waited = look.at - removed;
            if look.used <= enough {
                relief.back = Some(waited);
            }
            if look.used <= enough || waited >= BACK_WITHIN || self.cx.control.kill.is_cancelled() {
                self.plot(RELEASE, began, look);
                return Ok(());
            }
            self.pause(BACK_EVERY).await;
        }
    }

    /// Puts the settings back.
    pub(super) async fn restore(&mut self) -> Result<Restored, ProbeError> {
        self.begin(RESTORE);
        self.cx.restore_settings(&mut self.conn).await
    }

    /// Adds what was plotted.
    pub(super) fn finish(self, report: &mut Report) {
        report.timeline.extend(self.points);
        report.measure("limit", self.plan.limit as f64, Unit::Bytes);
    }
}

/// Evicted keys from which their order says something.
const FEWEST_ORDERED: u64 = 50;

/// From whether each key is there, in the order in which they should go.
fn order_of(there: impl ExactSizeIterator<Item = bool>) -> Option<f64> {
    let all = there.len() as f64;
    let gone: Vec<usize> = there.enumerate().filter(|(_, there)| !there).map(|(rank, _)| rank).collect();
    let share = gone.len() as f64 / all;
    if gone.is_empty() || share >= 1.0 {
        return None;
    }
    let mean = gone.iter().map(|rank| (*rank as f64 + 0.5) / all).sum::<f64>() / gone.len() as f64;
    // The first of all would have a mean rank of half their share, a choice by chance one half.
    Some((0.5 - mean) / (0.5 - share / 2.0))
}

fn canary(phase: &'static str, lasts: Duration) -> LoadPlan {
    let mut plan = LoadPlan::new(phase, vec![Share { operation: "get", weight: 1 }]);
    plan.pace = Pace::per_second(CANARY_RATE);
    plan.stop.duration = Some(lasts);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_evictions_is_1_as_promised_and_0_by_chance() {
        let gone = |ranks: &[usize]| order_of((0..10).map(|rank| !ranks.contains(&rank)));
        assert_eq!(gone(&[0, 1, 2]), Some(1.0));
        assert_eq!(gone(&[7, 8, 9]), Some(-1.0));
        let by_chance = gone(&[1, 4, 8]).unwrap();
        assert!(by_chance.abs() < 0.1, "{by_chance}");
        assert_eq!(gone(&[]), None);
        assert_eq!(order_of([false, false].into_iter()), None);
    }
}
