//! What `/metrics` remembers of each target and job, and when it disappears.
//!
//! Counters and histograms stay as long as their target does. Results belong to the last run and go when the job is
//! overdue, left the plan, or the last run measured nothing. How it becomes text is in `render`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use measure::{
    Effect, Reason,
    clock::unix_seconds,
    conn::TlsExpiry,
    latency::{BucketCounts, QUANTILES},
    report::{Direction, Severity},
};

use super::{
    certificates,
    families::{job, target},
    reasons::Reasons,
    render::{Exposition, Owner},
};
use crate::{
    config::{Job, Profile, Schedule, Target},
    probe::Probe,
    probes::health::Health,
    sink::Record,
    verdict::{Objective, Outcome},
};

/// The value of `reason` for a run that was measured and missed an objective.
const OBJECTIVE: &str = "objective";

/// Runs missed in a row from which a job is overdue: one may have met another run, or a moment when it had to wait.
const OVERDUE: u64 = 2;

/// One target and its jobs.
#[derive(Debug, Clone)]
pub(super) struct TargetSeries {
    owner: Owner,
    environment: Box<str>,
    profile: &'static str,
    pub(super) left_over: u64,
    pub(super) halted: bool,
    pub(super) unrestored: u64,
    pub(super) tls: TlsExpiry,
    pub(super) unnamed_nodes: Option<u64>,
    /// Boxed: a node of the map has room for eleven, most targets have two or three.
    jobs: BTreeMap<(&'static str, Arc<str>), Box<JobSeries>>,
}

impl TargetSeries {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            owner: owner(target),
            environment: Box::default(),
            profile: Profile::default().as_str(),
            left_over: 0,
            halted: false,
            unrestored: 0,
            tls: TlsExpiry::default(),
            unnamed_nodes: None,
            jobs: BTreeMap::new(),
        }
    }

    /// Begins a new plan with what it says of the target: until [`TargetSeries::plan`] says otherwise no job is in it.
    pub(super) fn unplan(&mut self, target: &Target) {
        self.environment = target.environment.as_str().into();
        self.profile = target.profile.as_str();
        for series in self.jobs.values_mut() {
            series.planned = false;
        }
    }

    /// This job is in the plan.
    pub(super) fn plan(&mut self, job: &Job) {
        let series = self.job(job);
        series.planned = true;
        series.seed(job);
        if job.schedule == Schedule::Manual {
            series.next_run = None;
        }
    }

    /// Drops the results of jobs that are not in the plan.
    pub(super) fn settle(&mut self) {
        for series in self.jobs.values_mut().filter(|series| !series.planned) {
            series.result = None;
            series.next_run = None;
        }
    }

    /// The series of this job.
    pub(super) fn job(&mut self, job: &Job) -> &mut JobSeries {
        let (probe, _, variant) = job.key();
        let owner = &self.owner;
        self.jobs.entry((probe, variant.into())).or_insert_with_key(|(probe, variant)| {
            let owner = Owner { probe, variant: Arc::clone(variant), ..owner.clone() };
            Box::new(JobSeries { owner, ..JobSeries::default() })
        })
    }

    /// The same, where there are any.
    pub(super) fn known(&mut self, job: &Job) -> Option<&mut JobSeries> {
        let (probe, _, variant) = job.key();
        Some(self.jobs.get_mut(&(probe, variant.into()))?.as_mut())
    }

    /// When this job is due next.
    pub(super) fn next_run(&self, job: &Job) -> Option<SystemTime> {
        let (probe, _, variant) = job.key();
        Some(self.jobs.get(&(probe, variant.into()))?.next_run?.0)
    }

    /// Shows everything as it is at `now`.
    pub(super) fn show<'a>(&'a self, out: &mut Exposition<'a>, now: SystemTime) {
        out.set(&target::INFO, &self.owner, [&self.environment, self.profile], 1.0);
        if let Some(up) = self.up(now) {
            out.set(&target::UP, &self.owner, [], f64::from(up));
        }
        out.set(&target::LEFTOVER_KEYS, &self.owner, [], self.left_over as f64);
        out.set(&target::HALTED, &self.owner, [], f64::from(u8::from(self.halted)));
        if let Some(nodes) = self.unnamed_nodes {
            out.set(&target::UNNAMED_NODES, &self.owner, [], nodes as f64);
        }
        out.set(&target::UNRESTORED_SETTINGS, &self.owner, [], self.unrestored as f64);
        certificates::show(self.tls, &self.owner, out);
        for series in self.jobs.values() {
            series.show_counts(out);
            series.show_times(out);
            if let Some(result) = series.result_at(now) {
                show_result(&series.owner, result, out);
            }
        }
    }

    fn up(&self, now: SystemTime) -> Option<bool> {
        self.jobs
            .values()
            .filter(|series| series.owner.probe == Health::NAME)
            .find_map(|series| series.result_at(now))
            .map(|result| result.outcome == Outcome::Passed)
    }
}

/// The labels of a target's own series.
fn owner(target: &Target) -> Owner {
    Owner { target: target.name.as_str().into(), node: target.node.as_str().into(), ..Owner::default() }
}

/// One job: a probe on a target, or one variant of it.
#[derive(Debug, Clone, Default)]
pub(super) struct JobSeries {
    owner: Owner,
    planned: bool,
    runs: u64,
    failures: Reasons,
    skipped: Reasons,
    halted: Reasons,
    missed_ticks: u64,
    /// Of those and of skipped runs: how many since a run last began.
    missed_in_a_row: u64,
    last_run: Option<SystemTime>,
    last_success: Option<SystemTime>,
    next_run: Option<(SystemTime, Duration)>,
    in_progress: u64,
    result: Option<Arc<Record>>,
    operations: Vec<OperationTotals>,
    pools: Vec<PoolTotals>,
}

#[derive(Debug, Clone, Default)]
struct OperationTotals {
    operation: &'static str,
    attempts: u64,
    errors: Reasons,
    response: BucketCounts,
    service: BucketCounts,
}

#[derive(Debug, Clone)]
struct PoolTotals {
    pool: Box<str>,
    failures: u64,
    wait: BucketCounts,
}

impl JobSeries {
    /// The reasons that runs of this job end with when something usual goes wrong.
    fn seed(&mut self, job: &Job) {
        let usual = [
            Reason::ConnectRefused,
            Reason::ConnectTimeout,
            Reason::Timeout,
            Reason::Reset,
            Reason::Deadline,
        ];
        self.failures.seed(&usual.map(Reason::as_str));
        if !job.limits.is_empty() {
            self.failures.seed(&[OBJECTIVE]);
        }
        self.skipped.seed(&[Reason::Overlap.as_str()]);
        if job.effect() >= Effect::Touch {
            self.skipped.seed(&[Reason::Precondition.as_str()]);
        }
        if job.effect() >= Effect::Load {
            self.skipped.seed(&[Reason::Lease.as_str()]);
            let by = [Reason::Canary, Reason::Lease, Reason::Cancelled];
            self.halted.seed(&by.map(Reason::as_str));
        }
        if job.effect() >= Effect::Disrupt {
            let by = [
                Reason::ForeignEviction,
                Reason::Oom,
                Reason::Misconf,
                Reason::Rejected,
                Reason::Noreplicas,
                Reason::Restarted,
                Reason::Deadline,
                Reason::Precondition,
            ];
            self.halted.seed(&by.map(Reason::as_str));
        }
    }

    /// Takes in a finished run. A skipped or halted one counts and leaves the results as they are.
    pub(super) fn take(&mut self, record: &Arc<Record>) {
        self.runs += 1;
        let reason = record.reason.map_or(Reason::Other.as_str(), Reason::as_str);
        self.missed_in_a_row = if record.outcome == Outcome::Skipped { self.missed_in_a_row + 1 } else { 0 };
        match record.outcome {
            Outcome::Passed => self.last_success = Some(record.started_at),
            Outcome::Failed => self.failures.add(OBJECTIVE, 1),
            Outcome::Error => self.failures.add(reason, 1),
            Outcome::Skipped => self.skipped.add(reason, 1),
            Outcome::Halted => self.halted.add(reason, 1),
        }
        if !matches!(record.outcome, Outcome::Skipped | Outcome::Halted) {
            self.last_run = Some(record.started_at);
            // A scheduled job that is not in the plan ended after a reload had dropped it. Nothing would ever say that
            // its results are overdue.
            if self.planned || record.job.schedule == Schedule::Manual {
                self.result = Some(Arc::clone(record));
            }
        }
        self.take_operations(record);
    }

    fn take_operations(&mut self, record: &Record) {
        for run in &record.report.operations {
            let totals = match self.operations.iter().position(|known| known.operation == run.operation) {
                Some(index) => &mut self.operations[index],
                None => {
                    let mut fresh =
                        OperationTotals { operation: run.operation, ..OperationTotals::default() };
                    fresh.errors.seed(&[Reason::Timeout.as_str(), Reason::Reset.as_str()]);
                    self.operations.push(fresh);
                    self.operations.last_mut().expect("one was just added")
                }
            };
            totals.attempts += run.attempts;
            for (reason, count) in &run.errors {
                totals.errors.add(reason.as_str(), *count);
            }
            totals.response.add(&run.response_buckets);
            totals.service.add(&run.service_buckets);
        }
        for run in &record.report.pools {
            let index = self.pools.iter().position(|known| *known.pool == *run.name).unwrap_or_else(|| {
                self.pools.push(PoolTotals {
                    pool: (&*run.name).into(),
                    failures: 0,
                    wait: BucketCounts::default(),
                });
                self.pools.len() - 1
            });
            self.pools[index].failures += run.wait_failures;
            self.pools[index].wait.add(&run.wait_buckets);
        }
    }

    pub(super) fn miss(&mut self, ticks: u64) {
        self.missed_ticks += ticks;
        self.missed_in_a_row += ticks;
    }

    pub(super) fn due(&mut self, at: SystemTime, slack: Duration) {
        if self.planned {
            self.next_run = Some((at, slack));
        }
    }

    pub(super) fn began(&mut self) {
        self.in_progress += 1;
    }

    pub(super) fn ended(&mut self) {
        self.in_progress = self.in_progress.saturating_sub(1);
    }

    /// The last run's record, unless the job is overdue at `now`.
    fn result_at(&self, now: SystemTime) -> Option<&Record> {
        let overdue =
            self.next_run.is_some_and(|(at, slack)| now > at + slack || self.missed_in_a_row >= OVERDUE);
        if overdue { None } else { self.result.as_deref() }
    }

    fn show_counts<'a>(&'a self, out: &mut Exposition<'a>) {
        let owner = &self.owner;
        out.set(&job::RUNS, owner, [], self.runs as f64);
        out.set(&job::MISSED_TICKS, owner, [], self.missed_ticks as f64);
        out.set(&job::MISSED_RUNS, owner, [], self.missed_in_a_row as f64);
        out.set(&job::IN_PROGRESS, owner, [], self.in_progress as f64);
        for (def, reasons) in [
            (&job::RUN_FAILURES, &self.failures),
            (&job::RUNS_SKIPPED, &self.skipped),
            (&job::RUNS_HALTED, &self.halted),
        ] {
            for (reason, count) in &reasons.0 {
                out.set(def, owner, [reason], *count as f64);
            }
        }
        for totals in &self.operations {
            let operation = totals.operation;
            out.set(&job::OPERATIONS, owner, [operation], totals.attempts as f64);
            for (reason, count) in &totals.errors.0 {
                out.set(&job::OPERATION_ERRORS, owner, [operation, reason], *count as f64);
            }
            out.histogram(&job::OPERATION_RESPONSE, owner, [operation], &totals.response);
            out.histogram(&job::OPERATION_SERVICE, owner, [operation], &totals.service);
        }
        for totals in &self.pools {
            out.histogram(&job::POOL_WAIT, owner, [&totals.pool], &totals.wait);
            out.set(&job::POOL_WAIT_FAILURES, owner, [&totals.pool], totals.failures as f64);
        }
    }

    fn show_times<'a>(&'a self, out: &mut Exposition<'a>) {
        let times = [
            (&job::LAST_RUN, self.last_run),
            (&job::LAST_SUCCESS, self.last_success),
            (&job::NEXT_RUN, self.next_run.map(|(at, _)| at)),
        ];
        for (def, time) in times {
            if let Some(time) = time {
                out.set(def, &self.owner, [], unix_seconds(time));
            }
        }
    }
}

/// Shows what one run found: nothing that counts over runs.
fn show_result<'a>(owner: &'a Owner, record: &'a Record, out: &mut Exposition<'a>) {
    out.set(&job::RUN_SUCCESS, owner, [], f64::from(record.outcome == Outcome::Passed));
    if let Some(reason) = record.reason {
        out.set(&job::UNMEASURED, owner, [reason.as_str()], 1.0);
    }
    out.set(&job::RUN_DURATION, owner, [], record.took.as_secs_f64());
    for objective in &record.objectives {
        show_objective(owner, objective, out);
    }
    show_operations(owner, record, out);
    show_checks(owner, record, out);
    for doubt in &record.report.doubts {
        out.set(&job::DOUBTS, owner, [doubt.as_str()], 1.0);
    }
    for sample in &record.report.samples {
        out.set_all(sample.def, owner, sample.labels.iter().map(|value| &**value), sample.value);
    }
}

fn show_objective<'a>(owner: &'a Owner, objective: &Objective, out: &mut Exposition<'a>) {
    let severity = match objective.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let direction = match objective.direction {
        Direction::Min => "min",
        Direction::Max => "max",
    };
    let labels = [objective.name, severity, direction];
    out.set(&job::OBJECTIVE_MET, owner, labels, f64::from(objective.met));
    out.set(&job::OBJECTIVE_OBSERVED, owner, labels, objective.observed);
    out.set(&job::OBJECTIVE_LIMIT, owner, labels, objective.limit);
}

fn show_operations<'a>(owner: &'a Owner, record: &'a Record, out: &mut Exposition<'a>) {
    for run in &record.report.operations {
        let labels = [run.phase, run.operation];
        out.set(&job::RUN_OPERATIONS, owner, labels, run.per_second());
        out.set(&job::RUN_ERROR_RATIO, owner, labels, run.error_ratio());
        for (_, quantile) in QUANTILES {
            if let Some(seconds) = run.response.quantile(quantile) {
                out.set(&job::RUN_LATENCY, owner, [run.phase, run.operation, quantile], seconds);
            }
        }
    }
}

fn show_checks<'a>(owner: &'a Owner, record: &'a Record, out: &mut Exposition<'a>) {
    let mut counts = BTreeMap::<[&'static str; 2], u32>::new();
    for check in &record.report.checks {
        *counts.entry([check.severity, check.status]).or_default() += 1;
        if check.status == "fail" {
            out.set(&job::AUDIT_CHECK_FAILING, owner, [&check.check, check.severity], 1.0);
        }
    }
    for (labels, count) in counts {
        out.set(&job::AUDIT_CHECKS, owner, labels, f64::from(count));
    }
}

/// One run alone, as `/probe` shows it. A run that was skipped or halted shows nothing.
pub(super) fn show_alone(record: &Record) -> Vec<u8> {
    let (probe, _, variant) = record.job.key();
    let bare = owner(&record.job.target);
    let owner = Owner { probe, variant: variant.into(), ..bare.clone() };
    let mut out = Exposition::default();
    certificates::show(record.tls, &bare, &mut out);
    if !matches!(record.outcome, Outcome::Skipped | Outcome::Halted) {
        show_result(&owner, record, &mut out);
        if probe == Health::NAME {
            out.set(&target::UP, &bare, [], f64::from(record.outcome == Outcome::Passed));
        }
    }
    out.into_text().into_bytes()
}
