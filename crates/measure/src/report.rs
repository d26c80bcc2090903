//! What a probe gives back: one [`Report`] of plain data, the same for the command line, the API and history.
//!
//! Nothing here judges: whether an objective is met is the daemon's `verdict`. Nothing here exports: [`Sample`]s and
//! bucket counts ride along for the metrics sink and are not part of the JSON.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use crate::{
    error::Reason,
    latency::{BucketCounts, Latency},
    metric::{LabelValue, MetricDef, Sample},
};

/// Which way an objective is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// At least the limit.
    Min,
    /// At most the limit.
    Max,
}

/// What an unmet objective costs: info → GOOD, warning → FAIR, critical → POOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Should be looked at.
    Warning,
    /// Must be looked at.
    Critical,
}

/// The unit of a value, spelled out in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// 0 to 1.
    Ratio,
    /// Operations per second.
    OperationsPerSecond,
    /// A plain number of things.
    Count,
}

/// One declared objective of a probe, with the limit that holds unless a job sets another.
#[derive(Debug)]
pub struct ObjectiveDef {
    /// Key in a job's `objectives`, and the label. `snake_case`, never renamed.
    pub name: &'static str,
    /// How it reads in a sentence: "p99 of GET".
    pub phrase: &'static str,
    /// One sentence for the catalogue: what it says and where its default comes from.
    pub help: &'static str,
    /// Which way it is met.
    pub direction: Direction,
    /// The unit of observed value and limit.
    pub unit: Unit,
    /// What missing it costs.
    pub severity: Severity,
    /// The limit where the job sets none.
    pub limit: f64,
}

/// Why a figure may not mean what it says. A closed set; each is a label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// redprobe itself used most of its processors.
    ProberCpuBusy,
    /// redprobe's own event loop ran late.
    EventLoopLag,
    /// redprobe waited for a processor.
    RunQueueWait,
    /// Too few samples for a quantile that an objective needs.
    TooFewSamples,
    /// Another probe ran on the same target at the same time.
    SharedTarget,
    /// A connection had to be made anew half-way.
    Reconnected,
    /// Latencies beyond what is told apart.
    ClippedValues,
    /// The run was too short for its warm-up.
    WarmUpTooShort,
    /// The intended rate could not be offered.
    RateNotOffered,
    /// A phase did not run, though the configuration allows it.
    PhaseSkipped,
    /// Too much of an operation's time went nobody knows where.
    Unattributed,
    /// What was tried several times did not come out the same, or there was no time to try it so often.
    Unsure,
}

impl Doubt {
    /// Every doubt.
    pub const ALL: [Doubt; 12] = [
        Doubt::ProberCpuBusy,
        Doubt::EventLoopLag,
        Doubt::RunQueueWait,
        Doubt::TooFewSamples,
        Doubt::SharedTarget,
        Doubt::Reconnected,
        Doubt::ClippedValues,
        Doubt::WarmUpTooShort,
        Doubt::RateNotOffered,
        Doubt::PhaseSkipped,
        Doubt::Unattributed,
        Doubt::Unsure,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Doubt::ProberCpuBusy => "prober_cpu_busy",
            Doubt::EventLoopLag => "event_loop_lag",
            Doubt::RunQueueWait => "run_queue_wait",
            Doubt::TooFewSamples => "too_few_samples",
            Doubt::SharedTarget => "shared_target",
            Doubt::Reconnected => "reconnected",
            Doubt::ClippedValues => "clipped_values",
            Doubt::WarmUpTooShort => "warm_up_too_short",
            Doubt::RateNotOffered => "rate_not_offered",
            Doubt::PhaseSkipped => "phase_skipped",
            Doubt::Unattributed => "unattributed",
            Doubt::Unsure => "unsure",
        }
    }
}

/// One named figure of a report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measurement {
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

/// How the starts of operations were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopKind {
    /// At a fixed rate, whatever the server does: response time counts from the intended start.
    Open,
    /// The next operation starts when the last one ends: a stall hides the operations that it kept from starting.
    Closed,
}

/// One operation in one phase: what was offered, what came of it, and how long it took.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// The probe's phase.
    pub phase: &'static str,
    /// The operation, as its label says it.
    pub operation: &'static str,
    /// How starts were set.
    #[serde(rename = "loop")]
    pub loop_kind: LoopKind,
    /// How long the phase lasted.
    pub duration_seconds: f64,
    /// Operations that were due.
    pub offered: u64,
    /// Operations that were sent.
    pub attempts: u64,
    /// Operations that were answered as they should be.
    pub ok: u64,
    /// Operations that failed, by reason.
    pub errors: BTreeMap<Reason, u64>,
    /// Those of `errors` that the server may have carried out all the same.
    pub indeterminate: u64,
    /// Operations that were due and never sent: `offered − attempts`.
    pub missed: u64,
    /// From the intended start (open loop) to the last byte of the reply; successes only.
    pub response: Latency,
    /// From the send to the last byte of the reply; successes only.
    pub service: Latency,
    /// For the exported histogram.
    #[serde(skip)]
    pub response_buckets: BucketCounts,
    /// For the exported histogram.
    #[serde(skip)]
    pub service_buckets: BucketCounts,
}

impl Operation {
    /// Successful operations per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.duration_seconds > 0.0 { self.ok as f64 / self.duration_seconds } else { 0.0 }
    }

    /// Failed share of the attempts, 0 where there were none.
    #[must_use]
    pub fn error_ratio(&self) -> f64 {
        if self.attempts == 0 { 0.0 } else { 1.0 - self.ok as f64 / self.attempts as f64 }
    }
}

/// Waits for a pool's connections.
#[derive(Debug, Clone, Serialize)]
pub struct Pool {
    /// The pool's name.
    pub name: LabelValue,
    /// Its connections at the most.
    pub size: u64,
    /// Time until a connection was handed out.
    pub wait: Latency,
    /// Waits that ended without one.
    pub wait_failures: u64,
    /// The checks of idle connections before they were handed out.
    pub recycle: Latency,
    /// Idle connections that failed that check and were replaced, of which applications are not told.
    pub recycle_failures: u64,
    /// Connections opened.
    pub created: u64,
    /// For the exported histogram.
    #[serde(skip)]
    pub wait_buckets: BucketCounts,
}

/// Where the observed time of an operation went, as disjoint shares of it that add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Attribution {
    /// The operation.
    pub operation: &'static str,
    /// Waiting for a pooled connection.
    pub pool_wait: f64,
    /// The pool's check of a connection before it is handed out.
    pub recycle: f64,
    /// Round trip less the server's own time.
    pub network: f64,
    /// The server's busy time while the operation was out.
    pub server: f64,
    /// The part of `server` that went to other commands than the operation's own; no share beside the others, and
    /// therefore not among them in the JSON.
    #[serde(skip)]
    pub server_others: f64,
    /// Late wake-ups of redprobe itself, and waiting behind its own earlier operations.
    pub client: f64,
    /// What remains.
    pub unattributed: f64,
}

impl Attribution {
    /// The shares that add up to 1, by name.
    #[must_use]
    pub const fn parts(&self) -> [(&'static str, f64); 6] {
        [
            ("pool_wait", self.pool_wait),
            ("recycle", self.recycle),
            ("network", self.network),
            ("server", self.server),
            ("client", self.client),
            ("unattributed", self.unattributed),
        ]
    }
}

/// One check of an audit. Most of its texts are the catalogue's own, and borrowed.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Its id in the catalogue, or `E:` and the name of an expected setting.
    pub check: Cow<'static, str>,
    /// Its name: a sentence that is true where it passes.
    pub title: Cow<'static, str>,
    /// pass, warn, fail, unknown or not_applicable.
    pub status: &'static str,
    /// What failing it costs: critical, high, medium, low or info.
    pub severity: &'static str,
    /// What it is about: memory, persistence, …
    pub area: &'static str,
    /// What was expected.
    pub expected: Cow<'static, str>,
    /// What was found, or why nothing was.
    pub actual: String,
    /// Why it matters.
    pub why: Cow<'static, str>,
    /// How to mend it: a command or a line of the server's configuration first.
    pub remedy: Cow<'static, str>,
    /// Where this is documented.
    pub source: Cow<'static, str>,
}

/// One moment of a run: for plots.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelinePoint {
    /// The phase.
    pub phase: &'static str,
    /// Seconds since the phase began.
    pub at_seconds: f64,
    /// Named values at that moment.
    pub values: BTreeMap<&'static str, f64>,
}

/// What went wrong in part, without ending the run.
#[derive(Debug, Clone, Serialize)]
pub struct ReportedError {
    /// The phase or step.
    pub phase: &'static str,
    /// The closed reason.
    pub reason: Reason,
    /// The text; one example where there were many.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// A phase that did not run, and why.
#[derive(Debug, Clone, Serialize)]
pub struct SkippedPhase {
    /// The phase.
    pub phase: &'static str,
    /// The closed reason.
    pub reason: Reason,
    /// The text.
    pub message: String,
}

/// A fix, as settings of a client library.
#[derive(Debug, Clone, Serialize)]
pub struct Remedy {
    /// The library.
    pub client: &'static str,
    /// What to write, a line each.
    pub settings: Vec<String>,
    /// What to look out for.
    pub note: String,
}

/// Everything a probe found in one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// One sentence that names the finding.
    pub conclusion: String,
    /// Whether it says what is wrong with figures and all, so that unmet objectives need no words in front of it.
    #[serde(skip)]
    pub explains: bool,
    /// Named figures.
    pub measurements: BTreeMap<Cow<'static, str>, Measurement>,
    /// Per phase and operation.
    pub operations: Vec<Operation>,
    /// Per pool.
    pub pools: Vec<Pool>,
    /// Per operation.
    pub attribution: Vec<Attribution>,
    /// Of an audit.
    pub checks: Vec<Check>,
    /// How to mend what was found.
    pub remedies: Vec<Remedy>,
    /// For plots.
    pub timeline: Vec<TimelinePoint>,
    /// Why the figures may not mean what they say.
    pub doubts: BTreeSet<Doubt>,
    /// What went wrong in part.
    pub errors: Vec<ReportedError>,
    /// Phases that did not run.
    pub skipped_phases: Vec<SkippedPhase>,
    /// Observed values of the probe's objectives.
    #[serde(skip)]
    pub observed: Vec<(&'static ObjectiveDef, f64)>,
    /// Values of the probe's own metrics.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

impl Report {
    /// Adds a named figure.
    pub fn measure(&mut self, name: impl Into<Cow<'static, str>>, value: f64, unit: Unit) {
        self.measurements.insert(name.into(), Measurement { value, unit });
    }

    /// Adds the observed value of an objective.
    pub fn observe(&mut self, objective: &'static ObjectiveDef, value: f64) {
        self.observed.push((objective, value));
    }

    /// Adds the observed value of an objective where there is one; where the samples were too few for it, the report
    /// says so instead.
    pub fn observe_if(&mut self, objective: &'static ObjectiveDef, value: Option<f64>) {
        match value {
            Some(value) => self.observe(objective, value),
            None => {
                self.doubts.insert(Doubt::TooFewSamples);
            }
        }
    }

    /// Adds a value of one of the probe's metrics that has no labels of its own.
    pub fn set(&mut self, def: &'static MetricDef, value: f64) {
        self.set_with(def, [], value);
    }

    /// Adds a value of one of the probe's metrics; `labels` in the order of its declaration.
    pub fn set_with<const N: usize>(&mut self, def: &'static MetricDef, labels: [LabelValue; N], value: f64) {
        debug_assert_eq!(def.labels.len(), N, "labels of {}", def.name);
        self.samples.push(Sample { def, labels: Box::new(labels), value });
    }

    /// The operation of this name in this phase.
    #[must_use]
    pub fn operation(&self, phase: &str, operation: &str) -> Option<&Operation> {
        self.operations.iter().find(|o| o.phase == phase && o.operation == operation)
    }
}
