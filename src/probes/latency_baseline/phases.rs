//! What each phase of `latency_baseline` does. Objectives and conclusion are one file up.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use measure::{
    Effect, Failure, ProbeError, clock,
    conn::ConnectTimes,
    keys::KeyRange,
    latency::Recorder,
    load::{LoadPlan, Order, Share, StoppedBy},
    pace::Pace,
    report::{LoopKind, Operation, ReportedError, Unit},
    wire::Command,
};

use super::{CONNECT, LatencyBaseline, MEMORY_GROWTH, MEMORY_MEAN};
use crate::probe::{Needs, ProbeCx, phases::Phases};

/// Keys that the cycle of SET, GET and DEL goes round in; it keeps one per worker at a time.
const CYCLE_KEYS: u64 = 100;
/// Keys that the memory pattern is cut into, within the bounds of a value's size.
const PATTERN_KEYS: u64 = 1_000;
const PATTERN_VALUE: (u64, u64) = (1 << 10, 64 << 10);
/// Requests under way while the memory pattern is written: faster than one by one, and no burst.
const PATTERN_PIPELINE: usize = 4;
/// Longest time that the server gets to give memory back, and how often it is asked.
const RECOVERY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(100));
/// Growth that may remain for memory to count as given back without more waiting.
const RECOVERED: f64 = 0.02;

impl LatencyBaseline {
    pub(super) fn touch_needs(&self) -> Needs {
        Needs { connections: 2, keys: CYCLE_KEYS, bytes: CYCLE_KEYS * self.settings.value_size.0 }
    }

    pub(super) fn concurrent_needs(&self) -> Needs {
        let keys = self.settings.workers * CYCLE_KEYS;
        Needs { connections: self.settings.workers + 1, keys, bytes: keys * self.settings.value_size.0 }
    }

    pub(super) fn memory_needs(&self) -> Needs {
        let value = self.pattern_value();
        let keys = self.settings.memory_pattern.0.div_ceil(value);
        Needs { connections: 2, keys, bytes: keys * value }
    }

    fn pattern_value(&self) -> u64 {
        (self.settings.memory_pattern.0 / PATTERN_KEYS).clamp(PATTERN_VALUE.0, PATTERN_VALUE.1)
    }

    /// Cold connects, each step apart. The first that fails ends the run, since nothing else can be measured then.
    pub(super) async fn connect(&self, cx: &ProbeCx, phases: &mut Phases<'_>) -> Result<(), ProbeError> {
        phases.begin("connect");
        let start = clock::now();
        let mut times = Vec::new();
        let mut total = Recorder::default();
        let mut errors = BTreeMap::new();
        for _ in 0..self.settings.connects {
            if phases.interrupted() {
                break;
            }
            match cx.connect().await {
                Ok((_closed_at_once, took)) => {
                    total.record(took.total());
                    times.push(took);
                }
                Err(error) if times.is_empty() => return Err(error),
                Err(error) => count_failure(error.failure(), &mut errors, phases),
            }
        }
        for (step, of) in STEPS {
            if let Some(median) = median(times.iter().map(of)) {
                phases.report.measure(format!("connect_{step}"), median.as_secs_f64(), Unit::Seconds);
                phases.report.set_with(&CONNECT, [step.into()], median.as_secs_f64());
            }
        }
        let attempts = times.len() as u64 + errors.values().sum::<u64>();
        phases.report.operations.push(Operation {
            phase: "connect",
            operation: "connect",
            loop_kind: LoopKind::Closed,
            duration_seconds: (clock::now() - start).as_secs_f64(),
            offered: attempts,
            attempts,
            ok: times.len() as u64,
            errors,
            indeterminate: 0,
            missed: 0,
            response: total.summary(),
            service: total.summary(),
            response_buckets: total.buckets(),
            service_buckets: total.buckets(),
        });
        Ok(())
    }

    /// What the server says of itself before anything is done to it.
    pub(super) async fn snapshot(&self, phases: &mut Phases<'_>) {
        phases.begin("snapshot");
        let Some(info) = phases.server_info().await else { return };
        for (field, unit) in [
            ("uptime_in_seconds", Unit::Seconds),
            ("connected_clients", Unit::Count),
            ("used_memory", Unit::Bytes),
            ("used_memory_rss", Unit::Bytes),
            ("used_memory_peak", Unit::Bytes),
            ("maxmemory", Unit::Bytes),
            ("mem_fragmentation_ratio", Unit::Count),
            ("instantaneous_ops_per_sec", Unit::OperationsPerSecond),
            ("total_commands_processed", Unit::Count),
            ("keyspace_hits", Unit::Count),
            ("keyspace_misses", Unit::Count),
            ("evicted_keys", Unit::Count),
            ("expired_keys", Unit::Count),
        ] {
            if let Some(value) = info.number(field) {
                phases.report.measure(format!("snapshot_{field}"), value, unit);
            }
        }
    }

    /// SET, GET and DEL of one key after the other over one connection, in a closed loop.
    pub(super) async fn basic(&self, cx: &ProbeCx, phases: &mut Phases<'_>) -> Result<(), ProbeError> {
        if !phases.admit("basic", Effect::Touch, self.touch_needs(), Duration::ZERO).await? {
            return Ok(());
        }
        let keys = cx.keys.range("basic", CYCLE_KEYS, self.value_size())?;
        let mut plan = self.cycle("basic");
        plan.stop.operations = Some(self.settings.iterations * plan.mix.len() as u64);
        phases.load(plan, commands(&keys)).await?;
        Ok(())
    }

    /// The same cycle at a fixed rate, while the server's memory is read once a second.
    pub(super) async fn sustained(&self, cx: &ProbeCx, phases: &mut Phases<'_>) -> Result<(), ProbeError> {
        if !phases.admit("sustained", Effect::Touch, self.touch_needs(), self.settings.sustained.0).await? {
            return Ok(());
        }
        let keys = cx.keys.range("sustained", CYCLE_KEYS, self.value_size())?;
        let mut plan = self.cycle("sustained");
        plan.pace = Pace::per_second(self.settings.rate);
        plan.stop.duration = Some(self.settings.sustained.0);
        let mut used = Vec::new();
        tokio::select! {
            result = phases.load(plan, commands(&keys)) => { result?; }
            never = sample_memory(cx, &mut used) => match never {},
        }
        if !used.is_empty() {
            let mean = used.iter().sum::<f64>() / used.len() as f64;
            phases.report.measure("sustained_memory_mean", mean, Unit::Bytes);
            phases.report.set(&MEMORY_MEAN, mean);
        }
        Ok(())
    }

    /// The same cycle by several workers at once, in a closed loop.
    pub(super) async fn concurrent(&self, cx: &ProbeCx, phases: &mut Phases<'_>) -> Result<(), ProbeError> {
        let needs = self.concurrent_needs();
        if !phases.admit("concurrent", Effect::Load, needs, Duration::ZERO).await? {
            return Ok(());
        }
        let keys = match cx.keys.range("concurrent", needs.keys, self.value_size()) {
            Ok(keys) => keys,
            Err(error) => return skip(phases, "concurrent", error),
        };
        let mut plan = self.cycle("concurrent");
        plan.workers = usize::try_from(self.settings.workers).unwrap_or(usize::MAX);
        plan.key_space = needs.keys;
        plan.stop.operations = Some(self.settings.workers * self.settings.ops_per_worker);
        phases.load(plan, commands(&keys)).await?;
        Ok(())
    }

    /// Writes the memory pattern, removes it, and looks what that does to the server's memory.
    pub(super) async fn memory(&self, cx: &ProbeCx, phases: &mut Phases<'_>) -> Result<(), ProbeError> {
        let needs = self.memory_needs();
        if needs.bytes == 0 || !phases.admit("memory", Effect::Load, needs, Duration::ZERO).await? {
            return Ok(());
        }
        let value = usize::try_from(self.pattern_value()).unwrap_or(usize::MAX);
        let keys = match cx.keys.range("memory", needs.keys, value) {
            Ok(keys) => keys,
            Err(error) => return skip(phases, "memory", error),
        };
        let Some(before) = used_memory(phases).await else { return Ok(()) };
        let mut plan = self.cycle("memory");
        plan.mix = vec![Share { operation: "set", weight: 1 }];
        plan.pipeline = PATTERN_PIPELINE;
        plan.key_space = needs.keys;
        plan.stop.operations = Some(needs.keys);
        // Full is full: what was refused once will be refused again.
        plan.stop.error_ratio = Some(0.5);
        let mut removal = plan.clone();
        let written = phases.load(plan, vec![keys.set()]).await?;
        let grown = used_memory(phases).await;
        removal.mix = vec![Share { operation: "del", weight: 1 }];
        removal.stop.error_ratio = None;
        if written.stopped_by != StoppedBy::Killed {
            let removed = phases.prepare(removal, vec![keys.delete()]).await?;
            phases.report.errors.extend(removed.errors);
        }
        if let Some(grown) = grown {
            self.recovery(cx, phases, before, grown).await;
        }
        Ok(())
    }

    /// Waits until memory is given back, or long enough, and reports how much was.
    async fn recovery(&self, cx: &ProbeCx, phases: &mut Phases<'_>, before: f64, grown: f64) {
        let growth = grown - before;
        phases.report.measure("memory_growth", growth, Unit::Bytes);
        phases.report.set(&MEMORY_GROWTH, growth);
        if growth <= 0.0 {
            cx.log.note("memory: used memory did not grow while the pattern was written");
            return;
        }
        let start = clock::now();
        loop {
            let Some(now) = used_memory(phases).await else { return };
            let recovery = (grown - now) / growth;
            phases.report.measure("memory_recovery", recovery, Unit::Ratio);
            let waited = clock::now() - start;
            phases.report.measure("memory_recovery_time", waited.as_secs_f64(), Unit::Seconds);
            if recovery >= 1.0 - RECOVERED || waited >= RECOVERY.0 || phases.interrupted() {
                return;
            }
            phases.pause(RECOVERY.1).await;
        }
    }

    fn cycle(&self, phase: &'static str) -> LoadPlan {
        let mix = ["set", "get", "del"].map(|operation| Share { operation, weight: 1 });
        LoadPlan {
            order: Order::Cycle,
            key_space: CYCLE_KEYS,
            operation_timeout: self.settings.op_timeout.0,
            ..LoadPlan::new(phase, mix.to_vec())
        }
    }

    fn value_size(&self) -> usize {
        usize::try_from(self.settings.value_size.0).unwrap_or(usize::MAX)
    }
}

/// In the order of the cycle.
fn commands(keys: &KeyRange) -> Vec<Command> {
    vec![keys.set(), keys.get(), keys.delete()]
}

fn skip(phases: &mut Phases<'_>, phase: &'static str, error: ProbeError) -> Result<(), ProbeError> {
    match error {
        ProbeError::Skipped(failure) => {
            phases.skip(phase, &failure);
            Ok(())
        }
        other => Err(other),
    }
}

fn count_failure(failure: &Failure, errors: &mut BTreeMap<measure::Reason, u64>, phases: &mut Phases<'_>) {
    let count = errors.entry(failure.reason).or_default();
    *count += 1;
    if *count == 1 {
        phases.report.errors.push(ReportedError {
            phase: "connect",
            reason: failure.reason,
            message: failure.message.clone(),
            count: 1,
        });
    }
}

type Step = fn(&ConnectTimes) -> Duration;

const STEPS: [(&str, Step); 5] = [
    ("dns", |times| times.dns),
    ("connect", |times| times.connect),
    ("tls", |times| times.tls),
    ("login", |times| times.login),
    ("total", ConnectTimes::total),
];

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

async fn used_memory(phases: &Phases<'_>) -> Option<f64> {
    phases.server_info().await?.number("used_memory")
}

/// Reads the server's used memory once a second, for as long as it is polled.
async fn sample_memory(cx: &ProbeCx, used: &mut Vec<f64>) -> Infallible {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let Ok(mut conn) = cx.observer().await else { continue };
        let Ok(info) = cx.info(&mut conn, &["memory"]).await else { continue };
        used.extend(info.number("used_memory"));
    }
}
