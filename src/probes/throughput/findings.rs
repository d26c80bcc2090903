//! What the phases of `throughput` add up to: stability, degradation, scaling, objectives and the conclusion.
//!
//! Arithmetic over a report; nothing here talks to a server.

use measure::report::{Direction, LoopKind, ObjectiveDef, Report, Severity, Unit};

use super::ALL;
use crate::{probe::figures, verdict::human};

measure::metrics! {
    /// How much less the last fifth of the sustained phase did than the first; below 0 where it did more.
    gauge DEGRADATION = "redprobe_throughput_degradation_ratio";
    /// Standard deviation of the operations of each second of the sustained phase.
    gauge DEVIATION = "redprobe_throughput_deviation_operations_per_second";
    /// That standard deviation over the mean.
    gauge VARIATION = "redprobe_throughput_variation_ratio";
    /// Operations per second of all concurrent workers over those of one.
    gauge SCALING = "redprobe_throughput_scaling_ratio";
    /// Successful share of the operations that the sustained phase offered.
    gauge ACHIEVED = "redprobe_throughput_achieved_ratio";
    /// Share of key lookups on the server that found their key while a phase ran.
    gauge HITS = "redprobe_throughput_hit_ratio" [phase];
}

static BASELINE: ObjectiveDef = ObjectiveDef {
    name: "baseline_throughput",
    phrase: "throughput over one connection",
    help: "Operations per second of one worker in a closed loop. 500 is the load that the sustained phase puts on; a connection that cannot carry it has a round trip above 2 ms.",
    direction: Direction::Min,
    unit: Unit::OperationsPerSecond,
    severity: Severity::Warning,
    limit: 500.0,
};

static SUSTAINED_ACHIEVED: ObjectiveDef = ObjectiveDef {
    name: "sustained_achieved",
    phrase: "the achieved share of the sustained rate",
    help: "Successes over operations that the sustained rate offered.",
    direction: Direction::Min,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.99,
};

static SUSTAINED_P99: ObjectiveDef = ObjectiveDef {
    name: "sustained_p99",
    phrase: "p99 of the slowest operation at the sustained rate",
    help: "99th percentile of the slowest of the sustained phase's operations, counted from the intended start.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.05,
};

static DEGRADED: ObjectiveDef = ObjectiveDef {
    name: "degradation",
    phrase: "degradation under sustained load",
    help: "How much less the last fifth of the sustained phase did than the first. A tenth is beyond what noise explains.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.1,
};

static VARIED: ObjectiveDef = ObjectiveDef {
    name: "variation",
    phrase: "variation under sustained load",
    help: "Standard deviation over mean of the sustained phase's seconds.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Info,
    limit: 0.25,
};

static SCALED: ObjectiveDef = ObjectiveDef {
    name: "scaling",
    phrase: "scaling with concurrent workers",
    help: "Operations per second of all concurrent workers over those of one. Below 1, more workers do less.",
    direction: Direction::Min,
    unit: Unit::Count,
    severity: Severity::Info,
    limit: 1.0,
};

static BENCHMARK_MEAN: ObjectiveDef = ObjectiveDef {
    name: "benchmark_mean",
    phrase: "the mean response of the benchmark",
    help: "Mean response time of the benchmark's operations. 5 ms is the target of the load test that this benchmark follows.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.005,
};

static BENCHMARK_P99: ObjectiveDef = ObjectiveDef {
    name: "benchmark_p99",
    phrase: "p99 of the benchmark's slowest operation",
    help: "99th percentile of the benchmark's slowest operation. 50 ms is the target of the load test that this benchmark follows.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Critical,
    limit: 0.05,
};

static BENCHMARK_THROUGHPUT: ObjectiveDef = ObjectiveDef {
    name: "benchmark_throughput",
    phrase: "throughput of the benchmark",
    help: "Operations per second of the benchmark. 1,000 is the target of the load test that this benchmark follows.",
    direction: Direction::Min,
    unit: Unit::OperationsPerSecond,
    severity: Severity::Critical,
    limit: 1_000.0,
};

/// Every objective, in the order of the phases.
pub(super) const OBJECTIVES: &[&ObjectiveDef] = &[
    &figures::ERROR_RATIO,
    &BASELINE,
    &SUSTAINED_ACHIEVED,
    &SUSTAINED_P99,
    &DEGRADED,
    &VARIED,
    &SCALED,
    &BENCHMARK_MEAN,
    &BENCHMARK_P99,
    &BENCHMARK_THROUGHPUT,
];

/// Adds measurements, observed objectives, metrics and the conclusion to a report that has its operations.
pub(super) fn add(report: &mut Report) {
    if let Some(ratio) = figures::error_ratio(report) {
        report.observe(&figures::ERROR_RATIO, ratio);
    }
    sustained(report);
    scaling(report);
    benchmark(report);
    for phase in ALL {
        if let Some(hits) = report.measurements.get(format!("{}_hit_ratio", phase.name()).as_str()) {
            let ratio = hits.value;
            report.set_with(&HITS, [phase.name().into()], ratio);
        }
    }
    report.conclusion = conclusion(report);
}

fn sustained(report: &mut Report) {
    if !figures::ran(report, "sustained") {
        return;
    }
    if is_loop(report, "sustained", LoopKind::Open) {
        let ratio = figures::achieved_ratio(report, "sustained").unwrap_or_default();
        report.observe(&SUSTAINED_ACHIEVED, ratio);
        report.set(&ACHIEVED, ratio);
    }
    report.observe_if(&SUSTAINED_P99, figures::slowest_quantile(report, "sustained", "0.99"));
    let seconds: Vec<f64> = report
        .timeline
        .iter()
        .filter(|point| point.phase == "sustained")
        .filter_map(|point| point.values.get("ok").copied())
        .collect();
    if let Some(series) = Series::of(&seconds) {
        report.measure("sustained_mean", series.mean, Unit::OperationsPerSecond);
        report.measure("sustained_deviation", series.deviation, Unit::OperationsPerSecond);
        report.measure("sustained_variation", series.variation(), Unit::Ratio);
        report.set(&DEVIATION, series.deviation);
        report.set(&VARIATION, series.variation());
        report.observe(&VARIED, series.variation());
    }
    if let Some(degradation) = degradation(&seconds) {
        report.measure("degradation", degradation, Unit::Ratio);
        report.set(&DEGRADATION, degradation);
        report.observe(&DEGRADED, degradation);
    }
}

/// Only closed loops say what a server can do: at a rate, they would all do the rate.
fn scaling(report: &mut Report) {
    if !is_loop(report, "baseline", LoopKind::Closed) {
        return;
    }
    let one = figures::per_second(report, "baseline").unwrap_or_default();
    report.observe(&BASELINE, one);
    if one > 0.0
        && is_loop(report, "concurrent", LoopKind::Closed)
        && let Some(all) = figures::per_second(report, "concurrent")
    {
        report.measure("scaling", all / one, Unit::Count);
        report.set(&SCALING, all / one);
        report.observe(&SCALED, all / one);
    }
}

fn benchmark(report: &mut Report) {
    let Some(rate) = figures::per_second(report, "benchmark") else { return };
    report.observe(&BENCHMARK_THROUGHPUT, rate);
    report.observe_if(&BENCHMARK_MEAN, figures::mean_response(report, "benchmark"));
    report.observe_if(&BENCHMARK_P99, figures::slowest_quantile(report, "benchmark", "0.99"));
}

fn is_loop(report: &Report, phase: &str, kind: LoopKind) -> bool {
    figures::ran(report, phase)
        && report.operations.iter().filter(|o| o.phase == phase).all(|o| o.loop_kind == kind)
}

/// Mean and standard deviation of a series of seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Series {
    mean: f64,
    /// Of a sample: over n − 1.
    deviation: f64,
}

impl Series {
    fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 2 {
            return None;
        }
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, deviation: (squares / (values.len() - 1) as f64).sqrt() })
    }

    fn variation(self) -> f64 {
        if self.mean > 0.0 { self.deviation / self.mean } else { 0.0 }
    }
}

/// `1 − last fifth / first fifth`; nothing where a fifth is less than a second, or where nothing ever succeeded.
fn degradation(seconds: &[f64]) -> Option<f64> {
    let fifth = seconds.len() / 5;
    let first = mean(seconds.get(..fifth).filter(|part| !part.is_empty())?);
    let last = mean(&seconds[seconds.len() - fifth..]);
    (first > 0.0).then(|| 1.0 - last / first)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// "18,800 ops/s in baseline, 58,100 ops/s in concurrent (3.1 times one worker), …"
fn conclusion(report: &Report) -> String {
    let mut rates = Vec::new();
    for phase in ALL {
        let Some(rate) = figures::per_second(report, phase.name()) else { continue };
        let mut text = format!("{} {}", phase.name(), human::value(rate, Unit::OperationsPerSecond));
        if is_loop(report, phase.name(), LoopKind::Open) {
            let achieved = figures::achieved_ratio(report, phase.name()).unwrap_or_default();
            text.push_str(&format!(" ({} of the rate offered)", human::value(achieved, Unit::Ratio)));
        }
        rates.push(text);
    }
    let mut parts: Vec<String> = figures::worst_failure(report).into_iter().collect();
    parts.push(rates.join(", "));
    if let Some(scaling) = report.measurements.get("scaling") {
        parts.push(format!(
            "all workers together do {} times what one does",
            human::value(scaling.value, Unit::Count)
        ));
    }
    human::sentence(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviation_and_degradation_are_those_of_the_book() {
        let series = Series::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(series.mean, 5.0);
        assert!((series.deviation - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Series::of(&[1.0]), None);
        let falling: Vec<_> = (0..10).map(|second| 100.0 - f64::from(second) * 10.0).collect();
        assert!((degradation(&falling).unwrap() - (1.0 - 15.0 / 95.0)).abs() < 1e-12);
        assert_eq!(degradation(&[5.0; 10]), Some(0.0));
        assert!(degradation(&[1.0, 1.0, 1.0, 1.0, 2.0]).unwrap() < 0.0, "more at the end is below 0");
        assert_eq!(degradation(&[1.0; 4]), None, "a fifth of four seconds is no second");
        assert_eq!(degradation(&[0.0; 10]), None);
    }
}
