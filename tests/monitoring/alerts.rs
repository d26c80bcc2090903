//! What every alert has: texts, a severity, a heading in the runbook, a test that fires it and one that does not. And what
//! every recorded series has: a name by the rule, and a reader.
//!
//! Its expression is for `expressions`; what is exported for it by default for `emitted`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{
    dashboards::Dashboard,
    known::Known,
    rules::{Rule, RuleFile, TestFile},
    shipped,
    walk::Walk,
};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// What is wrong with the alerts of these files, besides their expressions.
pub(crate) fn check(rules: &[RuleFile], tests: &[TestFile], runbook: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let headings: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with("##")))
        .filter(|heading| heading.starts_with("Redprobe"))
        .collect();
    let mut names = BTreeSet::new();
    for (file, rule) in rules.iter().flat_map(|file| file.rules().map(move |rule| (file, rule))) {
        let Some(name) = &rule.alert else { continue };
        names.insert(name.as_str());
        let mut say = |what: String| wrong.push(format!("alerts/{}: {name}: {what}", file.file));
        wrong_texts(rule).into_iter().for_each(&mut say);
        if !headings.contains(name.as_str()) {
            say(format!(
                "alerts/runbook.md has no heading `## {name}`: say there what it means and what to do"
            ));
        }
        let expected: Vec<_> =
            tests.iter().flat_map(|file| &file.tests).flat_map(|case| &case.alert_rule_test).collect();
        let of_this = || expected.iter().filter(|test| test.alertname == *name);
        if !of_this().any(|test| !test.exp_alerts.is_empty()) {
            say("no test in alerts/tests shows it fire".into());
        }
        // One that is always there is silent at no time.
        if rule.expr.trim() != "vector(1)" && !of_this().any(|test| test.exp_alerts.is_empty()) {
            say("no test in alerts/tests shows it silent".into());
        }
    }
    for heading in headings.difference(&names) {
        wrong.push(format!("alerts/runbook.md: {heading} is no alert: remove the heading, or mend the name"));
    }
    for (file, case) in tests.iter().flat_map(|file| file.tests.iter().map(move |case| (file, case))) {
        for test in case.alert_rule_test.iter().filter(|test| !names.contains(test.alertname.as_str())) {
            wrong.push(format!(
                "alerts/tests/{}: {} is no alert: nothing is tested",
                file.file, test.alertname
            ));
        }
    }
    wrong
}

fn wrong_texts(rule: &Rule) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = rule.name();
    if !name.starts_with("Redprobe") {
        wrong.push("its name does not begin with Redprobe".into());
    }
    match rule.labels.get("severity").map(String::as_str) {
        Some(severity) if SEVERITIES.contains(&severity) || severity == "{{ $labels.severity }}" => {}
        other => wrong.push(format!("its severity is {other:?}: write {}", SEVERITIES.join(", "))),
    }
    for key in ["summary", "description"] {
        let text = rule.annotations.get(key).map_or("", |text| text.trim());
        if !text.ends_with(['.', '?']) {
            wrong.push(format!("its {key} is {text:?}: write a sentence"));
        }
    }
    // It is what notifications are grouped under.
    if rule.annotations.get("summary").is_some_and(|summary| summary.contains("{{")) {
        wrong.push("its summary is not the same for all: what varies belongs in the description".into());
    }
    let url = rule.annotations.get("runbook_url").map_or("", String::as_str);
    let anchor = format!("alerts/runbook.md\" }}}}#{}", name.to_lowercase());
    if !url.ends_with(&anchor) {
        wrong.push(format!("its runbook_url is {url:?}: let it end with {anchor}"));
    }
    wrong
}

/// What is wrong with the recorded series of these rules.
pub(crate) fn check_recorded(rules: &[RuleFile], dashboards: &[Dashboard], known: &Known) -> Vec<String> {
    let of_rules = rules.iter().flat_map(RuleFile::rules).flat_map(|rule| {
        let queries = rule.queries();
        std::iter::once(rule.expr.clone()).chain(queries)
    });
    let of_dashboards = dashboards.iter().flat_map(Dashboard::expressions).filter_map(|one| one.query.ok());
    let mut read = BTreeSet::new();
    for query in of_rules.chain(of_dashboards) {
        let mut walk = Walk::new(known);
        walk.expression(&query);
        read.extend(walk.names);
    }
    let mut wrong = Vec::new();
    for (file, rule) in rules.iter().flat_map(|file| file.rules().map(move |rule| (file, rule))) {
        let Some(name) = &rule.record else { continue };
        let mut say = |what: String| wrong.push(format!("alerts/{}: {name}: {what}", file.file));
        let parts: Vec<&str> = name.split(':').collect();
        if parts.len() != 3 || parts.iter().any(|part| part.is_empty()) || !parts[1].starts_with("redprobe_")
        {
            say("recorded series are named level:metric:operations, with a metric of redprobe's".into());
        }
        if parts.get(1).is_some_and(|metric| metric.ends_with("_total")) {
            say("a rate is no total: drop `_total` from its name".into());
        }
        if !read.contains(name) {
            say("no rule and no dashboard reads it: remove it".into());
        }
    }
    wrong
}

/// What is wrong with the series that these tests invent.
fn check_invented(tests: &[TestFile], known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in tests {
        for case in &file.tests {
            let series = case.input_series.iter().map(|input| &input.series);
            for text in series.chain(case.promql_expr_test.iter().map(|test| &test.expr)) {
                let mut walk = Walk::made_up(known);
                walk.expression(text);
                wrong.extend(
                    walk.wrong.iter().map(|what| format!("alerts/tests/{}: {text}: {what}", file.file)),
                );
            }
        }
    }
    wrong.dedup();
    wrong
}

fn runbook() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/runbook.md")).unwrap_or_default()
}

#[test]
fn every_alert_has_texts_a_heading_and_tests() {
    let wrong = check(&shipped().rules, &shipped().tests, &runbook());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_recorded_series_is_named_by_the_rule_and_read() {
    let wrong = check_recorded(&shipped().rules, &shipped().dashboards, &shipped().known);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn promtools_tests_invent_only_series_that_could_be() {
    let wrong = check_invented(&shipped().tests, &shipped().known);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_alert_is_one_thing() {
    // The same name at two severities says the same in both, so that one replaces the other.
    let mut summaries: BTreeMap<&str, BTreeSet<Option<&String>>> = BTreeMap::new();
    for rule in shipped().rules.iter().flat_map(RuleFile::rules).filter(|rule| rule.alert.is_some()) {
        summaries.entry(rule.name()).or_default().insert(rule.annotations.get("summary"));
    }
    for (name, summaries) in summaries {
        assert_eq!(summaries.len(), 1, "{name} has different summaries: {summaries:?}");
    }
}
