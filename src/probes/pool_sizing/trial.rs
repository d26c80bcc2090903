//! One trial: readers and traffic on pools of given sizes for a while, and what came of it, gathered by size.
//!
//! Which sizes are tried is `search`'s, in which order and until when `mod`'s, what it means `findings`'.

use std::{collections::BTreeMap, time::Duration};

use measure::{
    ProbeError, Reason,
    latency::Latency,
    load::LoadResult,
    pool::Account,
    report::{Attribution, Operation, Report, TimelinePoint},
};

use super::{Settings, search::Search};
use crate::probe::{
    phases::Phases,
    pools::{Numbers, PoolResult, PoolSet, figures},
};

/// Operations that start late by more than this on average were held up: undisturbed they are late by a tenth of it, also
/// where the pool is too small.
const HELD_UP: Duration = Duration::from_millis(1);
/// Trials that may be void.
const MOST_VOID: u64 = 10;
/// Share of the waits that may be longer than the limit of p99.
const ABOVE_P99: f64 = 0.01;

/// The search for the size of one pool, and what was measured at each size.
pub(super) struct Curve {
    /// Of the pool: a label.
    pub(super) name: &'static str,
    /// Names of size, share of failures and p99 in the timeline.
    pub(super) values: [&'static str; 3],
    /// What was tried, and what it says.
    pub(super) search: Search,
    /// Whether the target's `max_connections` alone is what bounds the sizes.
    pub(super) bound_by_target: bool,
    sizes: BTreeMap<u64, Seen>,
}

/// What was seen at one size, all trials of it together.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    attempts: u64,
    failed: u64,
    account: Account,
    /// Of the latest trial.
    pub(super) attribution: Vec<Attribution>,
}

impl Seen {
    /// One pool's part of a trial: the operations of these crews were done on it.
    pub(super) fn of(crews: &[&LoadResult], set: &PoolSet) -> Self {
        let operations = || crews.iter().flat_map(|crew| &crew.operations);
        let attempts = operations().map(|operation| operation.attempts).sum();
        let ok: u64 = operations().map(|operation| operation.ok).sum();
        Self { attempts, failed: attempts - ok, account: set.account(), attribution: Vec::new() }
    }

    /// Share of the operations that were not answered in time, or at all.
    pub(super) fn failed(&self) -> f64 {
        if self.attempts > 0 { self.failed as f64 / self.attempts as f64 } else { 0.0 }
    }

    /// 99th percentile of the waits, where they are enough for it.
    pub(super) fn wait_p99(&self) -> Option<f64> {
        self.account.all_waits.quantile(0.99).map(|wait| wait.as_secs_f64())
    }

    /// Whether it is within the limits. A trial has too few waits to state their p99, and enough to count those above.
    fn meets(&self, settings: &Settings) -> bool {
        let above = self.account.all_waits.share_above(settings.max_wait_p99.0);
        self.attempts > 0 && self.failed() <= settings.max_timeout_rate && above <= ABOVE_P99
    }

    fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failed += other.failed;
        self.account.merge(&other.account);
        self.attribution.clone_from(&other.attribution);
    }
}

impl Curve {
    /// Nothing tried yet.
    pub(super) fn new(
        name: &'static str,
        values: [&'static str; 3],
        search: Search,
        by_target: bool,
    ) -> Self {
        Self { name, values, search, bound_by_target: by_target, sizes: BTreeMap::new() }
    }

    /// Takes in a trial of `size`; whether it met the limits.
    pub(super) fn take(&mut self, size: u64, seen: &Seen, settings: &Settings) -> bool {
        let met = seen.meets(settings);
        self.search.record(size, met);
        self.sizes.entry(size).or_default().add(seen);
        met
    }

    /// What was seen at a size.
    pub(super) fn at(&self, size: u64) -> Option<&Seen> {
        self.sizes.get(&size)
    }

    /// Adds the curve: an entry for each size.
    pub(super) fn report(&self, report: &mut Report, numbers: &Numbers) {
        for (size, seen) in &self.sizes {
            report.pools.push(seen.account.report(&numbers.pool(self.name, *size)));
        }
    }

    /// A moment of the timeline.
    pub(super) fn point(&self, size: u64, seen: &Seen, values: &mut BTreeMap<&'static str, f64>) {
        let [size_name, failed, wait] = self.values;
        values.extend([(size_name, size as f64), (failed, seen.failed())]);
        if let Some(p99) = seen.wait_p99() {
            values.insert(wait, p99);
        }
    }
}

/// What all trials of a phase came to besides their curves.
#[derive(Default)]
pub(super) struct Trials {
    /// Trials that count.
    pub(super) count: u64,
    /// Those that do not, since redprobe itself was held up.
    pub(super) void: u64,
    /// Connections that the server turned away, at the most in one trial.
    pub(super) rejected: Option<f64>,
    /// How long a GET holds its connection, by the latest trial that had one.
    pub(super) hold: Option<Duration>,
}

impl Trials {
    /// Whether the trial does not count: it failed while redprobe itself was held up, which pools of any size would have
    /// suffered from. Where that does not end, trials count all the same.
    pub(super) fn is_void(&mut self, result: &PoolResult, seen: &[Seen], settings: &Settings) -> bool {
        let traffic = ["get", "set"].into_iter().filter_map(|name| result.parts.get(name));
        let (late, attempts) =
            traffic.fold((0.0, 0), |sum, parts| (sum.0 + parts.late.as_secs_f64(), sum.1 + parts.attempts));
        let void = late > HELD_UP.as_secs_f64() * attempts as f64
            && seen.iter().any(|seen| !seen.meets(settings))
            && self.void < MOST_VOID;
        self.void += u64::from(void);
        void
    }

    /// Moves what a trial found from its own report to that of the run, where each phase's operations are one line;
    /// doubts only of one that `met` the limits: a pool that is too small keeps the rate from being offered.
    ///
    /// # Errors
    /// Where nothing was answered and no pool was to blame for it.
    pub(super) fn take(
        &mut self,
        phases: &mut Phases<'_>,
        trial: Report,
        result: &PoolResult,
        met: bool,
    ) -> Result<(), ProbeError> {
        self.hold = result.parts.get("get").and_then(figures::hold).or(self.hold);
        self.rejected =
            self.rejected.into_iter().chain(result.side.max("rejected_connections")).reduce(f64::max);
        let answered = trial.operations.iter().any(|operation| operation.ok > 0);
        if let Some(error) = trial.errors.iter().find(|error| error.reason != Reason::PoolTimeout)
            && !answered
        {
            return Err(ProbeError::failed(error.reason, error.message.clone()));
        }
        let report = &mut phases.report;
        for operation in trial.operations {
            add_operation(report, operation);
        }
        for error in trial.errors {
            match report.errors.iter_mut().find(|e| (e.phase, e.reason) == (error.phase, error.reason)) {
                Some(known) => known.count += error.count,
                None => report.errors.push(error),
            }
        }
        if met {
            report.doubts.extend(trial.doubts);
        }
        Ok(())
    }
}

/// Adds the counts of a trial to those of the trials before. Quantiles over pools of several sizes would mean nothing.
fn add_operation(report: &mut Report, operation: Operation) {
    let operations = &mut report.operations;
    let same = |o: &&mut Operation| (o.phase, o.operation) == (operation.phase, operation.operation);
    let Some(sum) = operations.iter_mut().find(same) else {
        operations.push(Operation {
            response: without_quantiles(&operation.response),
            service: without_quantiles(&operation.service),
            ..operation
        });
        return;
    };
    sum.duration_seconds += operation.duration_seconds;
    sum.offered += operation.offered;
    sum.attempts += operation.attempts;
    sum.ok += operation.ok;
    sum.indeterminate += operation.indeterminate;
    sum.missed += operation.missed;
    for (reason, count) in operation.errors {
        *sum.errors.entry(reason).or_default() += count;
    }
    add_latency(&mut sum.response, &operation.response);
    add_latency(&mut sum.service, &operation.service);
    sum.response_buckets.add(&operation.response_buckets);
    sum.service_buckets.add(&operation.service_buckets);
}

fn without_quantiles(latency: &Latency) -> Latency {
    Latency { p50: None, p90: None, p95: None, p99: None, p999: None, ..latency.clone() }
}

fn add_latency(sum: &mut Latency, other: &Latency) {
    sum.count += other.count;
    sum.sum += other.sum;
    sum.min = sum.min.into_iter().chain(other.min).reduce(f64::min);
    sum.max = sum.max.into_iter().chain(other.max).reduce(f64::max);
    sum.mean = (sum.count > 0).then(|| sum.sum / sum.count as f64);
}

/// A trial as a moment of the timeline: what it tried, and what came of it.
pub(super) fn moment(
    phase: &'static str,
    at: Duration,
    values: BTreeMap<&'static str, f64>,
) -> TimelinePoint {
    TimelinePoint { phase, at_seconds: at.as_secs_f64(), values }
}
