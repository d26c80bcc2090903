//! Times cold connects, then SET, GET and DEL: one by one, at a steady rate, by several workers, and with more memory.
//!
//! Settings, objectives and the probe are here; what each phase does is in `phases`. How many operations a second the
//! server can do is `throughput`'s question, not this probe's.

use measure::{
    Effect, Grant, ProbeError,
    metric::MetricDef,
    report::{Direction, Doubt, ObjectiveDef, Report, Severity, Unit},
};

use crate::{
    config::settings::{Size, Span},
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors, figures,
        phases::{MAX_VALUE_SIZE, Phases, SERVER_INFO},
    },
    settings,
    verdict::human,
};

mod phases;

measure::metrics! {
    /// Median time of each step of opening a connection: dns, connect, tls, login, and all of them (total).
    gauge CONNECT = "redprobe_latency_baseline_connect_seconds" [step];
    /// Mean of the server's used memory while load ran at a steady rate.
    gauge MEMORY_MEAN = "redprobe_latency_baseline_memory_mean_bytes";
    /// Used memory that the memory pattern added.
    gauge MEMORY_GROWTH = "redprobe_latency_baseline_memory_growth_bytes";
    /// Share of that growth which the server had given back after the pattern was removed.
    gauge MEMORY_RECOVERY = "redprobe_latency_baseline_memory_recovery_ratio";
    /// Successful share of the operations that the steady rate offered.
    gauge ACHIEVED = "redprobe_latency_baseline_achieved_ratio";
}

settings! {
    /// Settings of `latency_baseline`.
    pub struct Settings {
        /// Fresh connections opened one after the other, to time cold connects.
        connects: u64 = 20,
        /// Rounds of SET, GET and DEL, one operation after the other over one connection.
        iterations: u64 = 1_000,
        /// Operations per second of the sustained phase.
        rate: f64 = 100.0,
        /// Length of the sustained phase.
        sustained: Span = Span::secs(30),
        /// Size of each value.
        value_size: Size = Size(128),
        /// Workers of the concurrent phase, each with a connection of its own (needs load).
        workers: u64 = 10,
        /// Operations of each worker in the concurrent phase.
        ops_per_worker: u64 = 100,
        /// Bytes that the memory phase writes and removes again; 0 leaves it out (needs load).
        memory_pattern: Size = Size(50 << 20),
        /// Bound of one operation.
        op_timeout: Span = Span::secs(5),
    }
}

static BASIC_P95: ObjectiveDef = ObjectiveDef {
    name: "basic_p95",
    phrase: "p95 of the slowest of SET, GET and DEL",
    help: "95th percentile of the slowest of SET, GET and DEL, one by one. A server next door needs 0.4 ms; 5 ms is what interactive use of a cache bears.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.005,
};

static SUSTAINED_P99: ObjectiveDef = ObjectiveDef {
    name: "sustained_p99",
    phrase: "p99 of the slowest operation at a steady rate",
    help: "99th percentile of the slowest operation at a steady rate, counted from the intended start. 50 ms is the common bound for a Redis operation.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Critical,
    limit: 0.05,
};

static SUSTAINED_ACHIEVED: ObjectiveDef = ObjectiveDef {
    name: "sustained_achieved",
    phrase: "the achieved share of the steady rate",
    help: "Successes over operations that the steady rate offered.",
    direction: Direction::Min,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.99,
};

static CONCURRENT_P95: ObjectiveDef = ObjectiveDef {
    name: "concurrent_p95",
    phrase: "p95 of the slowest operation of concurrent workers",
    help: "95th percentile of the slowest operation while all workers run. 10 workers on a server next door need 1.8 ms.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.01,
};

static RECOVERY: ObjectiveDef = ObjectiveDef {
    name: "memory_recovery",
    phrase: "the share of memory given back",
    help: "Share of the memory pattern's growth that used memory lost again after its removal. Less means that somebody else grew meanwhile, or that freeing lags behind.",
    direction: Direction::Min,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.9,
};

/// The probe.
#[derive(Debug)]
pub struct LatencyBaseline {
    settings: Settings,
}

impl Probe for LatencyBaseline {
    const NAME: &'static str = "latency_baseline";
    const SUMMARY: &'static str =
        "Times SET, GET and DEL one by one, by several workers, and at a steady rate.";
    const EFFECT: Effect = Effect::Touch;
    const REACH: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = &[
        Grant::touch("set", "{key} x PX 1", "time a write"),
        Grant::touch("get", "{key}", "time a read"),
        Grant::touch("unlink", "{key}", "time a removal"),
        SERVER_INFO,
    ];
    const METRICS: &'static [&'static MetricDef] = METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] =
        &[&figures::ERROR_RATIO, &BASIC_P95, &SUSTAINED_P99, &SUSTAINED_ACHIEVED, &CONCURRENT_P95, &RECOVERY];
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        let Settings { rate, iterations, workers, ops_per_worker, connects, .. } = settings;
        errors.check(
            rate > 0.0 && rate <= MAX_RATE,
            "rate",
            "expected 1 to 1000 operations per second; `throughput` goes beyond",
        );
        errors.check_range(iterations, 1..=1_000_000, "iterations");
        errors.check_range(connects, 1..=1_000, "connects");
        errors.check_range(workers, 1..=1_000, "workers");
        errors.check_range(ops_per_worker, 1..=1_000_000, "ops_per_worker");
        errors.check(
            (1..=MAX_VALUE_SIZE).contains(&settings.value_size.0),
            "value_size",
            "expected 1B to 1MB",
        );
        errors.check(!settings.sustained.0.is_zero(), "sustained", "expected more than 0, such as \"30s\"");
        errors.check(!settings.op_timeout.0.is_zero(), "op_timeout", "expected more than 0, such as \"5s\"");
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.sustained = settings.sustained.quick();
        settings.memory_pattern.0 /= 10;
        for count in [&mut settings.iterations, &mut settings.ops_per_worker, &mut settings.connects] {
            *count = (*count / 10).max(1);
        }
    }

    fn needs(&self, allowed: Effect) -> Needs {
        let touch = self.touch_needs();
        if allowed < Effect::Load {
            return touch;
        }
        let (concurrent, memory) = (self.concurrent_needs(), self.memory_needs());
        Needs {
            connections: concurrent.connections,
            keys: touch.keys + concurrent.keys + memory.keys,
            bytes: touch.bytes + concurrent.bytes + memory.bytes,
        }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut phases = Phases::new(cx);
        self.connect(cx, &mut phases).await?;
        self.snapshot(&mut phases).await;
        self.basic(cx, &mut phases).await?;
        self.sustained(cx, &mut phases).await?;
        self.concurrent(cx, &mut phases).await?;
        self.memory(cx, &mut phases).await?;
        let mut report = phases.finish(&["sustained", "basic"]);
        observe(&mut report);
        report.conclusion = conclusion(&report);
        Ok(report)
    }
}

/// Operations per second that still count as a bounded rate.
const MAX_RATE: f64 = 1_000.0;

fn observe(report: &mut Report) {
    if let Some(ratio) = figures::error_ratio(report) {
        report.observe(&figures::ERROR_RATIO, ratio);
    }
    for (phase, quantile, objective) in [
        ("basic", "0.95", &BASIC_P95),
        ("sustained", "0.99", &SUSTAINED_P99),
        ("concurrent", "0.95", &CONCURRENT_P95),
    ] {
        if figures::ran(report, phase) {
            report.observe_if(objective, figures::slowest_quantile(report, phase, quantile));
        }
    }
    if let Some(ratio) = figures::achieved_ratio(report, "sustained") {
        report.observe(&SUSTAINED_ACHIEVED, ratio);
        report.set(&ACHIEVED, ratio);
    }
    if let Some(recovery) = report.measurements.get("memory_recovery") {
        let ratio = recovery.value;
        report.observe(&RECOVERY, ratio);
        report.set(&MEMORY_RECOVERY, ratio);
    }
}

/// "GET takes 0.05 ms one by one (p95 0.08 ms); p99 at 100 ops/s is 0.3 ms, …"
fn conclusion(report: &Report) -> String {
    let mut parts: Vec<String> = figures::worst_failure(report).into_iter().collect();
    if let Some(get) = report.operation("basic", "get").filter(|get| get.ok > 0) {
        let median = human::seconds_or_dash(get.service.p50.or(get.service.mean));
        let rate =
            human::value(figures::per_second(report, "basic").unwrap_or_default(), Unit::OperationsPerSecond);
        parts.push(format!("GET takes {median} one by one, {rate} over one connection"));
    }
    if let Some(p99) = figures::slowest_quantile(report, "sustained", "0.99") {
        parts.push(format!("p99 at a steady rate is {}", human::value(p99, Unit::Seconds)));
    }
    if let Some(p95) = figures::slowest_quantile(report, "concurrent", "0.95") {
        parts.push(format!("p95 of concurrent workers is {}", human::value(p95, Unit::Seconds)));
    }
    if report.doubts.contains(&Doubt::TooFewSamples) {
        parts.push("too few samples for some quantiles".to_owned());
    }
    if parts.is_empty() {
        return "Nothing was measured.".to_owned();
    }
    human::sentence(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_setting_is_named() {
        let settings = Settings {
            rate: 0.0,
            iterations: 0,
            connects: 0,
            workers: 0,
            ops_per_worker: 0,
            value_size: Size(2 << 20),
            sustained: Span::secs(0),
            op_timeout: Span::secs(0),
            ..Settings::default()
        };
        let named: Vec<_> =
            LatencyBaseline::new(settings).unwrap_err().into_iter().map(|error| error.setting).collect();
        let expected = [
            "rate",
            "iterations",
            "connects",
            "workers",
            "ops_per_worker",
            "value_size",
            "sustained",
            "op_timeout",
        ];
        assert_eq!(named, expected);
        assert!(LatencyBaseline::new(Settings { rate: f64::NAN, ..Settings::default() }).is_err());
    }

    #[test]
    fn quick_cuts_durations_and_counts() {
        let mut settings = Settings::default();
        LatencyBaseline::quick(&mut settings);
        assert_eq!((settings.iterations, settings.ops_per_worker, settings.connects), (100, 10, 2));
        assert_eq!((settings.sustained, settings.memory_pattern), (Span::secs(5), Size(5 << 20)));
        let mut least = Settings { iterations: 3, ..Settings::default() };
        LatencyBaseline::quick(&mut least);
        assert_eq!(least.iterations, 1, "never to nothing");
    }

    #[test]
    fn a_touch_run_needs_no_more_than_two_connections_and_a_few_keys() {
        let probe = LatencyBaseline::new(Settings::default()).unwrap();
        let touch = probe.needs(Effect::Touch);
        assert!(touch.connections <= 2 && touch.bytes < 1 << 20, "{touch:?}");
        let load = probe.needs(Effect::Load);
        assert!(load.connections > 10 && load.bytes >= 50 << 20, "{load:?}");
    }
}
