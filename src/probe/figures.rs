//! Figures over the operations of a report, and what probes of load conclude from them.
//!
//! Arithmetic over data that is already there. What a figure should be is each probe's own objective; how the load ran
//! belongs to `phases`.

use measure::{
    Reason,
    report::{Direction, ObjectiveDef, Operation, Report, Severity, Unit},
};

use crate::verdict::human;

/// The objective of every probe that puts load on a server.
pub static ERROR_RATIO: ObjectiveDef = ObjectiveDef {
    name: "error_ratio",
    phrase: "the error ratio",
    help: "Failed share of all attempts, every phase together. A healthy server fails none.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 0.0,
};

/// Failed share of all attempts of a report; `None` where nothing was attempted.
#[must_use]
pub fn error_ratio(report: &Report) -> Option<f64> {
    let attempts: u64 = report.operations.iter().map(|operation| operation.attempts).sum();
    let ok: u64 = report.operations.iter().map(|operation| operation.ok).sum();
    (attempts > 0).then(|| (attempts - ok) as f64 / attempts as f64)
}

/// The worst failing operation in words: "no SET of 1,000 succeeded in basic (oom)". `None` where all went well.
#[must_use]
pub fn worst_failure(report: &Report) -> Option<String> {
    let worst = report
        .operations
        .iter()
        .filter(|operation| operation.ok < operation.attempts)
        .max_by(|a, b| a.error_ratio().total_cmp(&b.error_ratio()).then(a.attempts.cmp(&b.attempts)))?;
    let reason =
        worst.errors.iter().max_by_key(|(_, count)| **count).map_or(Reason::Other, |(reason, _)| *reason);
    let name = worst.operation.to_ascii_uppercase();
    let (attempts, phase) = (human::count(worst.attempts), worst.phase);
    Some(if worst.ok == 0 {
        format!("no {name} of {attempts} succeeded in {phase} ({reason})")
    } else {
        let share = human::value(worst.error_ratio(), Unit::Ratio);
        format!("{share} of {attempts} {name} failed in {phase} ({reason})")
    })
}

/// Successful operations per second of a phase, all its operations together; `None` where it did not run.
#[must_use]
pub fn per_second(report: &Report, phase: &str) -> Option<f64> {
    in_phase(report, phase).map(Operation::per_second).reduce(|a, b| a + b)
}

/// Successes over offered operations of a phase; `None` where it did not run.
#[must_use]
pub fn achieved_ratio(report: &Report, phase: &str) -> Option<f64> {
    let offered: u64 = in_phase(report, phase).map(|operation| operation.offered).sum();
    let ok: u64 = in_phase(report, phase).map(|operation| operation.ok).sum();
    (offered > 0).then(|| ok as f64 / offered as f64)
}

/// Mean response time over all successes of a phase.
#[must_use]
pub fn mean_response(report: &Report, phase: &str) -> Option<f64> {
    let count: u64 = in_phase(report, phase).map(|operation| operation.response.count).sum();
    let sum: f64 = in_phase(report, phase).map(|operation| operation.response.sum).sum();
    (count > 0).then(|| sum / count as f64)
}

/// The quantile of the phase's slowest operation. `None` where an operation has too few samples for it, or the phase
/// did not run: the slowest could be that one.
#[must_use]
pub fn slowest_quantile(report: &Report, phase: &str, quantile: &str) -> Option<f64> {
    let mut slowest = None;
    for operation in in_phase(report, phase).filter(|operation| operation.attempts > 0) {
        slowest = Some(operation.response.quantile(quantile)?.max(slowest.unwrap_or_default()));
    }
    slowest
}

/// Whether a phase ran.
#[must_use]
pub fn ran(report: &Report, phase: &str) -> bool {
    in_phase(report, phase).next().is_some()
}

fn in_phase<'r>(report: &'r Report, phase: &str) -> impl Iterator<Item = &'r Operation> {
    report.operations.iter().filter(move |operation| operation.phase == phase)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use measure::{latency::Recorder, report::LoopKind};

    use super::*;

    fn operation(
        phase: &'static str,
        operation: &'static str,
        millis: &[u64],
        errors: &[(Reason, u64)],
    ) -> Operation {
        let mut recorder = Recorder::default();
        millis.iter().for_each(|millis| recorder.record(Duration::from_millis(*millis)));
        let ok = millis.len() as u64;
        let attempts = ok + errors.iter().map(|(_, count)| count).sum::<u64>();
        Operation {
            phase,
            operation,
            loop_kind: LoopKind::Open,
            duration_seconds: 2.0,
            offered: attempts + 1,
            attempts,
            ok,
            errors: errors.iter().copied().collect(),
            indeterminate: 0,
            missed: 1,
            response: recorder.summary(),
            service: recorder.summary(),
            response_buckets: recorder.buckets(),
            service_buckets: recorder.buckets(),
        }
    }

    fn report(operations: Vec<Operation>) -> Report {
        Report { operations, ..Report::default() }
    }

    #[test]
    fn shares_and_rates_are_over_all_operations_of_a_phase() {
        let report = report(vec![
            operation("a", "get", &[10; 30], &[]),
            operation("a", "set", &[20; 10], &[(Reason::Oom, 10)]),
            operation("b", "get", &[1; 50], &[]),
        ]);
        assert_eq!(error_ratio(&report), Some(0.1));
        assert_eq!(per_second(&report, "a"), Some(20.0));
        assert_eq!(achieved_ratio(&report, "a"), Some(40.0 / 52.0));
        assert!((mean_response(&report, "a").unwrap() - 0.0125).abs() < 1e-9);
        assert_eq!(per_second(&report, "c"), None);
        assert!(ran(&report, "b") && !ran(&report, "c"));
        assert_eq!(error_ratio(&Report::default()), None);
    }

    #[test]
    fn the_slowest_operation_needs_samples_of_every_operation() {
        let mut both =
            report(vec![operation("a", "get", &[1; 30], &[]), operation("a", "set", &[9; 30], &[])]);
        assert!((slowest_quantile(&both, "a", "0.5").unwrap() - 0.009).abs() < 1e-4);
        both.operations.push(operation("a", "del", &[1; 3], &[]));
        assert_eq!(slowest_quantile(&both, "a", "0.5"), None, "the third could be the slowest");
        assert_eq!(slowest_quantile(&both, "c", "0.5"), None);
    }

    #[test]
    fn the_worst_failure_is_named_with_its_main_reason() {
        let some = operation("a", "get", &[1; 96], &[(Reason::Timeout, 3), (Reason::Reset, 1)]);
        assert_eq!(
            worst_failure(&report(vec![some.clone()])).unwrap(),
            "4 % of 100 GET failed in a (timeout)"
        );
        let none = operation("b", "set", &[], &[(Reason::Oom, 1_000)]);
        assert_eq!(worst_failure(&report(vec![some, none])).unwrap(), "no SET of 1,000 succeeded in b (oom)");
        assert_eq!(worst_failure(&report(vec![operation("a", "get", &[1], &[])])), None);
    }
}
