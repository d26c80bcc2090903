//! Every metric of the catalogue is on a panel, or is left out for a reason that is written here.

use std::collections::BTreeSet;

use redprobe::sink::metrics::Metrics;

use super::{
    dashboards::{Dashboard, Purpose},
    expressions::series_of,
    known::Known,
    rules::RuleFile,
    shipped,
};

/// Metrics that no panel shows, and why.
const UNPLOTTED: &[(&str, &str)] = &[(
    "redprobe_cluster_unnamed_nodes",
    "0 on a configuration that names all; else an alert tells of it, and the log names them",
)];

/// The metrics of the catalogue that panels ask for, themselves or through what is recorded of them.
fn plotted(dashboards: &[Dashboard], rules: &[RuleFile], known: &Known) -> BTreeSet<&'static str> {
    let expressions = dashboards.iter().flat_map(Dashboard::expressions);
    let drawn = expressions.filter(|one| one.purpose != Purpose::Variable).filter_map(|one| one.query.ok());
    let names: BTreeSet<String> = drawn.flat_map(|query| series_of(&query, rules, known)).collect();
    names.iter().filter_map(|name| known.series(name)?.metric).collect()
}

/// What is neither plotted nor excused, and what is excused in vain.
pub(crate) fn check(plotted: &BTreeSet<&str>, excused: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let catalogue: BTreeSet<&str> = Metrics::catalogue().iter().map(|def| def.name).collect();
    for name in &catalogue {
        match (plotted.contains(name), excused.iter().any(|(metric, _)| metric == name)) {
            (false, false) => {
                wrong.push(format!("{name} is on no panel: put it on one, or into UNPLOTTED with a reason"));
            }
            (true, true) => wrong.push(format!("{name} is on a panel: take it out of UNPLOTTED")),
            _ => {}
        }
    }
    for (name, reason) in excused {
        if !catalogue.contains(name) {
            wrong.push(format!("{name} is in UNPLOTTED and not in the catalogue: take it out"));
        }
        if reason.split_whitespace().count() < 4 {
            wrong.push(format!(
                "{name} is in UNPLOTTED for the reason {reason:?}: say why nobody needs to see it"
            ));
        }
    }
    wrong
}

#[test]
fn every_metric_is_on_a_panel_or_left_out_for_a_reason() {
    let plotted = plotted(&shipped().dashboards, &shipped().rules, &shipped().known);
    let wrong = check(&plotted, UNPLOTTED);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}
