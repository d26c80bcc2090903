//! What a run of `mixed_workload` means: its figures, the sentence, and the fix.
//!
//! Objectives and metrics are declared in `figures`. Arithmetic over what was measured; nothing here talks to a server.

use measure::{
    pool::Parts,
    report::{Report, ReportedError, Unit},
};

use super::{
    PHASE, Settings,
    delivery::{Cut, Outcome, Tally},
    figures::{
        CUTS, DELIVERY, DELIVERY_P99, ENTRIES_DUPLICATED, ENTRIES_LOST, ENTRIES_OUT_OF_ORDER, FAULTS,
        READS_CUT_OFF, STOP_CHECK_TIMEOUTS, STOP_TIMEOUTS, TIME_SHARE, TIMEOUT_RATE, TIMEOUT_RATIO,
        UTILISATION, WAIT, WRITTEN,
    },
};
use crate::{
    probe::pools::{
        PoolResult, PoolSet,
        figures::{
            BLOCKED_SHARE, POOL_UTILISATION, POOL_WAIT_P99, REJECTED_CONNECTIONS, Timeouts,
            connections_needed, hold,
        },
        remedy,
    },
    verdict::human,
};

/// Readers that are named one by one.
const NAMED: usize = 10;

/// What was seen of a run.
pub(super) struct Seen<'a> {
    pub(super) result: &'a PoolResult,
    pub(super) set: &'a PoolSet,
    pub(super) outcome: &'a Outcome,
    /// Whether all that is in the streams was looked at.
    pub(super) complete: bool,
}

impl Seen<'_> {
    /// Of one kind of operation, or of all that do not block.
    fn timeouts(&self, kind: Option<&str>) -> Timeouts {
        let all = self.result.crews.iter().flat_map(|crew| &crew.operations);
        Timeouts::of(all.filter(|operation| match kind {
            Some(kind) => operation.operation == kind,
            None => ["stop_check", "xadd", "get", "set"].contains(&operation.operation),
        }))
    }

    /// Connections that all but the readers need, per process.
    fn needed(&self, settings: &Settings) -> Option<u64> {
        let mut all = Parts::default();
        for kind in ["stop_check", "xadd", "get", "set"] {
            all.add(self.result.parts.get(kind).copied().unwrap_or_default());
        }
        let rate = settings.rate_beside_readers() / settings.processes as f64;
        hold(&all).map(|hold| connections_needed(rate, hold))
    }
}

/// Adds measurements, observed objectives, metrics, the conclusion and the fix.
pub(super) fn add(report: &mut Report, settings: &Settings, seen: &Seen<'_>) {
    let (stops, all) = (seen.timeouts(Some("stop_check")), seen.timeouts(None));
    report.observe(&STOP_CHECK_TIMEOUTS, stops.count() as f64);
    report.set(&STOP_TIMEOUTS, stops.count() as f64);
    report.observe(&TIMEOUT_RATE, all.rate());
    report.measure("stop_checks", stops.attempts as f64, Unit::Count);
    report.measure("stop_check_timeouts", stops.count() as f64, Unit::Count);
    report.measure("timeouts", all.count() as f64, Unit::Count);
    report.measure("timeout_rate", all.rate(), Unit::Ratio);
    for kind in ["stop_check", "xadd", "get", "set", settings.reader.name()] {
        report.set_with(&TIMEOUT_RATIO, [kind.into()], seen.timeouts(Some(kind)).rate());
    }
    entries(report, seen);
    cuts(report, seen.outcome);
    let blocked = fullness(report, settings, seen);
    time_shares(report);
    let needed = seen.needed(settings);
    if let Some(needed) = needed {
        report.measure("general_pool_needed", needed as f64, Unit::Count);
    }
    let starved = is_starved(all, blocked);
    if starved {
        let streams = settings.readers.div_ceil(settings.processes);
        report.remedies = remedy::split(&settings.numbers(), streams, needed.unwrap_or(settings.pool_size));
    }
    let faults = entry_faults(seen.outcome.total());
    report.explains = all.count() > 0 || faults.is_some();
    let mut parts = vec![match (stops.count(), all.count()) {
        (0, 0) => carried(settings, stops),
        (0, _) => format!("{}; no stop check did", timed_out(settings, seen, all)),
        _ => format!(
            "Stop checks timed out {} of {} times: graceful shutdown would fail; {}",
            human::count(stops.count()),
            human::count(stops.attempts),
            timed_out(settings, seen, all),
        ),
    }];
    if all.count() > 0 {
        parts.push(advice(report, settings, starved, needed));
    }
    parts.extend(faults.or_else(|| in_order(seen)));
    parts.extend(cuts_in_words(seen.outcome));
    report.conclusion = human::sentence(&parts);
}

fn entries(report: &mut Report, seen: &Seen<'_>) {
    let Tally { read, lost, duplicated, out_of_order, late } = seen.outcome.total();
    report.measure("entries_written", seen.outcome.written as f64, Unit::Count);
    report.measure("entries_read", read as f64, Unit::Count);
    report.measure("entries_late", late as f64, Unit::Count);
    report.set(&WRITTEN, seen.outcome.written as f64);
    // What was looked at in part only can show that something is wrong, but not that nothing is.
    let known = seen.complete && seen.outcome.written > 0 && !seen.outcome.readers.is_empty();
    for (def, name, fault, count) in [
        (&ENTRIES_LOST, "entries_lost", "lost", lost),
        (&ENTRIES_OUT_OF_ORDER, "entries_out_of_order", "out_of_order", out_of_order),
        (&ENTRIES_DUPLICATED, "entries_duplicated", "duplicated", duplicated),
    ] {
        let certain = known || (count > 0 && fault != "lost");
        if certain {
            report.measure(name, count as f64, Unit::Count);
            report.observe(def, count as f64);
            report.set_with(&FAULTS, [fault.into()], count as f64);
        }
    }
    let way = seen.outcome.delays.summary();
    for (name, label, delay) in
        [("delivery_p50", "0.5", way.p50), ("delivery_p99", "0.99", way.p99), ("delivery_max", "1", way.max)]
    {
        let Some(delay) = delay else { continue };
        report.measure(name, delay, Unit::Seconds);
        report.set_with(&DELIVERY, [label.into()], delay);
    }
    report.observe_if(&DELIVERY_P99, seen.outcome.delays.summary().p99);
}

fn cuts(report: &mut Report, outcome: &Outcome) {
    let count = outcome.cuts.len() as f64;
    report.measure("reads_cut_off", count, Unit::Count);
    report.observe(&READS_CUT_OFF, count);
    report.set(&CUTS, count);
    let caught_up: u64 = outcome.cuts.iter().map(|cut| cut.caught_up).sum();
    report.measure("entries_caught_up", caught_up as f64, Unit::Count);
    for cut in outcome.cuts.iter().take(NAMED) {
        report.errors.push(ReportedError {
            phase: PHASE,
            reason: cut.failure.reason,
            message: format!(
                "reader {} was cut off ({}); {} waited for it after its last one",
                cut.reader,
                cut.failure.message,
                entries_of(cut.caught_up)
            ),
            count: 1,
        });
    }
}

/// Whether readers keep the pool from the others; connections can also be out because the server does not answer.
fn is_starved(all: Timeouts, blocked_share: f64) -> bool {
    all.no_connection > 0 && (all.no_answer == 0 || blocked_share > BLOCKED_SHARE.limit)
}

/// Returns the share of the pool that blocking reads held.
fn fullness(report: &mut Report, settings: &Settings, seen: &Seen<'_>) -> f64 {
    let Seen { result, set, .. } = seen;
    let (lasted, account) = (result.lasted(), set.account());
    report.measure("pool_wait_failures", account.wait_failures as f64, Unit::Count);
    if let Some(wait) = account.all_waits.quantile(0.99) {
        report.observe(&POOL_WAIT_P99, wait.as_secs_f64());
        report.set(&WAIT, wait.as_secs_f64());
    }
    let utilisation = set.utilisation(lasted);
    report.measure("pool_utilisation", utilisation, Unit::Ratio);
    report.observe(&POOL_UTILISATION, utilisation);
    report.set(&UTILISATION, utilisation);
    let blocked = result.blocked_share(settings.reader, set);
    report.measure("blocked_share", blocked, Unit::Ratio);
    report.observe(&BLOCKED_SHARE, blocked);
    report.observe_if(&REJECTED_CONNECTIONS, result.side.max("rejected_connections"));
    blocked
}

fn time_shares(report: &mut Report) {
    for share in report.attribution.clone() {
        for (part, value) in share.parts() {
            report.set_with(&TIME_SHARE, [share.operation.into(), part.into()], value);
        }
    }
}

/// "412 of 2,900 operations timed out on the pool of 15 that 10 agents, 30 readers and 200 ops/s share".
fn timed_out(settings: &Settings, seen: &Seen<'_>, all: Timeouts) -> String {
    let kinds = ["get", "set", "xadd"].into_iter().filter_map(|kind| {
        let count = seen.timeouts(Some(kind)).count();
        (count > 0).then(|| format!("{} {}", human::count(count), kind.to_ascii_uppercase()))
    });
    let kinds: Vec<_> = kinds.collect();
    let which = if kinds.is_empty() { String::new() } else { format!(", among them {}", kinds.join(", ")) };
    format!(
        "{} of {} operations timed out{which}, on {} that {} share",
        human::count(all.count()),
        human::count(all.attempts),
        pool_of(settings),
        everybody(settings),
    )
}

fn carried(settings: &Settings, stops: Timeouts) -> String {
    let pool = pool_of(settings);
    format!(
        "{} carries {}: nothing timed out, no stop check of {}",
        pool[..1].to_ascii_uppercase() + &pool[1..],
        everybody(settings),
        human::count(stops.attempts)
    )
}

fn everybody(settings: &Settings) -> String {
    format!(
        "{}, {} and {}",
        human::things(settings.agents, "agent"),
        human::things(settings.readers, "blocking reader"),
        human::value(settings.rate, Unit::OperationsPerSecond)
    )
}

fn pool_of(settings: &Settings) -> String {
    match settings.processes {
        1 => format!("the pool of {}", settings.pool_size),
        several => format!("each of {several} pools of {}", settings.pool_size),
    }
}

/// What went wrong with entries, where anything did.
fn entry_faults(total: Tally) -> Option<String> {
    let faults = [(total.lost, "lost"), (total.duplicated, "twice"), (total.out_of_order, "out of order")];
    let faults = faults.into_iter().filter(|(count, _)| *count > 0);
    let faults: Vec<_> = faults.map(|(count, fault)| format!("{} {fault}", entries_of(count))).collect();
    (!faults.is_empty()).then(|| format!("readers saw {}", faults.join(", ")))
}

fn in_order(seen: &Seen<'_>) -> Option<String> {
    let read = seen.outcome.total().read;
    let way = seen.outcome.delays.summary();
    let after = match way.p99 {
        Some(p99) => format!("p99 after {}", human::value(p99, Unit::Seconds)),
        None => format!("the slowest after {}", human::seconds_or_dash(way.max)),
    };
    (seen.complete && read > 0).then(|| {
        let written = entries_of(seen.outcome.written);
        format!("{written} came to every reader in order, {}, {after}", reads_of(read))
    })
}

fn cuts_in_words(outcome: &Outcome) -> Option<String> {
    let Cut { reader, failure, .. } = outcome.cuts.first()?;
    let caught_up: u64 = outcome.cuts.iter().map(|cut| cut.caught_up).sum();
    let who = match outcome.cuts.len() {
        1 => format!("reader {reader} was"),
        several => format!("readers were {several} times"),
    };
    Some(format!(
        "{who} cut off ({}) and went on from the last id, after which {} waited",
        failure.reason,
        entries_of(caught_up)
    ))
}

/// What to do, by where the time of a stop check went.
fn advice(report: &Report, settings: &Settings, starved: bool, needed: Option<u64>) -> String {
    let stop_check = report.attribution.iter().find(|share| share.operation == "stop_check");
    let dominant = stop_check.and_then(|share| share.parts().into_iter().max_by(|a, b| a.1.total_cmp(&b.1)));
    let went = dominant.map_or_else(String::new, |(part, share)| {
        format!("{} of a stop check's time is {}: ", human::value(share, Unit::Ratio), part.replace('_', " "))
    });
    if !starved {
        return format!("{went}answers did not come in time; look at the server and the way to it");
    }
    let general = needed.map_or_else(String::new, |needed| {
        let readers = human::things(settings.readers.div_ceil(settings.processes), "reader");
        format!(": {readers} there, and {needed} for the rest")
    });
    format!("{went}split blocking reads onto their own pool{general}")
}

fn reads_of(count: u64) -> String {
    let times = if count == 1 { "delivery" } else { "deliveries" };
    format!("{} {times}", human::count(count))
}

fn entries_of(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        more => format!("{} entries", human::count(more)),
    }
}

/// For the log: each reader to which anything happened.
pub(super) fn readers_in_words(outcome: &Outcome) -> Vec<String> {
    let odd = outcome
        .readers
        .iter()
        .enumerate()
        .filter(|(_, tally)| tally.lost + tally.duplicated + tally.out_of_order + tally.late > 0);
    let line = |(reader, tally): (usize, &Tally)| {
        let Tally { read, lost, duplicated, out_of_order, late } = tally;
        format!(
            "reader {reader}: {read} read, {lost} lost, {duplicated} twice, {out_of_order} out of order, {late} late"
        )
    };
    odd.take(NAMED).map(line).collect()
}
