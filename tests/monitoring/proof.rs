//! The checker itself: a small set of rules and a small dashboard that are right, each broken in one way at a time. Every
//! break is found, and by its own finding.

use std::collections::BTreeSet;

use super::{
    alerts,
    dashboards::Dashboard,
    expressions, guides, hygiene,
    known::Known,
    plotted,
    rules::{RuleFile, TestFile},
};

const RULES: &str = r#"
groups:
  - name: small
    rules:
      - record: probe:redprobe_run_error_ratio:max
        expr: max without (phase, operation) (redprobe_run_error_ratio)
      - alert: RedprobeSmall
        expr: EXPR
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: Something is wrong.
          description: '{{ $labels.target }} has {{ $value }}. First: look.'
          runbook_url: '{{ or $externalLabels.runbooks "alerts/runbook.md" }}#redprobesmall'
"#;
const EXPR: &str = "probe:redprobe_run_error_ratio:max > 0";
const RUNBOOK: &str = "# Runbook\n\n## RedprobeSmall\n\nLook.\n";
const TESTS: &str = r#"
rule_files: [../small.rules.yml]
tests:
  - input_series:
      - {series: 'redprobe_run_error_ratio{target="a"}', values: '0 1x10'}
    alert_rule_test:
      - {eval_time: 1m, alertname: RedprobeSmall}
      - {eval_time: 9m, alertname: RedprobeSmall, exp_alerts: [{exp_labels: {target: a}}]}
"#;

fn rules(text: &str) -> Vec<RuleFile> {
    vec![RuleFile::read("small.rules.yml", text).expect("these are rules")]
}

fn tests(text: &str) -> Vec<TestFile> {
    vec![TestFile::read("small.yml", text).expect("these are tests")]
}

fn findings_of_rule(expr: &str) -> Vec<String> {
    let quoted = format!("'{}'", expr.replace('\'', "''"));
    let rules = rules(&RULES.replace("EXPR", &quoted));
    expressions::check(&rules, &[], &Known::with(&rules))
}

#[test]
fn a_rule_that_asks_for_what_there_is_is_good() {
    let good = [
        EXPR,
        r#"redprobe_objective_met{probe="pool_starvation",objective="timeout_rate",severity="critical"} == 0"#,
        r#"redprobe_objective_met{objective=~"(basic|concurrent)_p95|timeout_rate"} == 0"#,
        r#"rate(redprobe_run_failures_total{reason!="objective"}[5m]) > 0 and on (job, instance, target, node) redprobe_up"#,
        "redprobe_objective_observed > ignoring () redprobe_objective_limit",
        "histogram_quantile(0.99, sum without (pool) (rate(redprobe_pool_wait_seconds_bucket[5m]))) > 0",
        "redprobe_run_success == 0 and on (job, instance, target, node) redprobe_target_info{profile=~\"store|buffer\"}",
        "redprobe_run_success * on (job, instance, target, node) group_left (profile) redprobe_target_info == 0",
    ];
    for expr in good {
        let found = findings_of_rule(expr);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// An expression, what is wrong with it, and what to do.
const WRONG: &[(&str, &str, &str)] = &[
    ("redprobe_upp == 0", "`redprobe_upp` is not in the catalogue", "was redprobe_up meant?"),
    (
        "redprobe_up{level=\"x\"} == 0",
        "redprobe_up has no label `level`",
        "there is instance, job, node, target",
    ),
    ("sum without (phse) (redprobe_run_error_ratio) > 0", "has no label `phse`", "phase"),
    (
        "redprobe_up == 0 and on (target, probe) redprobe_halted",
        "has no label `probe`",
        "the right of `and on`",
    ),
    (
        "redprobe_up == 0 and redprobe_run_success == 1",
        "only one has probe, variant",
        "say on (…) or ignoring (…)",
    ),
    (
        "redprobe_up * on (target) group_left (profile) redprobe_halted > 0",
        "has no label `profile`",
        "one side",
    ),
    ("redprobe_pool_wait_seconds > 0", "is a histogram", "ask for redprobe_pool_wait_seconds_bucket"),
    ("redprobe_runs_total > 0", "`redprobe_runs_total` is a counter", "use rate()"),
    ("rate(redprobe_up[5m]) > 0", "`redprobe_up` is a gauge", "use delta()"),
    (
        r#"redprobe_objective_met{probe="pool_starvation",objective="timeout_ratio"} == 0"#,
        r#"objective "timeout_ratio" matches nothing"#,
        "timeout_rate",
    ),
    (
        r#"redprobe_objective_met{probe="throughput",objective=~"sustained_p99|basic_p95"} == 0"#,
        r#"objective "basic_p95" matches nothing"#,
        "of throughput",
    ),
    (
        r#"redprobe_run_success{probe="pool_starving"} == 0"#,
        r#"probe "pool_starving" matches nothing"#,
        "pool_starvation",
    ),
    (
        r#"redprobe_objective_met{severity="high"} == 0"#,
        r#"severity "high" matches nothing"#,
        "critical, info, warning",
    ),
    (r#"redprobe_run_error_ratio{phase="sustaind"} > 0"#, r#"phase "sustaind" matches nothing"#, "sustained"),
    (r#"rate(redprobe_run_failures_total{reason="timed_out"}[5m]) > 0"#, r#"reason "timed_out""#, "was "),
    (r#"redprobe_doubts{doubt=~"unsure|lag"} > 0"#, r#"doubt "lag" matches nothing"#, "event_loop_lag"),
    (r#"redprobe_up{target="staging"} == 0"#, "a name of somebody's configuration", "leave it out"),
    ("redprobe_run_error_ratio > 0.05", "it compares with 0.05", "take the limit of an objective"),
    (
        "redprobe_objective_observed > 0.5",
        "what an objective observed is compared with 0.5",
        "redprobe_objective_limit",
    ),
    (
        "max by (target, probe, variant) (redprobe_run_error_ratio) > 0",
        "`by` drops `node`",
        "use without (…)",
    ),
    ("sum(redprobe_up) == 0", "a text names the label `target`", "the result has not"),
    (
        "histogram_quantile(0.9, rate(redprobe_pool_wait_seconds_sum[5m])) > 0",
        "needs the label `le`",
        "_bucket",
    ),
    ("redprobe_up == (", "it is not PromQL", ""),
    ("rate(redprobe_runs_total[$__rate_interval]) > 0", "it is not PromQL", ""),
    ("{__name__=~\"redprobe_.+\"} > 0", "names no metric", ""),
];

#[test]
fn a_rule_that_asks_for_what_there_is_not_is_found() {
    for (expr, what, remedy) in WRONG {
        let found = findings_of_rule(expr).join("\n");
        let places = ["alerts/small.rules.yml: RedprobeSmall", *expr, *what, *remedy];
        assert!(places.into_iter().all(|part| found.contains(part)), "{expr}: {what}? found:\n{found}");
    }
}

#[test]
fn a_text_that_asks_for_what_there_is_not_is_found() {
    let text = |query: &str| {
        let description =
            format!("'{{{{ with query (printf \"{query}\" $labels.target) }}}}x{{{{ end }}}}.'");
        let old = "'{{ $labels.target }} has {{ $value }}. First: look.'";
        let rules = rules(&RULES.replace("EXPR", EXPR).replace(old, &description));
        expressions::check(&rules, &[], &Known::with(&rules)).join("\n")
    };
    assert_eq!(text("redprobe_up{target=%q}"), "");
    assert!(text("redprobe_upp{target=%q}").contains("`redprobe_upp` is not in the catalogue"));
    assert!(text("redprobe_up{probe=%q}").contains("redprobe_up has no label `probe`"));
}

#[test]
fn an_alert_without_what_it_needs_is_found() {
    let good = RULES.replace("EXPR", EXPR);
    let check = |rules_text: &str, tests_text: &str, runbook: &str| {
        let rules = rules(rules_text);
        let recorded = alerts::check_recorded(&rules, &[], &Known::with(&rules));
        let found = alerts::check(&rules, &tests(tests_text), runbook);
        found.into_iter().chain(recorded).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(check(&good, TESTS, RUNBOOK), "");
    let cases = [
        ("severity: warning", "severity: page", "its severity is Some(\"page\")"),
        (
            "summary: Something is wrong.",
            "summary: Wrong at {{ $labels.target }}.",
            "its summary is not the same for all",
        ),
        ("summary: Something is wrong.", "dashboard_url: x", "its summary is \"\": write a sentence"),
        ("#redprobesmall", "#redprobebig", "let it end with alerts/runbook.md\" }}#redprobesmall"),
        ("alert: RedprobeSmall", "alert: Small", "its name does not begin with Redprobe"),
        (
            "alert: RedprobeSmall",
            "alert: RedprobeOther",
            "alerts/runbook.md has no heading `## RedprobeOther`",
        ),
        ("alert: RedprobeSmall", "alert: RedprobeOther", "alerts/runbook.md: RedprobeSmall is no alert"),
        ("alert: RedprobeSmall", "alert: RedprobeOther", "alerts/tests/small.yml: RedprobeSmall is no alert"),
        ("record: probe:", "record: ", "recorded series are named level:metric:operations"),
        (EXPR, "redprobe_up == 0", "probe:redprobe_run_error_ratio:max: no rule and no dashboard reads it"),
    ];
    for (from, to, what) in cases {
        let found = check(&good.replace(from, to), TESTS, RUNBOOK);
        assert!(found.contains(what), "{to}: {what}? found:\n{found}");
    }
    let silent = TESTS.replace(", exp_alerts: [{exp_labels: {target: a}}]", "");
    assert!(check(&good, &silent, RUNBOOK).contains("no test in alerts/tests shows it fire"));
    let firing = TESTS.replace("      - {eval_time: 1m, alertname: RedprobeSmall}\n", "");
    assert!(check(&good, &firing, RUNBOOK).contains("no test in alerts/tests shows it silent"));
}

const DASHBOARD: &str = r#"{
  "id": null, "uid": "redprobe-small", "title": "Small", "description": "For a test.", "editable": false, "schemaVersion": 39,
  "templating": {"list": [
    {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
    {"name": "job", "type": "query", "query": "label_values(redprobe_build_info, job)", "datasource": {"uid": "${datasource}"},
     "multi": true, "includeAll": true, "allValue": ".+", "refresh": 2},
    {"name": "instance", "type": "query", "query": "label_values(redprobe_build_info{job=~\"$job\"}, instance)",
     "datasource": {"uid": "${datasource}"}, "multi": true, "includeAll": true, "allValue": ".+", "refresh": 2},
    {"name": "target", "type": "query", "query": "label_values(redprobe_up{job=~\"$job\"}, target)",
     "datasource": {"uid": "${datasource}"}, "multi": true, "includeAll": true, "allValue": ".+", "refresh": 2},
    {"name": "daemon", "type": "textbox", "query": "http://localhost:19121"}
  ]},
  "links": [{"type": "link", "url": "/d/redprobe-small"}, {"type": "link", "url": "${daemon}/"}],
  "panels": [
    {"id": 1, "type": "stat", "title": "Up", "description": "Whether it answers.",
     "datasource": {"uid": "${datasource}"}, "gridPos": {"h": 4, "w": 12, "x": 0, "y": 0},
     "fieldConfig": {"defaults": {"unit": "none", "thresholds": {"steps": [{"value": null}, {"value": 1}]}}},
     "targets": [{"refId": "A", "expr": "redprobe_up{job=~\"$job\",instance=~\"$instance\",target=~\"$target\"}", "legendFormat": "{{target}}"}]},
    {"id": 2, "type": "table", "title": "Runs", "description": "How often it ran.",
     "datasource": {"uid": "${datasource}"}, "gridPos": {"h": 4, "w": 12, "x": 12, "y": 0},
     "fieldConfig": {"defaults": {"unit": "ops"}},
     "transformations": [{"id": "organize", "options": {"excludeByName": {"variant": true}}}],
     "targets": [{"refId": "A", "expr": "rate(redprobe_runs_total{job=~\"$job\",instance=~\"$instance\",target=~\"$target\"}[$__rate_interval])"}]}
  ]
}"#;

fn findings_of_dashboard(text: &str) -> String {
    let dashboards = [Dashboard::read("small.json", text).expect("it is a dashboard")];
    let known = Known::with(&[]);
    let mut found = expressions::check(&[], &dashboards, &known);
    found.extend(hygiene::check(&dashboards[0], &known));
    found.extend(guides::check(&dashboards, &known));
    found.join("\n")
}

#[test]
fn a_dashboard_that_breaks_the_form_is_found() {
    assert_eq!(findings_of_dashboard(DASHBOARD), "");
    let cases = [
        ("redprobe_runs_total{", "redprobe_run_total{", "`redprobe_run_total` is not in the catalogue"),
        ("redprobe_runs_total{", "redprobe_pool_wait_seconds{", "is a histogram"),
        ("{{target}}", "{{probe}}", "a text names the label `probe`"),
        ("[$__rate_interval]", "[5m]", "the window [5m] is fixed"),
        ("[$__rate_interval]", "[$__interval]", "the window [$__interval] is fixed"),
        (r#"target=~\"$target\"}","#, r#"target=~\"$host\"}","#, "there is no variable $host"),
        (r#",target=~\"$target\"}","#, r#"}","#, "`redprobe_up` is not matched with target=~\"$target\""),
        (r#"target=~\"$target\"}","#, r#"target=\"$target\"}","#, "target is matched with `=`"),
        (
            "redprobe_up{job=~\\\"$job\\\"}, target",
            "redprobe_up{jobs=~\\\"$job\\\"}, target",
            "has no label `jobs`",
        ),
        (
            "redprobe_up{job=~\\\"$job\\\"}, target",
            "redprobe_up{job=~\\\"$job\\\"}, host",
            "a text names the label `host`",
        ),
        ("\"x\": 12", "\"x\": 11", "panels \"Up\" and \"Runs\" overlap"),
        ("\"x\": 12", "\"x\": 13", "does not fit the grid"),
        ("\"id\": 2", "\"id\": 1", "has no id, or another's"),
        ("\"unit\": \"ops\"", "\"decimals\": 1", "panel \"Runs\" has no unit"),
        ("Whether it answers.", "", "panel \"Up\" has no description"),
        ("\"title\": \"Runs\"", "\"title\": \"\"", "has no title"),
        ("\"uid\": \"redprobe-small\"", "\"uid\": \"x7f\"", "let it be \"redprobe-small\""),
        ("\"editable\": false", "\"editable\": true", "it is editable"),
        ("\"id\": null", "\"id\": 7", "it has an id"),
        ("\"id\": null", "\"__inputs\": []", "it has __inputs"),
        ("\"allValue\": \".+\"", "\"allValue\": null", "the variable `job` is not a query with multi"),
        ("\"name\": \"datasource\"", "\"name\": \"source\"", "exactly one variable of type datasource"),
        ("\"name\": \"instance\"", "\"name\": \"instances\"", "it has no variable `instance`"),
        (
            "{\"uid\": \"${datasource}\"}, \"gridPos\"",
            "{\"uid\": \"abc\"}, \"gridPos\"",
            "does not take its data source",
        ),
        ("/d/redprobe-small", "/d/redprobe-large", "which is no dashboard here"),
        ("${daemon}/", "${daemon}/status", "which the daemon does not serve"),
        ("\"${daemon}/\"", "\"https://example.com\"", "leads away"),
        ("{\"value\": 1}", "{\"value\": 0.05}", "changes its colour at 0.05"),
        ("\"variant\": true", "\"flavour\": true", "names the field \"flavour\""),
    ];
    for (from, to, what) in cases {
        assert!(DASHBOARD.contains(from), "{from}");
        let found = findings_of_dashboard(&DASHBOARD.replace(from, to));
        let line = found.lines().any(|line| line.contains(what));
        assert!(line && found.contains("grafana/dashboards/small.json"), "{to}: {what}? found:\n{found}");
    }
}

#[test]
fn a_metric_that_nobody_sees_is_found() {
    let all: BTreeSet<&str> =
        redprobe::sink::metrics::Metrics::catalogue().iter().map(|def| def.name).collect();
    let mut but_one = all.clone();
    but_one.remove("redprobe_up");
    let reason = "health is shown as an outcome";
    assert_eq!(plotted::check(&all, &[]), Vec::<String>::new());
    assert_eq!(plotted::check(&but_one, &[("redprobe_up", reason)]), Vec::<String>::new());
    assert!(plotted::check(&but_one, &[])[0].contains("redprobe_up is on no panel"));
    let cases = [
        (&all, ("redprobe_up", reason), "redprobe_up is on a panel"),
        (&all, ("redprobe_upp", reason), "redprobe_upp is in UNPLOTTED and not in the catalogue"),
        (&but_one, ("redprobe_up", "later"), "say why nobody needs to see it"),
    ];
    for (plotted, excused, what) in cases {
        let found = plotted::check(plotted, &[excused]).join("\n");
        assert!(found.contains(what), "{what}? found:\n{found}");
    }
}
