//! When series of `/metrics` come and go: results with their run, counters with their target.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use measure::{Reason, report::Report};
use redprobe::{
    config::{Profile, Schedule},
    sink::metrics::Metrics,
    verdict::Outcome,
};

use super::{STARVATION, full, lines_of, starved, text};
use crate::synthetic::{HEALTH, at, job, measured, plan, scheduled, target, unmeasured};

#[test]
fn results_of_an_overdue_job_disappear_and_its_counters_stay() {
    let metrics = full();
    let has = |seconds, name: &str| {
        lines_of(&text(&metrics, seconds), "staging").iter().any(|line| {
            line.starts_with(name) && line.contains("pool_starvation") && !line.contains("variant")
        })
    };
    let results = [
        "redprobe_run_success{",
        "redprobe_objective_met{",
        "redprobe_run_latency_seconds{",
        "redprobe_doubts{",
        "redprobe_audit_checks{",
        "redprobe_pool_starvation_used_bytes{",
    ];
    for name in results {
        assert!(has(75, name), "{name} is there until the slack is over");
        assert!(!has(76, name), "{name} goes with it");
    }
    for name in [
        "redprobe_runs_total{",
        "redprobe_operations_total{",
        "redprobe_operation_response_seconds_bucket{",
        "redprobe_pool_wait_failures_total{",
        "redprobe_last_run_timestamp_seconds{",
        "redprobe_next_run_timestamp_seconds{",
    ] {
        assert!(has(76, name), "{name} stays");
    }
}

#[test]
fn up_goes_with_an_overdue_health_check() {
    let staging = target("staging");
    let health = job(&HEALTH, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&health]));
    let up = |seconds| {
        text(&metrics, seconds)
            .lines()
            .find_map(|l| l.strip_prefix("redprobe_up{target=\"staging\"} ").map(str::to_owned))
    };
    assert_eq!(up(0), None, "nothing is known before the first check");
    metrics.next_run(&health, at(15), Duration::from_secs(5));
    metrics.publish(&measured(&health, 0, Report::default()));
    assert_eq!(up(20).as_deref(), Some("1"));
    assert_eq!(up(21), None);
    metrics.next_run(&health, at(30), Duration::from_secs(5));
    metrics.publish(&unmeasured(&health, 15, Outcome::Error, Reason::ConnectRefused));
    assert_eq!(up(21).as_deref(), Some("0"));
    metrics.publish(&unmeasured(&health, 20, Outcome::Skipped, Reason::Overlap));
    assert_eq!(up(21).as_deref(), Some("0"), "a skipped check leaves it");
}

#[test]
fn runs_that_are_skipped_or_never_come_are_missed_until_one_begins() {
    let staging = target("staging");
    let job = job(&STARVATION, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&job]));
    let missed = || {
        let all = lines_of(&text(&metrics, 1), "staging");
        let line = all.iter().find(|line| line.starts_with("redprobe_missed_runs{")).expect("it is there");
        line.rsplit_once(' ').expect("it has a value").1.to_owned()
    };
    assert_eq!(missed(), "0");
    metrics.publish(&unmeasured(&job, 0, Outcome::Skipped, Reason::Lease));
    metrics.missed_ticks(&job, 2);
    assert_eq!(missed(), "3");
    metrics.publish(&unmeasured(&job, 0, Outcome::Error, Reason::ConnectRefused));
    assert_eq!(missed(), "0", "it failed, but it came");
    metrics.publish(&unmeasured(&job, 0, Outcome::Skipped, Reason::Overlap));
    metrics.publish(&measured(&job, 0, starved()));
    assert_eq!(missed(), "0");
}

#[test]
fn a_target_that_leaves_takes_its_series_and_no_others() {
    let (a, b) = (target("a"), target("b"));
    let (of_a, of_b) = (job(&STARVATION, &a, ""), job(&STARVATION, &b, ""));
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&of_a, &of_b]));
    for job in [&of_a, &of_b] {
        metrics.publish(&measured(job, 0, starved()));
    }
    let before = lines_of(&text(&metrics, 1), "b");
    assert!(!before.is_empty());
    let reloaded = job(&STARVATION, &b, "");
    metrics.apply(&plan(&[&reloaded]));
    assert_eq!(lines_of(&text(&metrics, 1), "a"), BTreeSet::new());
    assert_eq!(lines_of(&text(&metrics, 1), "b"), before, "the others go on as they were");
    metrics.publish(&measured(&of_a, 2, starved()));
    metrics.next_run(&of_a, at(30), Duration::ZERO);
    assert_eq!(
        lines_of(&text(&metrics, 3), "a"),
        BTreeSet::new(),
        "a run that was under way brings nothing back"
    );
}

#[test]
fn a_job_that_leaves_takes_its_results_and_leaves_its_counters() {
    let staging = target("staging");
    let (health, starvation) = (job(&HEALTH, &staging, ""), job(&STARVATION, &staging, ""));
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&health, &starvation]));
    metrics.publish(&measured(&starvation, 0, starved()));
    metrics.next_run(&starvation, at(30), Duration::ZERO);
    metrics.apply(&plan(&[&health]));
    for late in [false, true] {
        if late {
            metrics.publish(&measured(&starvation, 1, starved()));
            metrics.next_run(&starvation, at(30), Duration::ZERO);
        }
        let text = text(&metrics, 1);
        assert!(!text.contains("redprobe_run_success{"), "{text}");
        assert!(!text.contains("redprobe_next_run_timestamp_seconds{"));
        let runs = if late { 2 } else { 1 };
        assert!(text.contains(&format!(
            "redprobe_runs_total{{target=\"staging\",probe=\"pool_starvation\"}} {runs}\n"
        )));
    }
}

#[test]
fn a_run_asked_for_without_a_job_shows_its_results() {
    let staging = target("staging");
    let health = job(&HEALTH, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&health]));
    metrics.publish(&measured(&scheduled(&STARVATION, &staging, "", Schedule::Manual), 0, starved()));
    assert!(
        text(&metrics, 1).contains("redprobe_run_success{target=\"staging\",probe=\"pool_starvation\"} 0\n")
    );
}

#[test]
fn a_run_that_measured_nothing_takes_the_last_results_along() {
    let staging = target("staging");
    let starvation = job(&STARVATION, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&starvation]));
    metrics.publish(&measured(&starvation, 0, starved()));
    metrics.publish(&unmeasured(&starvation, 30, Outcome::Halted, Reason::Canary));
    assert!(text(&metrics, 31).contains("redprobe_objective_observed{"), "halted leaves them");
    metrics.publish(&unmeasured(&starvation, 60, Outcome::Error, Reason::ConnectRefused));
    let text = text(&metrics, 61);
    assert!(!text.contains("redprobe_objective_observed{") && !text.contains("_used_bytes{"), "{text}");
    assert!(text.contains("redprobe_run_success{target=\"staging\",probe=\"pool_starvation\"} 0\n"));
}

#[test]
fn what_a_target_is_follows_the_plan() {
    let metrics = Metrics::new();
    let of = |environment: &str, profile| {
        let mut target = target("staging");
        let changed = Arc::get_mut(&mut target).expect("nobody else has it");
        (changed.environment, changed.profile) = (environment.into(), profile);
        plan(&[&job(&HEALTH, &target, "")])
    };
    for (environment, profile, word) in
        [("test", Profile::Store, "store"), ("production", Profile::Cache, "cache")]
    {
        metrics.apply(&of(environment, profile));
        let info = format!(
            "redprobe_target_info{{target=\"staging\",environment=\"{environment}\",profile=\"{word}\"}} 1"
        );
        let text = text(&metrics, 0);
        let shown: Vec<_> = text.lines().filter(|line| line.starts_with("redprobe_target_info{")).collect();
        assert_eq!(shown, [info.as_str()]);
    }
}

#[test]
fn nodes_of_one_target_have_series_of_their_own() {
    let (a, b, plain) = (target("orders/a"), target("orders/b"), target("orders_a"));
    let jobs = [&a, &b, &plain].map(|target| job(&HEALTH, target, ""));
    let metrics = Metrics::new();
    metrics.apply(&plan(&jobs.each_ref()));
    metrics.publish(&measured(&jobs[0], 0, Report::default()));
    metrics.publish(&unmeasured(&jobs[1], 0, Outcome::Error, Reason::ConnectRefused));
    let shown = text(&metrics, 1);
    for line in [
        "redprobe_up{target=\"orders\",node=\"a\"} 1\n",
        "redprobe_up{target=\"orders\",node=\"b\"} 0\n",
        "redprobe_runs_total{target=\"orders\",node=\"a\",probe=\"health\"} 1\n",
        "redprobe_runs_total{target=\"orders_a\",probe=\"health\"} 0\n",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    metrics.apply(&plan(&[&jobs[1]]));
    assert!(lines_of(&text(&metrics, 1), "orders").iter().all(|line| line.contains("node=\"b\"")));
}

#[test]
fn results_of_a_job_that_is_skipped_again_and_again_disappear() {
    let staging = target("staging");
    let health = job(&HEALTH, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&health]));
    let tick = |due: u64, outcome: Option<Outcome>| {
        metrics.next_run(&health, at(due + 15), Duration::from_secs(20));
        metrics.publish(&match outcome {
            Some(outcome) => unmeasured(&health, due, outcome, Reason::Lease),
            None => measured(&health, due, Report::default()),
        });
        text(&metrics, due).contains("redprobe_run_success{")
    };
    assert!(tick(0, None));
    assert!(tick(15, Some(Outcome::Skipped)), "one may be missed");
    assert!(!tick(30, Some(Outcome::Skipped)), "two are overdue");
    assert!(tick(45, Some(Outcome::Error)), "one that failed has come");
    assert!(
        tick(60, Some(Outcome::Skipped)) && tick(75, Some(Outcome::Halted)),
        "so has one that was halted"
    );
}

#[test]
fn why_nothing_was_measured_and_what_is_under_way_is_shown() {
    let staging = target("staging");
    let health = job(&HEALTH, &staging, "");
    let metrics = Metrics::new();
    metrics.apply(&plan(&[&health]));
    let has = |line: &str| {
        let (name, rest) = line.split_once('|').expect("name and rest");
        text(&metrics, 0).contains(&format!("{name}{{target=\"staging\",probe=\"health\"{rest}\n"))
    };
    assert!(has("redprobe_runs_in_progress|} 0"));
    metrics.began(&health);
    assert!(has("redprobe_runs_in_progress|} 1"));
    metrics.ended(&health);
    metrics.publish(&unmeasured(&health, 0, Outcome::Error, Reason::ConnectRefused));
    assert!(
        has("redprobe_runs_in_progress|} 0") && has("redprobe_run_unmeasured|,reason=\"connect_refused\"} 1")
    );
    metrics.publish(&measured(&health, 1, Report::default()));
    assert!(!text(&metrics, 1).contains("redprobe_run_unmeasured{"));
    metrics.began(&job(&STARVATION, &staging, ""));
    assert!(!text(&metrics, 1).contains("pool_starvation"), "what is not in the plan has no series");
}
