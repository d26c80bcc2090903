//! Where a finished run goes besides `/metrics`: the bounded memory of runs, and the report's JSON.

use std::{collections::BTreeMap, sync::Arc};

use measure::{
    Effect, Reason,
    report::{Direction, Doubt, ObjectiveDef, Report, Severity, TimelinePoint, Unit},
};
use redprobe::{
    probe::ProbeKind,
    sink::{
        Record,
        history::{Filter, History},
        json,
    },
    verdict::Outcome,
};
use serde_json::{Value, json};

use crate::synthetic::{HEALTH, at, job, kind, measured, operation, plan, target, unmeasured};

static P99: ObjectiveDef = ObjectiveDef {
    name: "get_p99",
    phrase: "p99 of GET",
    help: "Made up.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.01,
};
static PROBE: ProbeKind = kind("latency_baseline", Effect::Load, &[&P99]);

fn ids(history: &History, filter: &Filter) -> Vec<String> {
    history.list(filter).iter().map(|record| record.id.clone()).collect()
}

fn all() -> Filter {
    Filter { limit: usize::MAX, ..Filter::default() }
}

#[test]
fn failures_outlive_successes_and_both_are_bounded() {
    let staging = target("staging");
    let (health, probe) = (job(&HEALTH, &staging, ""), job(&PROBE, &staging, ""));
    let history = History::new(10);
    history.push(unmeasured(&probe, 0, Outcome::Error, Reason::Timeout));
    for second in 1..=100 {
        history.push(measured(&health, second, Report::default()));
    }
    let kept = ids(&history, &all());
    assert_eq!(kept.len(), 6, "{kept:?}");
    assert!(kept.contains(&"000000000-latency_baseline".into()), "a failure is not pushed out by successes");
    assert_eq!(kept[0], "000000100-health", "the newest comes first");
    for second in 101..=200 {
        history.push(unmeasured(&health, second, Outcome::Halted, Reason::Canary));
    }
    assert_eq!(ids(&history, &all()).len(), 11, "five of each kind, and the last of the other job");
}

#[test]
fn the_last_run_of_a_job_stays_until_the_job_goes() {
    let staging = target("staging");
    let (quiet, busy) = (job(&PROBE, &staging, ""), job(&HEALTH, &staging, ""));
    let history = History::new(4);
    history.push(measured(&quiet, 0, Report::default()));
    for second in 1..=50 {
        history.push(measured(&busy, second, Report::default()));
    }
    history.push(unmeasured(&quiet, 51, Outcome::Skipped, Reason::Overlap));
    let last = history.last(quiet.key()).expect("it is kept");
    assert_eq!(last.outcome, Outcome::Passed, "a skipped run says nothing of the target");
    assert!(history.get(&last.id).is_some());
    history.apply(&plan(&[&busy]));
    assert!(history.last(quiet.key()).is_none() && history.get(&last.id).is_none());
    assert!(history.last(busy.key()).is_some());
}

#[test]
fn long_reports_are_bounded_in_bytes() {
    let probe = job(&PROBE, &target("staging"), "");
    let history = History::new(100_000);
    for second in 0..200 {
        let mut report = Report::default();
        let point =
            TimelinePoint { phase: "sustained", at_seconds: 0.0, values: BTreeMap::from([("ok", 1.0)]) };
        report.timeline = vec![point; 3_000];
        history.push(measured(&probe, second, report));
    }
    let kept = ids(&history, &all()).len();
    assert!((2..100).contains(&kept), "{kept} reports of 3,000 points are kept");
}

#[test]
fn runs_are_found_by_what_they_are() {
    let (a, b) = (target("a"), target("b"));
    let history = History::new(100);
    for (second, target) in [(0, &a), (1, &b), (2, &a)] {
        history.push(measured(&job(&HEALTH, target, ""), second, Report::default()));
        history.push(unmeasured(&job(&PROBE, target, ""), second, Outcome::Error, Reason::Timeout));
    }
    let some = |filter: Filter| ids(&history, &filter);
    assert_eq!(some(all()).len(), 6);
    assert_eq!(
        some(Filter { target: Some("b".into()), ..all() }),
        ["000000001-latency_baseline", "000000001-health"]
    );
    assert_eq!(
        some(Filter { probe: Some("health".into()), limit: 2, ..all() }),
        ["000000002-health", "000000001-health"]
    );
    let errors = Filter { outcome: Some(Outcome::Error), target: Some("a".into()), ..all() };
    assert_eq!(some(errors), ["000000002-latency_baseline", "000000000-latency_baseline"]);
    assert_eq!(some(Filter { limit: 0, ..Filter::default() }), [""; 0]);
    for (second, node) in [(3, "c/x"), (4, "c/y")] {
        history.push(measured(&job(&HEALTH, &target(node), ""), second, Report::default()));
    }
    assert_eq!(
        some(Filter { target: Some("c".into()), ..all() }),
        ["000000004-health", "000000003-health"],
        "a target's name is all of its nodes"
    );
    for one in [
        Filter { target: Some("c/y".into()), ..all() },
        Filter { target: Some("c".into()), node: Some("y".into()), ..all() },
        Filter { node: Some("y".into()), ..all() },
    ] {
        assert_eq!(some(one), ["000000004-health"]);
    }
    assert!(history.get("nothing").is_none());
}

fn found() -> Arc<Record> {
    let mut report = Report { conclusion: "It took long.".into(), ..Report::default() };
    report.operations.push(operation("sustained", "get", 20_000, 1_000, &[(Reason::Timeout, 2)]));
    report.measure("memory_peak", 1_024.0, Unit::Bytes);
    report.doubts.insert(Doubt::TooFewSamples);
    report.observe(&P99, 0.02);
    measured(&job(&PROBE, &target("staging"), ""), 0, report)
}

#[test]
fn a_run_has_the_shape_of_the_contract() {
    let record = found();
    let run = serde_json::to_value(json::run(&record)).expect("it is plain data");
    let keys: Vec<_> = run.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut wanted = [
        "id",
        "probe",
        "target",
        "node",
        "variant",
        "started_at",
        "duration_seconds",
        "outcome",
        "reason",
        "grade",
        "conclusion",
        "objectives",
        "measurements",
        "operations",
        "pools",
        "attribution",
        "checks",
        "timeline",
        "doubts",
        "errors",
        "skipped_phases",
        "remedies",
        "cleanup",
        "settings",
        "server",
        "client",
    ];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
}

#[test]
fn a_run_has_its_figures_where_the_contract_has_them() {
    let record = found();
    let run = serde_json::to_value(json::run(&record)).expect("it is plain data");
    assert_eq!(run["started_at"], "2027-01-15T08:00:00.123Z");
    assert_eq!(at(0), humantime::parse_rfc3339("2027-01-15T08:00:00Z").expect("it is one"));
    for (path, value) in [
        ("/duration_seconds", json!(1.5)),
        ("/outcome", json!("failed")),
        ("/reason", Value::Null),
        ("/grade", json!("FAIR")),
        ("/variant", json!("")),
        (
            "/objectives",
            json!([{"name": "get_p99", "observed": 0.02, "limit": 0.01, "direction": "max",
            "unit": "seconds", "met": false, "severity": "warning"}]),
        ),
        ("/measurements", json!({"memory_peak": {"value": 1024.0, "unit": "bytes"}})),
        ("/operations/0/errors", json!({"timeout": 2})),
        ("/operations/0/ok", json!(1_000)),
        ("/operations/0/attempts", json!(1_002)),
        ("/operations/0/response/count", json!(1_000)),
        ("/pools", json!([])),
        ("/timeline", json!([])),
        ("/errors", json!([])),
        ("/checks", json!([])),
        ("/doubts", json!(["too_few_samples"])),
        (
            "/cleanup",
            json!({"keys_removed": 0, "settings_restored": [], "settings_conflicts": [], "settings_unrestored": [], "left_over": 0}),
        ),
        ("/settings", json!({"pool_size": 15})),
        ("/server", json!({"version": "7.0.15", "flavour": "redis", "role": "master"})),
    ] {
        assert_eq!(run.pointer(path), Some(&value), "{path}");
    }
    assert!(
        run["operations"][0]["response"]["p99"].as_f64().is_some_and(|p99| (0.0199..0.0201).contains(&p99))
    );
    assert!(run["client"]["cpus"].as_u64().is_some_and(|cpus| cpus > 0));
    assert_eq!(run["client"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_log_is_in_the_view_of_one_run_alone() {
    let record = found();
    let whole = serde_json::to_value(json::run_with_log(&record)).expect("it is plain data");
    assert_eq!(whole["log"], json!(["began"]));
    assert!(serde_json::to_value(json::run(&record)).expect("it is plain data").get("log").is_none());
}

#[test]
fn a_suite_has_the_worst_grade_of_its_runs() {
    let health = measured(&job(&HEALTH, &target("staging"), ""), 0, Report::default());
    let skipped = unmeasured(&job(&PROBE, &target("staging"), ""), 0, Outcome::Skipped, Reason::Lease);
    let suite = |records: &[Arc<Record>]| serde_json::to_value(json::suite(records, 1)).expect("plain data");
    let whole = suite(&[Arc::clone(&health), found(), Arc::clone(&skipped)]);
    assert_eq!(
        (&whole["schema"], &whole["exit_code"], &whole["grade"]),
        (&json!(1), &json!(1), &json!("FAIR"))
    );
    assert_eq!(whole["runs"].as_array().map(Vec::len), Some(3));
    assert_eq!(whole["runs"][2]["reason"], "lease");
    assert_eq!(suite(&[health])["grade"], "EXCELLENT");
    assert_eq!(suite(&[skipped])["grade"], Value::Null);
}
