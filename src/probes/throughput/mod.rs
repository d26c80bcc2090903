//! Measures operations per second: baseline, sustained, concurrent, pipelined, and a mixed benchmark.
//!
//! Settings and the probe are here, the load of each phase too; what the figures add up to is in `findings`. How long a
//! single operation takes on an idle server is `latency_baseline`'s question.

use std::time::Duration;

use measure::{
    Effect, Grant, ProbeError,
    keys::KeyRange,
    load::{LoadPlan, Order, Share},
    metric::MetricDef,
    pace::Pace,
    report::{Doubt, ObjectiveDef, Report, Unit},
    wire::Command,
};
use serde::{Deserialize, Serialize};

use crate::{
    config::settings::{Size, Span},
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors,
        phases::{MAX_VALUE_SIZE, Phases, SERVER_INFO},
    },
    settings,
};

mod findings;

/// A phase that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// One worker, one operation after the other.
    Baseline,
    /// At a steady rate, for stability.
    Sustained,
    /// Several workers, for scaling.
    Concurrent,
    /// Many connections, several requests under way on each.
    Pipelined,
    /// Many workers with a fixed number of operations each.
    Benchmark,
}

/// Weights of the kinds of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// GET.
    #[serde(default)]
    pub read: u32,
    /// SET.
    #[serde(default)]
    pub write: u32,
    /// DEL, sent as UNLINK.
    #[serde(default)]
    pub delete: u32,
}

settings! {
    /// Settings of `throughput`.
    pub struct Settings {
        /// Which phases run, in this order.
        phases: Vec<Phase> = ALL.to_vec(),
        /// Length of each phase but the benchmark; unset: 30s, 60s, 30s and 15s.
        duration: Option<Span> = None,
        /// Operations per second of each phase but the benchmark, 0 for a closed loop; unset: sustained at 500, the others in a closed loop.
        rate: Option<f64> = None,
        /// Connections of the pipelined phase.
        connections: u64 = 50,
        /// Workers of the sustained and of the concurrent phase, each with a connection of its own.
        workers: u64 = 5,
        /// Requests under way on each connection of the pipelined phase.
        pipeline: u64 = 16,
        /// Operations of each worker of the benchmark.
        ops_per_worker: u64 = 1_000,
        /// Workers of the benchmark.
        benchmark_workers: u64 = 100,
        /// Weights of GET, SET and DEL.
        mix: Mix = Mix { read: 70, write: 25, delete: 5 },
        /// Size of each value.
        value_size: Size = Size(128),
        /// Keys that operations choose from; all are written once before the first phase, so that GETs can hit.
        key_space: u64 = 10_000,
        /// The same load runs this long before each phase, at most a tenth of it, and is not counted.
        warm_up: Span = Span::secs(1),
        /// Bound of one operation.
        op_timeout: Span = Span::secs(5),
    }
}

const ALL: [Phase; 5] =
    [Phase::Baseline, Phase::Sustained, Phase::Concurrent, Phase::Pipelined, Phase::Benchmark];
/// Rate of the sustained phase where none is set.
const SUSTAINED_RATE: f64 = 500.0;
/// Shortest warm-up that still warms anything: connections are open and caches filled well before.
const WARM_ENOUGH: Duration = Duration::from_millis(200);
/// Share of failing operations at which going on would teach nothing.
const HOPELESS: f64 = 0.95;
/// Requests under way while keys are written before the first phase.
const FILL_PIPELINE: usize = 16;
/// Keys that a number of nine digits can tell apart.
const MAX_KEYS: u64 = 1_000_000_000;

/// The probe.
#[derive(Debug)]
pub struct Throughput {
    settings: Settings,
}

impl Probe for Throughput {
    const NAME: &'static str = "throughput";
    const SUMMARY: &'static str =
        "Measures operations per second: baseline, sustained, concurrent, pipelined, and a mixed benchmark.";
    const EFFECT: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = &[
        Grant::load("set", "{key} x PX 1", "fill its keys, then to write at full speed"),
        Grant::load("get", "{key}", "read at full speed"),
        Grant::load("unlink", "{key}", "remove at full speed"),
        SERVER_INFO,
    ];
    const METRICS: &'static [&'static MetricDef] = findings::METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        let Settings {
            phases, connections, workers, pipeline, ops_per_worker, benchmark_workers, mix, ..
        } = &settings;
        let once = phases.iter().enumerate().all(|(index, phase)| !phases[..index].contains(phase));
        errors.check(
            !phases.is_empty() && once,
            "phases",
            "expected at least one phase, and each at most once",
        );
        errors.check(
            settings.duration.is_none_or(|span| !span.0.is_zero()),
            "duration",
            "expected more than 0, such as \"30s\"",
        );
        errors.check(
            settings.rate.is_none_or(|rate| (0.0..=1e7).contains(&rate)),
            "rate",
            "expected 0 (closed loop) to 10000000",
        );
        errors.check_range(*connections, 1..=10_000, "connections");
        errors.check_range(*workers, 1..=10_000, "workers");
        errors.check_range(*pipeline, 1..=10_000, "pipeline");
        errors.check_range(*ops_per_worker, 1..=100_000_000, "ops_per_worker");
        errors.check_range(*benchmark_workers, 1..=10_000, "benchmark_workers");
        errors.check(
            mix.read + mix.write + mix.delete > 0,
            "mix",
            "expected at least one weight above 0, as in { read = 70, write = 25, delete = 5 }",
        );
        errors.check(
            (1..=MAX_VALUE_SIZE).contains(&settings.value_size.0),
            "value_size",
            "expected 1B to 1MB",
        );
        errors.check_range(settings.key_space, 1..=MAX_KEYS, "key_space");
        errors.check(!settings.op_timeout.0.is_zero(), "op_timeout", "expected more than 0, such as \"5s\"");
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.duration = Some(settings.duration.unwrap_or(Span::secs(5)).quick());
        settings.ops_per_worker = (settings.ops_per_worker / 10).max(1);
        settings.key_space = (settings.key_space / 10).max(1);
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        let connections = self.settings.phases.iter().map(|phase| self.workers(*phase)).max().unwrap_or(1);
        self.needs_with(connections)
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut phases = Phases::new(cx);
        let value_size = usize::try_from(self.settings.value_size.0).unwrap_or(usize::MAX);
        let keys = cx.keys.range("load", self.settings.key_space, value_size)?;
        let mut filled = false;
        for phase in &self.settings.phases {
            let needs = self.needs_with(self.workers(*phase));
            if !phases.admit(phase.name(), Effect::Load, needs, self.length(*phase)).await? {
                continue;
            }
            if !filled {
                self.fill(&mut phases, &keys).await?;
                filled = true;
            }
            let (plan, commands) = self.plan(*phase, &keys);
            self.warm_up(&mut phases, &plan, &commands).await?;
            phases.load(plan, commands).await?;
        }
        phases.measured()?;
        let mut report = phases.finish(&["sustained", "concurrent", "baseline", "benchmark", "pipelined"]);
        findings::add(&mut report);
        Ok(report)
    }
}

impl Throughput {
    fn needs_with(&self, workers: u64) -> Needs {
        let keys = self.settings.key_space;
        Needs { connections: workers + 1, keys, bytes: keys * self.settings.value_size.0 }
    }

    fn workers(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Baseline => 1,
            Phase::Sustained | Phase::Concurrent => self.settings.workers,
            Phase::Pipelined => self.settings.connections,
            Phase::Benchmark => self.settings.benchmark_workers,
        }
    }

    /// How long a phase lasts; nothing for the benchmark, which ends with its operations.
    fn length(&self, phase: Phase) -> Duration {
        let own = match phase {
            Phase::Baseline | Phase::Concurrent => Span::secs(30),
            Phase::Sustained => Span::secs(60),
            Phase::Pipelined => Span::secs(15),
            Phase::Benchmark => return Duration::ZERO,
        };
        self.settings.duration.unwrap_or(own).0
    }

    fn pace(&self, phase: Phase) -> Pace {
        match (phase, self.settings.rate) {
            (Phase::Benchmark, _) => Pace::Closed,
            (_, Some(rate)) => Pace::per_second(rate),
            (Phase::Sustained, None) => Pace::per_second(SUSTAINED_RATE),
            (_, None) => Pace::Closed,
        }
    }

    /// The load of a phase, and its commands in the order of its mix.
    fn plan(&self, phase: Phase, keys: &KeyRange) -> (LoadPlan, Vec<Command>) {
        let Mix { read, write, delete } = self.settings.mix;
        let kinds = [("get", read, keys.get()), ("set", write, keys.set()), ("del", delete, keys.delete())];
        let (mix, commands) = kinds
            .into_iter()
            .filter(|(_, weight, _)| *weight > 0)
            .map(|(operation, weight, command)| (Share { operation, weight }, command))
            .unzip();
        let mut plan = LoadPlan::new(phase.name(), mix);
        plan.workers = usize::try_from(self.workers(phase)).unwrap_or(usize::MAX);
        plan.pace = self.pace(phase);
        plan.key_space = keys.count;
        plan.operation_timeout = self.settings.op_timeout.0;
        plan.stop.error_ratio = Some(HOPELESS);
        match phase {
            Phase::Benchmark => {
                plan.stop.operations = Some(self.settings.benchmark_workers * self.settings.ops_per_worker);
            }
            _ => plan.stop.duration = Some(self.length(phase)),
        }
        if phase == Phase::Pipelined {
            plan.pipeline = usize::try_from(self.settings.pipeline).unwrap_or(usize::MAX);
        }
        (plan, commands)
    }

    /// Writes every key once.
    async fn fill(&self, phases: &mut Phases<'_>, keys: &KeyRange) -> Result<(), ProbeError> {
        phases.begin("fill");
        let mut plan = LoadPlan::new("fill", vec![Share { operation: "set", weight: 1 }]);
        plan.order = Order::Cycle;
        plan.key_space = keys.count;
        plan.pipeline = FILL_PIPELINE;
        plan.operation_timeout = self.settings.op_timeout.0;
        plan.stop.operations = Some(keys.count);
        plan.stop.error_ratio = Some(HOPELESS);
        let filled = phases.prepare(plan, vec![keys.set()]).await?;
        let written: u64 = filled.operations.iter().map(|operation| operation.ok).sum();
        phases.report.measure("filled_keys", written as f64, Unit::Count);
        phases.report.errors.extend(filled.errors);
        Ok(())
    }

    /// The rule, fixed beforehand: the phase's own load for `warm_up`, at most a tenth of the phase; never counted.
    async fn warm_up(
        &self,
        phases: &mut Phases<'_>,
        plan: &LoadPlan,
        commands: &[Command],
    ) -> Result<(), ProbeError> {
        let mut warm_up = plan.clone();
        let tenth = plan.stop.duration.map_or(self.settings.warm_up.0, |length| length / 10);
        let length = self.settings.warm_up.0.min(tenth);
        warm_up.stop.duration = Some(length);
        warm_up.stop.operations = plan.stop.operations.map(|count| (count / 10).max(1));
        if length < WARM_ENOUGH {
            phases.report.doubts.insert(Doubt::WarmUpTooShort);
        }
        if length.is_zero() {
            return Ok(());
        }
        let discarded = phases.prepare(warm_up, commands.to_vec()).await?;
        let operations: u64 = discarded.operations.iter().map(|operation| operation.attempts).sum();
        phases.report.measure(format!("{}_warm_up_operations", plan.phase), operations as f64, Unit::Count);
        Ok(())
    }
}

impl Phase {
    /// As settings, reports and labels say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Sustained => "sustained",
            Self::Concurrent => "concurrent",
            Self::Pipelined => "pipelined",
            Self::Benchmark => "benchmark",
        }
    }
}

#[cfg(test)]
mod tests;
