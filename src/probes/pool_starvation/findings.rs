//! What the run of `pool_starvation` means: objectives, metrics, the sentence, and the fix.
//!
//! Arithmetic over a report; nothing here talks to a server.

use std::time::Duration;

use measure::report::{ObjectiveDef, Report, Unit};

use crate::{
    probe::pools::{
        Numbers, PoolResult, PoolSet,
        figures::{
            BLOCKED_SHARE, POOL_UTILISATION, POOL_WAIT_P99, REJECTED_CONNECTIONS, TIMEOUT_RATE, Timeouts,
            connections_needed, hold, round_trip,
        },
        remedy,
    },
    verdict::human,
};

measure::metrics! {
    /// Share of the last run's GETs and SETs that found no connection, or got no answer, in time.
    gauge TIMEOUT_RATIO = "redprobe_pool_starvation_timeout_ratio";
    /// From the first reader's first request to the first GET or SET that failed; absent where none did.
    gauge FIRST_FAILURE = "redprobe_pool_starvation_first_failure_seconds";
    /// Share of the pool's connections that were on loan, on average.
    gauge UTILISATION = "redprobe_pool_starvation_utilisation_ratio";
    /// Share of the pool's connections that blocking reads held, on average.
    gauge BLOCKED = "redprobe_pool_starvation_blocked_share_ratio";
    /// Clients of the server that were blocked, at the most; anybody's.
    gauge BLOCKED_CLIENTS = "redprobe_pool_starvation_blocked_clients";
    /// Clients of the server, at the most; anybody's.
    gauge CONNECTED_CLIENTS = "redprobe_pool_starvation_connected_clients";
    /// Mean round trip of a GET that got a connection: what Redis and the network take.
    gauge ROUND_TRIP = "redprobe_pool_starvation_round_trip_seconds";
    /// Share of the mean time of an operation, by where it went; all parts together are 1.
    gauge TIME_SHARE = "redprobe_pool_starvation_time_share_ratio" [operation, part];
}

/// Every objective.
pub(super) const OBJECTIVES: &[&ObjectiveDef] =
    &[&TIMEOUT_RATE, &POOL_WAIT_P99, &POOL_UTILISATION, &BLOCKED_SHARE, &REJECTED_CONNECTIONS];

/// Adds measurements, observed objectives, metrics, the conclusion and the fix.
pub(super) fn add(report: &mut Report, numbers: &Numbers, set: &PoolSet, result: &PoolResult) {
    let timeouts = Timeouts::of(&result.crews[0].operations);
    let gets = Timeouts::of_gets(&result.crews[0]);
    let account = set.account();
    report.measure("timeouts", timeouts.count() as f64, Unit::Count);
    report.measure("timeout_rate", timeouts.rate(), Unit::Ratio);
    report.measure("get_timeouts", gets.count() as f64, Unit::Count);
    report.measure("pool_wait_failures", account.wait_failures as f64, Unit::Count);
    report.set(&TIMEOUT_RATIO, timeouts.rate());
    report.observe(&TIMEOUT_RATE, timeouts.rate());
    let wait = account.all_waits.quantile(0.99).map(|wait| wait.as_secs_f64());
    report.observe_if(&POOL_WAIT_P99, wait);
    if let Some(first) = result.until_first_failure {
        report.measure("first_failure", first.as_secs_f64(), Unit::Seconds);
        report.set(&FIRST_FAILURE, first.as_secs_f64());
    }
    fullness(report, numbers, set, result);
    clients(report, result);
    let answer = result.parts.get("get").and_then(round_trip);
    if let Some(answer) = answer {
        report.measure("get_round_trip", answer.as_secs_f64(), Unit::Seconds);
        report.set(&ROUND_TRIP, answer.as_secs_f64());
    }
    time_shares(report);
    let needed = result
        .parts
        .get("get")
        .and_then(hold)
        .map(|hold| connections_needed(numbers.rate / numbers.processes as f64, hold));
    if let Some(needed) = needed {
        report.measure("general_pool_needed", needed as f64, Unit::Count);
    }
    let starved = timeouts.no_connection > 0;
    report.explains = starved;
    if starved {
        let streams = numbers.readers.div_ceil(numbers.processes);
        report.remedies = remedy::split(numbers, streams, needed.unwrap_or(numbers.pool_size));
    }
    report.conclusion = if starved {
        starved_sentence(report, numbers, timeouts, needed)
    } else {
        healthy_sentence(numbers, timeouts, wait, answer)
    };
}

fn fullness(report: &mut Report, numbers: &Numbers, set: &PoolSet, result: &PoolResult) {
    let lasted = result.lasted();
    let utilisation = set.utilisation(lasted);
    report.measure("pool_utilisation", utilisation, Unit::Ratio);
    report.observe(&POOL_UTILISATION, utilisation);
    report.set(&UTILISATION, utilisation);
    let blocked = result.blocked_share(numbers.reader, set);
    report.measure("blocked_share", blocked, Unit::Ratio);
    report.observe(&BLOCKED_SHARE, blocked);
    report.set(&BLOCKED, blocked);
}

fn clients(report: &mut Report, result: &PoolResult) {
    let side = &result.side;
    for (def, value) in
        [(&BLOCKED_CLIENTS, side.max("blocked_clients")), (&CONNECTED_CLIENTS, side.max("connected_clients"))]
    {
        if let Some(value) = value {
            report.set(def, value);
        }
    }
    if let Some(rejected) = side.max("rejected_connections") {
        report.observe(&REJECTED_CONNECTIONS, rejected);
    }
}

fn time_shares(report: &mut Report) {
    for share in report.attribution.clone() {
        for (part, value) in share.parts() {
            report.set_with(&TIME_SHARE, [share.operation.into(), part.into()], value);
        }
    }
}

fn starved_sentence(report: &Report, numbers: &Numbers, timeouts: Timeouts, needed: Option<u64>) -> String {
    let ratio = |share| human::value(share, Unit::Ratio);
    let wait = report.attribution.first().map_or(0.0, |share| share.pool_wait);
    let answered = report.measurements.get("get_round_trip").map_or_else(
        || "no GET got as far as Redis".to_owned(),
        |trip| format!("Redis answered in {}", human::value(trip.value, Unit::Seconds)),
    );
    let first = report.measurements.get("first_failure").map_or_else(String::new, |first| {
        format!(", the first after {}", human::value(first.value, Unit::Seconds))
    });
    let general = needed.map_or_else(String::new, |needed| {
        format!(
            ": with {} at {} the general pool needs {needed}",
            human::things(numbers.readers, "reader"),
            human::value(numbers.rate, Unit::OperationsPerSecond)
        )
    });
    format!(
        "{} starved by {}: {} of each GET's time is pool wait; {answered}. {} of {} operations timed out ({}){first}. Split \
         blocking reads onto their own pool{general}.",
        pool_of(numbers),
        human::things(numbers.readers, "blocking reader"),
        ratio(wait),
        human::count(timeouts.count()),
        human::count(timeouts.attempts),
        ratio(timeouts.rate()),
    )
}

fn healthy_sentence(
    numbers: &Numbers,
    timeouts: Timeouts,
    wait: Option<f64>,
    answer: Option<Duration>,
) -> String {
    let seconds = |time: Option<f64>| human::seconds_or_dash(time);
    let answers = if timeouts.no_answer > 0 {
        format!("; {} got no answer in time", human::things(timeouts.no_answer, "operation"))
    } else {
        String::new()
    };
    format!(
        "{} carries {} and {}: no operation went without a connection, p99 of the wait {}; Redis answered in {}{answers}.",
        pool_of(numbers),
        human::things(numbers.readers, "blocking reader"),
        human::value(numbers.rate, Unit::OperationsPerSecond),
        seconds(wait),
        seconds(answer.map(|answer| answer.as_secs_f64())),
    )
}

fn pool_of(numbers: &Numbers) -> String {
    match numbers.processes {
        1 => format!("Pool of {}", numbers.pool_size),
        several => format!("Each of {several} pools of {}", numbers.pool_size),
    }
}
