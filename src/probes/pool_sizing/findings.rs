//! What the trials of `pool_sizing` mean: the sizes, how sure they are, and the sentence.
//!
//! Arithmetic over what was measured; nothing here talks to a server.

use measure::report::{Direction, Doubt, ObjectiveDef, Report, Severity, Unit};

use super::{
    Settings,
    search::{Agreement, Finding},
    trial::{Curve, Trials},
};
use crate::{
    probe::pools::{figures::REJECTED_CONNECTIONS, remedy},
    verdict::human,
};

measure::metrics! {
    /// Connections of the smallest pool that is enough, per process; absent where none was found.
    gauge CONNECTIONS = "redprobe_pool_sizing_connections" [pool];
    /// Share of the trials at the edge, of that size and the one below, that agreed with it; absent where none was found.
    gauge AGREED = "redprobe_pool_sizing_agreed_ratio" [pool];
    /// Share of the operations that found no connection, or got no answer, in time: of the size that was found, and of the
    /// one below; `size` is smallest or below.
    gauge TIMEOUT_RATIO = "redprobe_pool_sizing_timeout_ratio" [pool, size];
    /// 99th percentile of the waits for a connection; `size` is smallest or below.
    gauge WAIT = "redprobe_pool_sizing_wait_p99_seconds" [pool, size];
    /// Trials that the search took, all pools together.
    gauge TRIALS = "redprobe_pool_sizing_trials";
}

static FOUND: ObjectiveDef = ObjectiveDef {
    name: "found",
    phrase: "the search",
    help: "1 if a smallest size was found for every pool that was searched; 0 if none up to the greatest meets the limits, or the time was up before.",
    direction: Direction::Min,
    unit: Unit::Count,
    severity: Severity::Warning,
    limit: 1.0,
};

static POOL_HEAD_ROOM: ObjectiveDef = ObjectiveDef {
    name: "pool_head_room",
    phrase: "the head-room of the pool",
    help: "Connections of the pool (`pool_size`) beyond the smallest shared one that meets the limits. Below 0 it starves.",
    direction: Direction::Min,
    unit: Unit::Count,
    severity: Severity::Warning,
    limit: 0.0,
};

/// Every objective.
pub(super) const OBJECTIVES: &[&ObjectiveDef] = &[&FOUND, &POOL_HEAD_ROOM, &REJECTED_CONNECTIONS];

/// Adds the curves, measurements, observed objectives, metrics, the conclusion and the fix. The first curve is the shared
/// pool's; those of the pair follow, if they were searched.
pub(super) fn add(report: &mut Report, settings: &Settings, curves: &[Curve], trials: &Trials) {
    report.measure("trials", trials.count as f64, Unit::Count);
    report.measure("void_trials", trials.void as f64, Unit::Count);
    report.set(&TRIALS, trials.count as f64);
    for curve in curves {
        curve.report(report, &settings.numbers());
        measure_curve(report, curve);
    }
    let sizes: Vec<Option<u64>> = curves.iter().map(smallest).collect();
    report.observe(&FOUND, f64::from(sizes.iter().all(Option::is_some)));
    if let Some(size) = sizes[0] {
        let room = settings.pool_size as f64 - size as f64;
        report.measure("pool_head_room", room, Unit::Count);
        report.observe(&POOL_HEAD_ROOM, room);
        // The size that just does not do shows what lacks; where there is none, the one that does.
        let shown = size.checked_sub(1).and_then(|below| curves[0].at(below)).or_else(|| curves[0].at(size));
        report.attribution = shown.map_or_else(Vec::new, |seen| seen.attribution.clone());
    }
    if let Some(rejected) = trials.rejected {
        report.observe(&REJECTED_CONNECTIONS, rejected);
    }
    if let [_, Some(stream), Some(general)] = sizes[..] {
        // The smallest has nothing in reserve.
        report.remedies = remedy::split(&settings.numbers(), stream, general.max(curves[2].search.start()));
    }
    if !curves.iter().all(|curve| is_sure(curve, settings)) {
        report.doubts.insert(Doubt::Unsure);
    }
    report.explains = true;
    report.conclusion = conclusion(settings, curves, report);
}

fn smallest(curve: &Curve) -> Option<u64> {
    match curve.search.finding() {
        Finding::Smallest(size) => Some(size),
        Finding::NoneUpTo(_) | Finding::Between(..) => None,
    }
}

/// Whether every trial at the edge was made, and agreed, and none elsewhere speaks against it.
fn is_sure(curve: &Curve, settings: &Settings) -> bool {
    let Agreement { agreed, trials } = curve.search.agreement();
    curve.search.next().is_none()
        && trials >= settings.repeats
        && agreed == trials
        && !curve.search.contradicts_itself()
}

fn measure_curve(report: &mut Report, curve: &Curve) {
    let name = curve.name;
    report.measure(format!("{name}_predicted"), curve.search.start() as f64, Unit::Count);
    let Agreement { agreed, trials } = curve.search.agreement();
    if trials > 0 {
        report.measure(format!("{name}_confidence"), agreed as f64 / trials as f64, Unit::Ratio);
        report.measure(format!("{name}_edge_trials"), trials as f64, Unit::Count);
    }
    let Some(size) = smallest(curve) else { return };
    report.measure(format!("{name}_size"), size as f64, Unit::Count);
    report.set_with(&CONNECTIONS, [name.into()], size as f64);
    report.set_with(&AGREED, [name.into()], agreed as f64 / trials as f64);
    for (label, seen) in [("smallest", curve.at(size)), ("below", curve.at(size - 1))] {
        let Some(seen) = seen else { continue };
        report.measure(format!("{name}_{label}_timeout_rate"), seen.failed(), Unit::Ratio);
        report.set_with(&TIMEOUT_RATIO, [name.into(), label.into()], seen.failed());
        if let Some(wait) = seen.wait_p99() {
            report.measure(format!("{name}_{label}_wait_p99"), wait, Unit::Seconds);
            report.set_with(&WAIT, [name.into(), label.into()], wait);
        }
    }
}

fn conclusion(settings: &Settings, curves: &[Curve], report: &Report) -> String {
    let each = match settings.processes {
        1 => String::new(),
        several => format!(", over {several} processes, each with pools of its own,"),
    };
    let limits = format!(
        "a timeout rate of {} and a p99 wait of {}",
        human::value(settings.max_timeout_rate, Unit::Ratio),
        human::value(settings.max_wait_p99.0.as_secs_f64(), Unit::Seconds),
    );
    let mut text = format!(
        "With {} at {}{each} {}",
        human::things(settings.readers, "reader"),
        human::value(settings.rate, Unit::OperationsPerSecond),
        shared_clause(&curves[0], &limits),
    );
    if let [_, stream, general] = curves {
        text.push_str(&split_clause(stream, general));
    }
    text.push('.');
    if let Some(short) = smallest(&curves[0]).and_then(|size| size.checked_sub(settings.pool_size + 1)) {
        let short = human::things(short + 1, "connection");
        text.push_str(&format!(" The pool of {} is {short} short.", settings.pool_size));
    }
    text.push_str(&one_less(&curves[0], report));
    text.push_str(&sureness(settings, curves));
    text
}

/// Where the time goes with one connection less than are enough.
fn one_less(shared: &Curve, report: &Report) -> String {
    let below = smallest(shared).map(|size| size - 1).filter(|size| shared.at(*size).is_some());
    let Some((below, share)) = below.zip(report.attribution.first()) else { return String::new() };
    let parts = [
        ("pool wait", share.pool_wait),
        ("the check of its connection", share.recycle),
        ("network", share.network),
        ("the server's", share.server),
        ("redprobe's own delay", share.client),
        ("of unknown use", share.unattributed),
    ];
    let Some((part, most)) = parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return String::new();
    };
    let (most, operation) = (human::value(most, Unit::Ratio), share.operation.to_ascii_uppercase());
    format!(" With {below} {most} of each {operation}'s time is {part}.")
}

fn shared_clause(curve: &Curve, limits: &str) -> String {
    match curve.search.finding() {
        Finding::Smallest(size) => format!("the smallest shared pool that meets {limits} is {size}"),
        Finding::NoneUpTo(limit) => {
            let why = if curve.bound_by_target {
                "the target's max_connections allows no more"
            } else {
                "more than that nobody would ask for"
            };
            format!("no shared pool up to {limit} meets {limits} ({why})")
        }
        Finding::Between(fails, meets) => {
            format!(
                "the smallest shared pool that meets {limits} was not found in time: {}",
                between(fails, meets)
            )
        }
    }
}

fn between(fails: Option<u64>, meets: Option<u64>) -> String {
    match (fails, meets) {
        (Some(fails), Some(meets)) => format!("more than {fails}, at most {meets}"),
        (Some(fails), None) => format!("more than {fails}"),
        (None, Some(meets)) => format!("at most {meets}"),
        (None, None) => "nothing was tried".to_owned(),
    }
}

fn split_clause(stream: &Curve, general: &Curve) -> String {
    if let (Some(streams), Some(rest)) = (smallest(stream), smallest(general)) {
        let easy = general.search.start();
        let reserve = if easy > rest { format!(" (with {easy} hardly one waits)") } else { String::new() };
        return format!("; split, {streams} for streams and {rest} for the rest{reserve}");
    }
    let part = |curve: &Curve| match curve.search.finding() {
        Finding::Smallest(size) => size.to_string(),
        Finding::NoneUpTo(limit) => format!("none up to {limit}"),
        Finding::Between(fails, meets) => format!("not found in time, {}", between(fails, meets)),
    };
    format!("; split, for streams {}, and for the rest {}", part(stream), part(general))
}

/// How sure the sizes are.
fn sureness(settings: &Settings, curves: &[Curve]) -> String {
    let sum = curves
        .iter()
        .map(|curve| curve.search.agreement())
        .fold((0, 0), |sum, one| (sum.0 + one.agreed, sum.1 + one.trials));
    let mut text = match sum {
        (_, 0) => String::new(),
        (agreed, trials) if agreed == trials => format!(" All {trials} trials at the edge agreed"),
        (agreed, trials) => format!(" {agreed} of {trials} trials at the edge agreed"),
    };
    let rushed = |curve: &&Curve| curve.search.agreement().trials > 0 && curve.search.next().is_some();
    if curves.iter().any(|curve| rushed(&curve)) {
        text.push_str(&format!("; the time was too short for {} of each size", settings.repeats));
    }
    if curves.iter().any(|curve| curve.search.contradicts_itself()) {
        text.push_str("; a smaller pool did better than a larger one, so something else disturbed them");
    }
    if !text.is_empty() {
        text.push('.');
    }
    text
}
