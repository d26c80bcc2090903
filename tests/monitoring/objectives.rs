//! Every objective of every probe has an alert, and only one: a missed one that no alert names is silent, and one that two
//! name wakes somebody twice.

use std::collections::BTreeSet;

use redprobe::probes::PROBES;

use super::{
    known::Known,
    rules::{Rule, RuleFile},
    shipped,
    walk::Walk,
};

/// What is wrong with the division of objectives among these alerts.
pub(crate) fn check(rules: &[RuleFile], known: &Known) -> Vec<String> {
    let alerts: Vec<&Rule> =
        rules.iter().flat_map(RuleFile::rules).filter(|rule| rule.alert.is_some()).collect();
    let walks: Vec<(&str, Walk<'_>)> = alerts
        .iter()
        .map(|rule| {
            let mut walk = Walk::new(known);
            walk.expression(&rule.expr);
            (rule.name(), walk)
        })
        .collect();
    let mut wrong = Vec::new();
    for kind in PROBES {
        for objective in kind.objectives {
            let value = |label: &str| match label {
                "probe" => kind.name,
                "objective" => objective.name,
                _ => "",
            };
            let named = walks.iter().filter(|(_, walk)| {
                walk.selected.iter().any(|(_, matchers)| {
                    let is_about_objectives = matchers.iter().any(|matcher| matcher.name == "objective");
                    let mut about =
                        matchers.iter().filter(|matcher| ["probe", "objective"].contains(&&*matcher.name));
                    is_about_objectives && about.all(|matcher| matcher.is_match(value(&matcher.name)))
                })
            });
            let named: BTreeSet<&str> = named.map(|(name, _)| *name).collect();
            let whose = format!("{} of {}", objective.name, kind.name);
            match named.len() {
                0 => wrong.push(format!(
                    "no alert asks for the objective {whose}: leave it to RedprobeObjectiveMissed"
                )),
                1 => {}
                _ => wrong.push(format!("several alerts ask for the objective {whose}: {named:?}")),
            }
        }
    }
    wrong
}

#[test]
fn every_objective_has_one_alert() {
    let wrong = check(&shipped().rules, &shipped().known);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}
