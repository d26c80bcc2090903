//! What the bursts of `pool_exhaustion` show: who waited, who was refused, how long until the pool was whole again.
//!
//! Arithmetic over what was measured; nothing here talks to a server.

use std::time::Duration;

use measure::{
    latency::Recorder,
    report::{Direction, ObjectiveDef, Report, Severity, Unit},
};

use super::{BEFORE, BURSTS, Settings};
use crate::{
    probe::{
        figures,
        pools::{
            PoolResult, PoolSet,
            figures::{POOL_WAIT_P99, REJECTED_CONNECTIONS, Timeouts},
        },
    },
    verdict::human,
};

measure::metrics! {
    /// Share of a burst's requests that found no connection, or got no answer, in time.
    gauge TIMEOUT_RATIO = "redprobe_pool_exhaustion_timeout_ratio" [burst];
    /// Longest time that a request of the burst took to be answered.
    gauge WORST = "redprobe_pool_exhaustion_worst_response_seconds" [burst];
    /// From the burst's first request until its last one was answered or refused and its connection back.
    gauge RECOVERY = "redprobe_pool_exhaustion_recovery_seconds" [burst];
    /// Share of the GETs and SETs beside the burst that timed out.
    gauge BYSTANDERS = "redprobe_pool_exhaustion_bystander_timeout_ratio" [burst];
    /// Operations per second of as many workers as connections; `usage` is kept (each keeps its connection) or checkout (each takes one out for every operation).
    gauge COST = "redprobe_pool_exhaustion_operations_per_second" [usage];
}

static TIMEOUT_RATE: ObjectiveDef = ObjectiveDef {
    name: "timeout_rate",
    phrase: "the timeout rate of the bursts",
    help: "Share of the requests of all bursts that found no free connection, or got no answer, in time. Leave out of `bursts` what the application never sees.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.0,
};

static RECOVERED: ObjectiveDef = ObjectiveDef {
    name: "recovery",
    phrase: "the time until the pool is whole again",
    help: "From a burst's first request until its last one was answered or refused and its connection back, the slowest burst. More than the wait and the work of one request together means that the pool is stuck; 1 s is several times that.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Critical,
    limit: 1.0,
};

/// Every objective.
pub(super) const OBJECTIVES: &[&ObjectiveDef] =
    &[&TIMEOUT_RATE, &RECOVERED, &POOL_WAIT_P99, &REJECTED_CONNECTIONS];

/// What was seen of one burst.
pub(super) struct Burst {
    multiple: u64,
    timeouts: Timeouts,
    bystanders: Timeouts,
    worst: Option<f64>,
    recovery: f64,
    waits: Recorder,
    rejected: Option<f64>,
}

impl Burst {
    /// Out of its phase: the traffic's crew comes first, then the burst's.
    pub(super) fn of(multiple: u64, result: &PoolResult, set: &PoolSet, hold: Duration) -> Self {
        let [traffic, burst, ..] = &result.crews[..] else { unreachable!("each phase has both crews") };
        Self {
            multiple,
            timeouts: Timeouts::of(&burst.operations),
            bystanders: Timeouts::of(&traffic.operations),
            worst: burst.operations.iter().filter_map(|operation| operation.response.max).reduce(f64::max),
            recovery: (burst.duration.saturating_sub(BEFORE) + hold).as_secs_f64(),
            waits: set.account().all_waits,
            rejected: result.side.max("rejected_connections"),
        }
    }

    fn name(&self) -> &'static str {
        BURSTS[self.multiple as usize - 1]
    }
}

/// Adds measurements, observed objectives, metrics and the conclusion.
pub(super) fn add(report: &mut Report, settings: &Settings, bursts: &[Burst]) {
    for burst in bursts {
        measure_burst(report, burst);
    }
    let attempts: u64 = bursts.iter().map(|burst| burst.timeouts.attempts).sum();
    let count: u64 = bursts.iter().map(|burst| burst.timeouts.count()).sum();
    let most = |value: fn(&Burst) -> Option<f64>| bursts.iter().filter_map(value).reduce(f64::max);
    if attempts > 0 {
        report.observe(&TIMEOUT_RATE, count as f64 / attempts as f64);
    }
    let recovery = most(|burst| Some(burst.recovery));
    for (objective, value) in [
        (&RECOVERED, recovery),
        (&REJECTED_CONNECTIONS, most(|burst| burst.rejected)),
        (&POOL_WAIT_P99, wait_p99(bursts)),
    ] {
        if let Some(value) = value {
            report.observe(objective, value);
        }
    }
    let mut parts = vec![burst_sentence(settings, bursts)];
    if let Some(recovery) = recovery {
        parts.push(format!(
            "the pool was whole again within {} of a burst",
            human::value(recovery, Unit::Seconds)
        ));
    }
    parts.extend(cost(report));
    report.explains = count > 0;
    report.conclusion = human::sentence(&parts);
}

/// Of all bursts together: one alone has too few requests for it.
fn wait_p99(bursts: &[Burst]) -> Option<f64> {
    let mut waits = Recorder::default();
    bursts.iter().for_each(|burst| waits.merge(&burst.waits));
    waits.quantile(0.99).map(|wait| wait.as_secs_f64())
}

fn measure_burst(report: &mut Report, burst: &Burst) {
    let name = burst.name();
    report.measure(format!("{name}_requests"), burst.timeouts.attempts as f64, Unit::Count);
    report.measure(format!("{name}_timeouts"), burst.timeouts.count() as f64, Unit::Count);
    report.measure(format!("{name}_recovery"), burst.recovery, Unit::Seconds);
    report.measure(format!("{name}_bystander_timeout_rate"), burst.bystanders.rate(), Unit::Ratio);
    report.set_with(&TIMEOUT_RATIO, [name.into()], burst.timeouts.rate());
    report.set_with(&RECOVERY, [name.into()], burst.recovery);
    report.set_with(&BYSTANDERS, [name.into()], burst.bystanders.rate());
    if let Some(worst) = burst.worst {
        report.set_with(&WORST, [name.into()], worst);
    }
}

/// "Bursts of up to 4 times the pool (60 requests) are served; of 120 at once 50 % found no connection within 200 ms".
fn burst_sentence(settings: &Settings, bursts: &[Burst]) -> String {
    let requests = |burst: &Burst| human::count(burst.timeouts.attempts);
    let first_refused = bursts.iter().filter(|b| b.timeouts.count() > 0).min_by_key(|b| b.multiple);
    let below = |burst: &&Burst| first_refused.is_none_or(|refused| burst.multiple < refused.multiple);
    let served = bursts.iter().filter(below).max_by_key(|burst| burst.multiple);
    let mut text = match served {
        Some(burst) => format!(
            "Bursts of up to {} times the pool of {} ({} requests at once) are served, the slowest in {}",
            burst.multiple,
            settings.pool_size,
            requests(burst),
            human::seconds_or_dash(burst.worst)
        ),
        None => format!("No burst on the pool of {} is served in full", settings.pool_size),
    };
    if let Some(burst) = first_refused {
        let wait = human::value(settings.pool_timeout.0.as_secs_f64(), Unit::Seconds);
        text.push_str(&format!(
            "; of {} at once {} found no connection within {wait}",
            requests(burst),
            human::value(burst.timeouts.rate(), Unit::Ratio)
        ));
    }
    text
}

/// What a checkout for each operation costs, where both were measured.
fn cost(report: &mut Report) -> Option<String> {
    let [kept, checkout] = ["kept", "checkout"].map(|phase| figures::per_second(report, phase));
    for (usage, rate) in [("kept", kept), ("checkout", checkout)] {
        if let Some(rate) = rate {
            report.measure(format!("{usage}_per_second"), rate, Unit::OperationsPerSecond);
            report.set_with(&COST, [usage.into()], rate);
        }
    }
    let (kept, checkout) = (kept?, checkout?);
    let [kept, checkout] = [kept, checkout].map(|rate| human::value(rate, Unit::OperationsPerSecond));
    Some(format!("{checkout} with a checkout for each operation, {kept} with connections kept"))
}
