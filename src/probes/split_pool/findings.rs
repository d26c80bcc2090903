//! What the two phases of `split_pool` show: verified only if the shared pool starved and the split ones did not.
//!
//! Arithmetic over what was measured; nothing here talks to a server.

use std::time::Duration;

use measure::{
    pool::Account,
    report::{Direction, ObjectiveDef, Report, Severity, Unit},
};

use super::{SHARED, SPLIT, Settings};
use crate::{
    probe::pools::{
        PoolResult, PoolSet,
        figures::{
            POOL_UTILISATION, POOL_WAIT_P99, REJECTED_CONNECTIONS, Timeouts, connections_needed, hold,
        },
        remedy,
    },
    verdict::human,
};

measure::metrics! {
    /// Share of the phase's GETs and SETs that found no connection, or got no answer, in time.
    gauge TIMEOUT_RATIO = "redprobe_split_pool_timeout_ratio" [phase];
    /// 99th percentile of the waits for a connection of the pool that serves GET and SET.
    gauge WAIT = "redprobe_split_pool_wait_p99_seconds" [phase];
    /// Share of the pool's connections that were on loan, on average.
    gauge UTILISATION = "redprobe_split_pool_utilisation_ratio" [pool];
    /// Clients of the server that were blocked, at the most; anybody's.
    gauge BLOCKED_CLIENTS = "redprobe_split_pool_blocked_clients" [phase];
    /// 1 if the shared pool starved and no GET timed out once it was split, else 0.
    gauge VERIFIED_RATIO = "redprobe_split_pool_verified_ratio";
}

static TIMEOUT_RATE: ObjectiveDef = ObjectiveDef {
    name: "timeout_rate",
    phrase: "the timeout rate with split pools",
    help: "Share of the attempted GETs and SETs that found no free connection, or got no answer, in time, once blocking reads have a pool of their own. What a shared pool does is not judged here.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 0.0,
};

static VERIFIED: ObjectiveDef = ObjectiveDef {
    name: "verified",
    phrase: "the fix",
    help: "1 if the shared pool starved and no GET timed out once it was split; 0 if either was not shown.",
    direction: Direction::Min,
    unit: Unit::Count,
    severity: Severity::Info,
    limit: 1.0,
};

/// Every objective.
pub(super) const OBJECTIVES: &[&ObjectiveDef] =
    &[&TIMEOUT_RATE, &VERIFIED, &POOL_WAIT_P99, &POOL_UTILISATION, &REJECTED_CONNECTIONS];

/// What was seen of one phase.
struct Phase {
    all: Timeouts,
    gets: Timeouts,
    /// Of the pool that serves GET and SET.
    account: Account,
    utilisation: Vec<(&'static str, f64)>,
    hold: Option<Duration>,
    blocked_clients: Option<f64>,
    rejected: Option<f64>,
}

/// What was seen of the phases that ran.
#[derive(Default)]
pub(super) struct Seen {
    shared: Option<Phase>,
    split: Option<Phase>,
}

impl Seen {
    /// Takes in a phase: all its pools by name, and the one that served GET and SET.
    pub(super) fn take(
        &mut self,
        phase: &str,
        result: &PoolResult,
        pools: &[(&'static str, &PoolSet)],
        serving: &PoolSet,
    ) {
        let traffic = &result.crews[0];
        let seen = Phase {
            all: Timeouts::of(&traffic.operations),
            gets: Timeouts::of_gets(traffic),
            account: serving.account(),
            utilisation: pools.iter().map(|(name, set)| (*name, set.utilisation(result.lasted()))).collect(),
            hold: result.parts.get("get").and_then(hold),
            blocked_clients: result.side.max("blocked_clients"),
            rejected: result.side.max("rejected_connections"),
        };
        let place = if phase == SHARED { &mut self.shared } else { &mut self.split };
        *place = Some(seen);
    }
}

/// Adds measurements, observed objectives, metrics, the conclusion and the fix.
pub(super) fn add(report: &mut Report, settings: &Settings, seen: &Seen) {
    for (name, phase) in [(SHARED, &seen.shared), (SPLIT, &seen.split)] {
        if let Some(phase) = phase {
            measure_phase(report, name, phase);
        }
    }
    if let Some(split) = &seen.split {
        report.observe(&TIMEOUT_RATE, split.all.rate());
        report.observe_if(&POOL_WAIT_P99, p99(split));
        let fullest = split.utilisation.iter().map(|(_, utilisation)| *utilisation).fold(0.0, f64::max);
        report.observe(&POOL_UTILISATION, fullest);
    }
    let rejected = [&seen.shared, &seen.split].into_iter().flatten().filter_map(|phase| phase.rejected);
    if let Some(rejected) = rejected.reduce(f64::max) {
        report.observe(&REJECTED_CONNECTIONS, rejected);
    }
    if let (Some(shared), Some(split)) = (&seen.shared, &seen.split) {
        let verified = is_verified(shared, split);
        report.observe(&VERIFIED, f64::from(verified));
        report.set(&VERIFIED_RATIO, f64::from(verified));
    }
    if seen.shared.as_ref().is_some_and(|shared| shared.all.no_connection > 0) {
        report.remedies =
            remedy::split(&settings.numbers(), settings.stream_pool_size, settings.general_pool_size);
    }
    report.explains = true;
    report.conclusion = conclusion(settings, seen);
}

fn is_verified(shared: &Phase, split: &Phase) -> bool {
    shared.gets.no_connection > 0 && split.gets.count() == 0 && split.gets.attempts > 0
}

fn p99(phase: &Phase) -> Option<f64> {
    phase.account.all_waits.quantile(0.99).map(|wait| wait.as_secs_f64())
}

fn measure_phase(report: &mut Report, name: &'static str, phase: &Phase) {
    report.measure(format!("{name}_timeouts"), phase.all.count() as f64, Unit::Count);
    report.measure(format!("{name}_timeout_rate"), phase.all.rate(), Unit::Ratio);
    report.measure(format!("{name}_get_timeouts"), phase.gets.count() as f64, Unit::Count);
    report.measure(format!("{name}_pool_wait_failures"), phase.account.wait_failures as f64, Unit::Count);
    report.set_with(&TIMEOUT_RATIO, [name.into()], phase.all.rate());
    if let Some(wait) = p99(phase) {
        report.set_with(&WAIT, [name.into()], wait);
    }
    if let Some(blocked) = phase.blocked_clients {
        report.set_with(&BLOCKED_CLIENTS, [name.into()], blocked);
    }
    for (pool, utilisation) in &phase.utilisation {
        report.measure(format!("{pool}_pool_utilisation"), *utilisation, Unit::Ratio);
        report.set_with(&UTILISATION, [(*pool).into()], *utilisation);
    }
}

fn conclusion(settings: &Settings, seen: &Seen) -> String {
    let readers = human::things(settings.readers, "blocking reader");
    let rate = human::value(settings.rate, Unit::OperationsPerSecond);
    let of = |timeouts: Timeouts| {
        format!("{} of {} GETs timed out", human::count(timeouts.count()), human::count(timeouts.attempts))
    };
    let pools = format!(
        "a pool of {} for them and one of {} for the rest",
        settings.stream_pool_size, settings.general_pool_size
    );
    match (&seen.shared, &seen.split) {
        (Some(shared), Some(split)) if is_verified(shared, split) => {
            let wait = human::seconds_or_dash(p99(split));
            let enough = split.hold.map_or_else(String::new, |hold| {
                let general = connections_needed(settings.rate / settings.processes as f64, hold);
                format!("; {} and {general} would do", settings.readers.div_ceil(settings.processes))
            });
            format!(
                "The split pools fix it: beside {readers} at {rate}, {} on the shared pool of {}, and none of {} with {pools} \
                 (p99 of the wait {wait}){enough}.",
                of(shared.gets),
                settings.pool_size,
                human::count(split.gets.attempts),
            )
        }
        (Some(shared), Some(split)) if split.gets.count() > 0 => format!(
            "The split pools do not fix it: beside {readers} at {rate}, {} on the shared pool of {}, and {} with {pools}.",
            of(shared.gets),
            settings.pool_size,
            of(split.gets),
        ),
        (Some(_), Some(_)) => format!(
            "There was nothing to fix: the shared pool of {} carries {readers} and {rate}. No GET timed out with {pools} \
             either, which shows that they do no harm, not that they help.",
            settings.pool_size,
        ),
        (Some(shared), None) => format!(
            "The fix was not tried: only the shared pool of {} ran, where beside {readers} {}.",
            settings.pool_size,
            of(shared.gets)
        ),
        (None, Some(split)) => format!(
            "The need was not shown: only the split pools ran, where beside {readers} {}.",
            of(split.gets)
        ),
        (None, None) => String::new(),
    }
}
