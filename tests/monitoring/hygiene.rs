//! What every dashboard keeps to, whatever it shows: its variables, and the form of its panels.
//!
//! Where its links lead and whether limits are drawn is in `guides`; its expressions are for `expressions`.

use std::collections::BTreeSet;

use promql_parser::label::MatchOp;
use serde_json::Value;

use super::{
    dashboards::{Dashboard, Panel, Purpose, Variable},
    known::Known,
    shipped,
    walk::Walk,
};

/// The variables that choose what is shown, each matched by the label of its name.
const CHOICES: [&str; 4] = ["job", "instance", "target", "probe"];

/// What is wrong with a dashboard, besides its expressions.
pub(crate) fn check(dashboard: &Dashboard, known: &Known) -> Vec<String> {
    let wrong = [
        wrong_head(dashboard),
        wrong_variables(dashboard),
        dashboard.panels().flat_map(wrong_panel).collect(),
        wrong_datasources(dashboard),
        wrong_ids(dashboard),
        wrong_grid(dashboard),
        wrong_choices(dashboard, known),
    ];
    wrong.into_iter().flatten().map(|what| format!("grafana/dashboards/{}: {what}", dashboard.file)).collect()
}

fn wrong_head(dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = Vec::new();
    let uid = format!("redprobe-{}", dashboard.file.trim_end_matches(".json"));
    if dashboard.uid != uid {
        wrong.push(format!(
            "its uid is {:?}: let it be {uid:?}, after the file, so that links stay good",
            dashboard.uid
        ));
    }
    if dashboard.title.is_empty() || dashboard.description.is_empty() {
        wrong.push("it has no title or no description".into());
    }
    if dashboard.editable != Some(false) {
        wrong.push(
            "it is editable: say `\"editable\": false`, since what is changed in Grafana is lost".into(),
        );
    }
    if dashboard.id.is_some() {
        wrong.push("it has an id, which is one installation's: say `\"id\": null`".into());
    }
    if dashboard.schema_version.is_none_or(|version| version < 36) {
        wrong.push("its schemaVersion is older than 36, or there is none".into());
    }
    if dashboard.inputs.is_some() || dashboard.requires.is_some() {
        wrong.push("it has __inputs or __requires, which provisioning does not fill in: remove them".into());
    }
    wrong
}

fn wrong_variables(dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = Vec::new();
    let of_source: Vec<&Variable> =
        dashboard.variables().iter().filter(|one| one.kind == "datasource").collect();
    if of_source.len() != 1 || of_source.iter().any(|one| one.name != "datasource" || one.label.is_empty()) {
        wrong.push(
            "it does not have exactly one variable of type datasource, called `datasource`, with a label"
                .into(),
        );
    }
    for name in ["job", "instance"] {
        if !dashboard.variables().iter().any(|variable| variable.name == name) {
            wrong.push(format!("it has no variable `{name}`"));
        }
    }
    for variable in dashboard.variables().iter().filter(|variable| CHOICES.contains(&variable.name.as_str()))
    {
        let all = variable.multi && variable.include_all && variable.all_value.as_deref() == Some(".+");
        if variable.kind != "query" || !all || variable.refresh != 2 {
            wrong.push(format!(
                "the variable `{}` is not a query with multi, includeAll, allValue \".+\" and refresh 2 (on time change)",
                variable.name
            ));
        }
        let equal = format!("{}=\"$", variable.name);
        for expression in dashboard.expressions().iter().filter(|expression| expression.text.contains(&equal))
        {
            wrong.push(format!(
                "{:?}: {} is matched with `=`, which finds nothing where several are chosen: use `=~`",
                expression.place, variable.name
            ));
        }
    }
    wrong
}

fn wrong_panel(panel: &Panel) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |what: &str| wrong.push(format!("panel {:?} {what}", panel.title));
    if panel.title.is_empty() {
        say(&format!("({:?}) has no title", panel.id));
    }
    if panel.description.split_whitespace().count() < 3 {
        say("has no description: say what it shows, and what to do about it");
    }
    if panel.kind == "text" {
        return wrong;
    }
    if panel.field_config.defaults.unit.as_deref().is_none_or(str::is_empty) {
        say("has no unit: say `none` or `short` where there is none");
    }
    let ids: BTreeSet<&str> = panel.targets.iter().map(|target| target.ref_id.as_str()).collect();
    if panel.targets.is_empty() || panel.targets.iter().any(|target| target.expr.is_empty()) {
        say("has no query, or an empty one");
    } else if ids.len() < panel.targets.len() || ids.contains("") {
        say("has queries with the same refId, or without one");
    }
    wrong
}

fn wrong_datasources(dashboard: &Dashboard) -> Vec<String> {
    let source = Value::from("${datasource}");
    let is_variable = |found: &Option<Value>| found.as_ref().is_some_and(|found| found["uid"] == source);
    let mut wrong = Vec::new();
    for panel in dashboard.panels().filter(|panel| panel.kind != "text") {
        let of_targets = panel.targets.iter().map(|target| &target.datasource).filter(|one| one.is_some());
        if !std::iter::once(&panel.datasource).chain(of_targets).all(is_variable) {
            wrong.push(format!("panel {:?} does not take its data source from ${{datasource}}", panel.title));
        }
    }
    for annotation in dashboard.annotations().filter(|annotation| !is_variable(&annotation.datasource)) {
        wrong.push(format!(
            "annotation {:?} does not take its data source from ${{datasource}}",
            annotation.name
        ));
    }
    for variable in dashboard.variables().iter().filter(|variable| variable.kind == "query") {
        if !is_variable(&variable.datasource) {
            wrong.push(format!(
                "variable {:?} does not take its data source from ${{datasource}}",
                variable.name
            ));
        }
    }
    wrong
}

fn wrong_ids(dashboard: &Dashboard) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let twice = dashboard.rows_and_panels().filter(|panel| panel.id.is_none() || !seen.insert(panel.id));
    twice.map(|panel| format!("panel {:?} has no id, or another's: {:?}", panel.title, panel.id)).collect()
}

fn wrong_grid(dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = Vec::new();
    for panels in dashboard.grids() {
        let mut placed: Vec<(&Panel, super::dashboards::GridPos)> = Vec::new();
        for panel in panels {
            let Some(place) = panel.grid_pos else {
                wrong.push(format!("panel {:?} has no gridPos", panel.title));
                continue;
            };
            if place.x + place.w > 24 || place.w == 0 || place.h == 0 {
                wrong.push(format!("panel {:?} does not fit the grid, which is 24 wide", panel.title));
            }
            for (other, there) in &placed {
                let apart = place.x + place.w <= there.x
                    || there.x + there.w <= place.x
                    || place.y + place.h <= there.y
                    || there.y + there.h <= place.y;
                if !apart {
                    wrong.push(format!("panels {:?} and {:?} overlap: move one", other.title, panel.title));
                }
            }
            placed.push((panel, place));
        }
    }
    wrong
}

/// Every query follows what is chosen at the top: one that does not mixes two installations in one line.
fn wrong_choices(dashboard: &Dashboard, known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    let has = |name: &str| dashboard.variables().iter().any(|variable| variable.name == name);
    for expression in dashboard.expressions().iter().filter(|one| one.purpose != Purpose::Variable) {
        let Ok(query) = &expression.query else { continue };
        let mut walk = Walk::new(known);
        walk.expression(query);
        for (name, matchers) in &walk.selected {
            let Some(series) = known.series(name) else { continue };
            // That one is there whatever is chosen: whether it is shows whether there are alerts at all.
            if matchers
                .iter()
                .any(|matcher| matcher.value == "RedprobeWatchdog" && matches!(matcher.op, MatchOp::Equal))
            {
                continue;
            }
            for label in CHOICES.into_iter().filter(|label| series.labels.contains(*label)) {
                // A query that is about one probe, or one objective, has chosen; marks are of all.
                let pinned = matchers
                    .iter()
                    .any(|matcher| matcher.name == "objective" && matches!(matcher.op, MatchOp::Equal));
                let by_choice =
                    has("probe") && series.probe.is_none() && expression.purpose == Purpose::Panel && !pinned;
                let needed = label != "probe" || by_choice;
                if needed && !matchers.iter().any(|matcher| matcher.name == label) {
                    wrong.push(format!(
                        "{:?}: `{name}` is not matched with {label}=~\"${label}\"",
                        expression.place
                    ));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn every_dashboard_keeps_to_the_form() {
    let shipped = shipped();
    let wrong: Vec<String> =
        shipped.dashboards.iter().flat_map(|dashboard| check(dashboard, &shipped.known)).collect();
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}
