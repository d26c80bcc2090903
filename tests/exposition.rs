//! `/metrics` as text: the golden exposition and catalogue, the rules of naming, and when series come and go.
//!
//! Runs are made up, so nothing depends on time. What the probes really find is tested with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use measure::{
    Effect, Reason,
    conn::TlsExpiry,
    latency::Latency,
    metric::{Kind, LabelValue, MetricDef},
    report::{Check, Direction, Doubt, ObjectiveDef, Pool, Report, Severity, Unit},
};
use redprobe::{
    config::{Plan, Schedule, Shard},
    probe::ProbeKind,
    sink::metrics::Metrics,
    verdict::Outcome,
};

use crate::synthetic::{HEALTH, at, job, kind, measured, operation, plan, scheduled, target, unmeasured};

mod lifetimes;

mod probe_metrics {
    measure::metrics! {
        /// Memory that a made-up server uses.
        gauge USED = "redprobe_pool_starvation_used_bytes";
        /// Calls of a made-up server, per command.
        counter CALLS = "redprobe_pool_starvation_calls_total" [command];
    }
}

static TIMEOUT_RATE: ObjectiveDef = ObjectiveDef {
    name: "timeout_rate",
    phrase: "share of timeouts",
    help: "Made up.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 0.0,
};
static STARVATION: ProbeKind = kind("pool_starvation", Effect::Load, &[&TIMEOUT_RATE]);

fn golden(name: &str, text: &str) {
    crate::support::golden(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name), text);
}

fn text(metrics: &Metrics, seconds: u64) -> String {
    String::from_utf8(metrics.render_at(at(seconds))).expect("an exposition is text")
}

/// The lines of this target.
fn lines_of(text: &str, target: &str) -> BTreeSet<String> {
    let label = format!("target=\"{target}\"");
    text.lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
}

fn starved() -> Report {
    let mut report = Report { conclusion: "Starved.".into(), ..Report::default() };
    report.operations.push(operation("shared", "get", 150, 2_541, &[(Reason::PoolTimeout, 459)]));
    report.operations.push(operation("shared", "xread", 20_000_000, 30, &[]));
    let waits = operation("", "", 199_000, 2_541, &[]);
    report.pools.push(Pool {
        name: "shared".into(),
        size: 15,
        wait: waits.response,
        wait_failures: 459,
        recycle: Latency::default(),
        recycle_failures: 0,
        created: 15,
        wait_buckets: waits.response_buckets,
    });
    for (check, status) in [("M01", "fail"), ("M02", "pass"), ("M03", "pass")] {
        report.checks.push(Check {
            check: check.into(),
            title: "A check".into(),
            status,
            severity: "high",
            area: "memory",
            expected: "".into(),
            actual: String::new(),
            why: "".into(),
            remedy: "".into(),
            source: "".into(),
        });
    }
    report.doubts.insert(Doubt::SharedTarget);
    report.observe(&TIMEOUT_RATE, 0.153);
    report.set(&probe_metrics::USED, 1_048_576.0);
    report.set_with(&probe_metrics::CALLS, ["get".into()], 12_345.0);
    report
}

/// Two targets; every outcome, and every family that a run can fill.
fn full() -> Metrics {
    let (staging, bare) = (target("staging"), target("orders/a"));
    let (health, starvation, variant) =
        (job(&HEALTH, &staging, ""), job(&STARVATION, &staging, ""), job(&STARVATION, &staging, "small"));
    let manual = scheduled(&STARVATION, &bare, "", Schedule::Manual);
    let metrics = Metrics::new();
    let shard = Some(Shard::parse("2/5").expect("it is one"));
    metrics.apply(&Plan { shard, ..plan(&[&health, &starvation, &variant, &manual]) });
    let mut by_tls = Arc::into_inner(measured(&health, 0, Report::default())).expect("nobody else has it");
    by_tls.tls = TlsExpiry { server: Some(at(30 * 86_400)), client: Some(at(60 * 86_400)) };
    metrics.publish(&Arc::new(by_tls));
    metrics.missed_ticks(&starvation, 3);
    metrics.publish(&measured(&starvation, 1, starved()));
    metrics.publish(&unmeasured(&starvation, 31, Outcome::Skipped, Reason::Lease));
    metrics.publish(&unmeasured(&variant, 2, Outcome::Error, Reason::TlsExpired));
    metrics.publish(&unmeasured(&variant, 32, Outcome::Halted, Reason::Canary));
    metrics.next_run(&starvation, at(60), Duration::from_secs(15));
    metrics.start_lateness(Duration::from_micros(1_500));
    metrics.start_lateness(Duration::from_secs(11));
    metrics.event_loop_lag(Duration::from_micros(80));
    metrics.http().answered(200);
    metrics.unnamed_nodes("orders/a", 2);
    metrics
}

#[test]
fn golden_exposition() {
    let text = text(&full(), 60);
    // When the first plan was applied is real time.
    let masked: String = text
        .lines()
        .map(|line| match line.split_once(' ') {
            Some((name @ "redprobe_config_last_reload_success_timestamp_seconds", _)) => {
                format!("{name} 1800000000\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    golden("exposition.txt", &masked);
}

#[test]
fn golden_catalogue() {
    let text: String = Metrics::catalogue()
        .into_iter()
        .map(|def| {
            let kind = format!("{:?}", def.kind).to_lowercase();
            format!("{} {kind} [{}]\n    {}\n", def.name, def.labels.join(", "), def.help())
        })
        .collect();
    golden("catalogue.txt", &text);
}

#[test]
fn promtool_has_nothing_to_say() {
    let exposition = full().render();
    assert!(String::from_utf8_lossy(&exposition).contains("process_resident_memory_bytes "));
    promtool(&exposition);
}

/// Lets `promtool check metrics` judge an exposition; skips that loudly where it is not installed.
pub(crate) fn promtool(exposition: &[u8]) {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("SKIPPED: promtool is not on PATH; `make check` installs it");
        return;
    };
    promtool.stdin.take().expect("it was piped").write_all(exposition).expect("promtool reads");
    let said = promtool.wait_with_output().expect("promtool ends");
    let words = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && words.is_empty(), "{}", String::from_utf8_lossy(&words));
}

#[test]
fn names_keep_the_rules() {
    const UNITS: [&str; 4] = ["_seconds", "_bytes", "_ratio", "_total"];
    const NOT_BASE: [&str; 12] = [
        "_ms",
        "_millis",
        "_milliseconds",
        "_us",
        "_micros",
        "_microseconds",
        "_minutes",
        "_kb",
        "_mb",
        "_percent",
        "_kilobytes",
        "_megabytes",
    ];
    const RESERVED: [&str; 6] = ["target", "probe", "variant", "le", "job", "instance"];
    let mut seen = BTreeSet::new();
    for def in Metrics::catalogue() {
        let name = def.name;
        assert!(seen.insert(name), "{name} is declared twice");
        assert!(name.starts_with("redprobe_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            def.kind == Kind::Counter,
            "{name}: _total is for counters alone"
        );
        assert!(
            !NOT_BASE.iter().any(|unit| name.ends_with(unit)),
            "{name}: use a base unit, such as {UNITS:?}"
        );
        assert!(def.kind != Kind::Histogram || name.ends_with("_seconds"), "{name}: buckets are in seconds");
        assert!(
            def.help().ends_with('.') && def.help().len() > 10,
            "{name}: help is a sentence: {:?}",
            def.help()
        );
        assert!(!def.labels.iter().any(|label| RESERVED.contains(label)), "{name}: {:?}", def.labels);
    }
    for probe in redprobe::probes::PROBES {
        let prefix = format!("redprobe_{}_", probe.name);
        for def in probe.metrics {
            assert!(def.name.starts_with(&prefix), "{} belongs to {}", def.name, probe.name);
            assert!(def.kind != Kind::Histogram, "{}: a sample is one value", def.name);
        }
    }
}

/// What is exported is in the catalogue with its labels, and what is common to all probes is exported.
#[test]
fn exposition_and_catalogue_agree() {
    let own: [&'static MetricDef; 2] = [&probe_metrics::USED, &probe_metrics::CALLS];
    let mut missing: BTreeMap<_, _> =
        Metrics::catalogue().into_iter().chain(own).map(|def| (def.name, def)).collect();
    let known = missing.clone();
    for line in text(&full(), 60).lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| known.get(name.strip_suffix(suffix)?))
            .or_else(|| known.get(name))
            .unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        missing.remove(family.name);
        for label in labels.split("\",").filter_map(|part| part.split_once('=')).map(|(label, _)| label) {
            let common = ["target", "node", "probe", "variant", "le"].contains(&label);
            assert!(common || family.labels.contains(&label), "{name} has a label {label:?}");
        }
    }
    // A probe's own metrics are shown with the probe.
    for probe in redprobe::probes::PROBES {
        missing.retain(|name, _| !probe.metrics.iter().any(|def| def.name == *name));
    }
    assert!(missing.is_empty(), "never exported: {:?}", missing.keys());
}

#[test]
fn counters_and_histograms_grow_with_each_run() {
    let staging = target("staging");
    let starvation = job(&STARVATION, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&starvation]));
    let labels = "target=\"staging\",probe=\"pool_starvation\"";
    assert!(
        text(&metrics, 0)
            .contains(&format!("redprobe_run_failures_total{{{labels},reason=\"objective\"}} 0\n")),
        "the usual reasons are there before the first run"
    );
    for run in 1..=2_u64 {
        metrics.publish(&measured(&starvation, run, starved()));
        let text = text(&metrics, run);
        for (series, value) in [
            (format!("redprobe_runs_total{{{labels}}}"), run),
            (format!("redprobe_run_failures_total{{{labels},reason=\"objective\"}}"), run),
            (format!("redprobe_operations_total{{{labels},operation=\"get\"}}"), 3_000 * run),
            (
                format!(
                    "redprobe_operation_errors_total{{{labels},operation=\"get\",reason=\"pool_timeout\"}}"
                ),
                459 * run,
            ),
            (
                format!(
                    "redprobe_operation_response_seconds_bucket{{{labels},operation=\"get\",le=\"0.0001\"}}"
                ),
                0,
            ),
            (
                format!(
                    "redprobe_operation_response_seconds_bucket{{{labels},operation=\"get\",le=\"0.0002\"}}"
                ),
                2_541 * run,
            ),
            (
                format!(
                    "redprobe_operation_response_seconds_bucket{{{labels},operation=\"xread\",le=\"10\"}}"
                ),
                0,
            ),
            (
                format!(
                    "redprobe_operation_response_seconds_bucket{{{labels},operation=\"xread\",le=\"+Inf\"}}"
                ),
                30 * run,
            ),
            (format!("redprobe_operation_response_seconds_count{{{labels},operation=\"get\"}}"), 2_541 * run),
            (format!("redprobe_pool_wait_seconds_count{{{labels},pool=\"shared\"}}"), 2_541 * run),
        ] {
            assert!(text.contains(&format!("\n{series} {value}\n")), "{series} {value}\n{text}");
        }
    }
}

#[test]
fn labels_that_come_twice_are_shown_once() {
    let staging = target("staging");
    let starvation = job(&STARVATION, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&starvation]));
    let mut report = starved();
    let again = LabelValue::from("get");
    report.set_with(&probe_metrics::CALLS, [again], 1.0);
    report.operations.push(operation("shared", "get", 10, 1, &[]));
    metrics.publish(&measured(&starvation, 0, report));
    let text = text(&metrics, 1);
    let mut series = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.rsplit_once(' ').expect("a sample has a value").0;
        assert!(series.insert(name), "{name} comes twice");
    }
    assert!(text.contains("command=\"get\"} 12345\n"), "the first one stays");
}

#[tokio::test]
async fn the_parts_of_a_scrape_are_the_whole_exposition() {
    let metrics = Metrics::new();
    let jobs: Vec<_> = (0..200).map(|number| job(&STARVATION, &target(&format!("t{number}")), "")).collect();
    metrics.apply(&plan(&jobs.iter().collect::<Vec<_>>()));
    for job in &jobs {
        metrics.publish(&measured(job, 0, starved()));
    }
    let parts = metrics.scrape().await;
    assert!(parts.len() > 10, "{} parts", parts.len());
    let whole = String::from_utf8(metrics.render()).expect("an exposition is text");
    // Those of the process differ from one moment to the next.
    let ours = |text: &str| {
        text.lines().filter(|line| !line.contains("process_")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ours(&parts.concat()), ours(&whole));
}

#[test]
fn label_values_are_escaped() {
    let odd = target("a\"b\\c\n");
    let health = job(&HEALTH, &odd, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&health]));
    assert!(text(&metrics, 0).contains(r#"redprobe_leftover_keys{target="a\"b\\c\n"} 0"#));
}

#[test]
fn leftover_keys_are_the_targets() {
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&job(&HEALTH, &target("staging"), ""), &job(&HEALTH, &target("other"), "")]));
    for (keys, line) in
        [(42, "redprobe_leftover_keys{target=\"staging\"} 42\n"), (0, "{target=\"staging\"} 0\n")]
    {
        metrics.left_over("staging", keys);
        metrics.left_over("unknown", 1);
        let text = text(&metrics, 1);
        assert!(
            text.contains(line) && text.contains("redprobe_leftover_keys{target=\"other\"} 0\n"),
            "{text}"
        );
        assert!(!text.contains("unknown"), "{text}");
    }
}

#[test]
fn one_record_alone_shows_its_results_and_no_counter() {
    let starvation = job(&STARVATION, &target("staging"), "");
    let text = String::from_utf8(Metrics::render_record(&measured(&starvation, 0, starved()))).unwrap();
    assert!(
        text.contains("redprobe_run_success{target=\"staging\",probe=\"pool_starvation\"} 0\n"),
        "{text}"
    );
    assert!(text.contains("redprobe_objective_observed{") && text.contains("_used_bytes{"));
    assert!(
        !text.contains("redprobe_runs_total")
            && !text.contains(" histogram\n")
            && !text.contains("build_info")
    );
    let skipped = Metrics::render_record(&unmeasured(&starvation, 0, Outcome::Skipped, Reason::Overlap));
    assert_eq!(String::from_utf8(skipped).unwrap(), "");
}

#[test]
fn a_scrape_copies_nothing_that_runs_share() {
    let staging = target("staging");
    let starvation = job(&STARVATION, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&starvation]));
    let record = measured(&starvation, 0, starved());
    metrics.publish(&record);
    let shared = Arc::strong_count(&record);
    let first = text(&metrics, 1);
    metrics.publish(&unmeasured(&starvation, 1, Outcome::Skipped, Reason::Overlap));
    assert_eq!(Arc::strong_count(&record), shared, "the results are shared with the record, not copied");
    assert_ne!(first, text(&metrics, 1));
}
