//! The readers of dashboards and rules, on small ones that are written here.

use super::{
    dashboards::{Dashboard, Purpose},
    rules::{RuleFile, TestFile},
};

const DASHBOARD: &str = r#"{
  "uid": "redprobe-small", "title": "Small",
  "templating": {"list": [
    {"name": "target", "type": "query", "query": {"query": "label_values(redprobe_up{job=~\"$job\"}, target)"},
     "includeAll": true, "allValue": ".*", "multi": true},
    {"name": "job", "type": "query", "query": "label_values(redprobe_up, job)", "includeAll": true},
    {"name": "quantile", "type": "custom", "query": "0.99, 0.5", "current": {"value": "0.5"}}
  ]},
  "annotations": {"list": [
    {"name": "Annotations & Alerts", "builtIn": 1, "datasource": {"uid": "-- Grafana --"}},
    {"name": "Halted", "expr": "redprobe_halted > 0", "titleFormat": "{{target}}"}
  ]},
  "panels": [
    {"id": 1, "type": "stat", "title": "Up", "targets": [{"expr": "redprobe_up{target=~\"$target\"}"}]},
    {"id": 2, "type": "row", "title": "More", "panels": [
      {"id": 3, "type": "timeseries", "title": "Runs", "targets": [
        {"expr": "rate(redprobe_runs_total{job=~\"${job:regex}\"}[$__rate_interval]) * $quantile", "legendFormat": "{{probe}}"}
      ]}
    ]}
  ]
}"#;

#[test]
fn every_expression_of_a_dashboard_is_found_with_its_variables_replaced() {
    let dashboard = Dashboard::read("small.json", DASHBOARD).expect("it is a dashboard");
    let found: Vec<_> = dashboard
        .expressions()
        .into_iter()
        .map(|expression| {
            let query = expression.query.expect("all its variables are known");
            (expression.purpose, expression.place, query, expression.legends[0].clone())
        })
        .collect();
    let expected = [
        (Purpose::Panel, "Up", r#"redprobe_up{target=~".*"}"#, ""),
        (Purpose::Panel, "Runs", r#"rate(redprobe_runs_total{job=~".+"}[1m]) * 0.5"#, "{{probe}}"),
        (Purpose::Annotation, "Halted", "redprobe_halted > 0", "{{target}}"),
        (Purpose::Variable, "target", r#"redprobe_up{job=~".+"}"#, "{{target}}"),
        (Purpose::Variable, "job", "redprobe_up", "{{job}}"),
    ];
    let expected: Vec<_> = expected
        .map(|(purpose, place, query, legend)| {
            (purpose, place.to_owned(), query.to_owned(), legend.to_owned())
        })
        .into();
    assert_eq!(found, expected);
}

#[test]
fn a_variable_that_nobody_declares_is_named() {
    let dashboard = Dashboard::read("small.json", DASHBOARD).expect("it is a dashboard");
    let error = dashboard.substitute(r#"redprobe_up{node=~"$node"}"#).expect_err("there is no such variable");
    assert_eq!(error, "there is no variable $node");
    assert_eq!(dashboard.substitute(r#"up{job=~"a$"}"#), Ok(r#"up{job=~"a$"}"#.into()));
}

#[test]
fn a_key_that_prometheus_does_not_know_is_refused() {
    let rules = "groups: [{name: a, rules: [{alert: B, expr: up, fro: 5m}]}]";
    let error = RuleFile::read("a.rules.yml", rules).expect_err("`fro` is no key");
    assert!(error.contains("a.rules.yml") && error.contains("fro"), "{error}");
    let twice = "groups: [{name: a, rules: [{alert: B, expr: up, expr: down}]}]";
    RuleFile::read("a.rules.yml", twice).expect_err("`expr` is there twice");
    let tests = "rule_files: [a.rules.yml]\ntests: [{alert_rule_tests: []}]";
    let error = TestFile::read("a.yml", tests).expect_err("`alert_rule_tests` is no key");
    assert!(error.contains("alert_rule_tests"), "{error}");
}
