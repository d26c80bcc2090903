//! What guides the eye and the hand on a dashboard: limits drawn beside what they limit, colours that change at no number of
//! their own, links that lead somewhere, and names of fields that are there.

use std::collections::BTreeSet;

use measure::report::Unit;
use promql_parser::label::Matcher;
use redprobe::probes::PROBES;

use super::{
    dashboards::{Dashboard, Panel},
    known::Known,
    shipped,
    walk::Walk,
};

/// Dashboards that draw the limit of every objective of these probes.
const DRAWN: &[(&str, &[&str])] = &[
    ("latency.json", &["latency_baseline", "throughput"]),
    (
        "pools.json",
        &[
            "client_census",
            "mixed_workload",
            "pool_exhaustion",
            "pool_sizing",
            "pool_starvation",
            "split_pool",
        ],
    ),
];

/// Objectives whose limit is drawn on none of them: probe, objective, why.
const NOT_DRAWN: &[(&str, &str, &str)] = &[
    (
        "latency_baseline",
        "memory_recovery",
        "a share at the end of one phase: the table of objectives shows it",
    ),
    ("client_census", "idle_share", "worth knowing, no more: the table of objectives shows it"),
    (
        "client_census",
        "declared_ratio",
        "it changes with the configuration alone: the table of objectives shows it",
    ),
    (
        "mixed_workload",
        "blocked_share",
        "the probe has no figure of it beside the objective, which is in the table",
    ),
    ("split_pool", "pool_utilisation", "bars of two pools side by side; the table of objectives shows it"),
];

/// Numbers where a colour changes, other than 0 and 1: the panel, the number, why.
const STEPS: &[(&str, f64, &str)] = &[
    ("Last change", 3600.0, "a change is news for an hour, and no objective is about when it was"),
    (
        "Event loop lag",
        0.01,
        "the daemon has no objectives; this is where it begins to doubt its own figures",
    ),
    ("Event loop lag", 0.1, "the daemon has no objectives; ten times where it begins to doubt"),
    ("Open files", 0.7, "the process has no objectives; its limit is the kernel's"),
    ("Open files", 0.9, "the process has no objectives; its limit is the kernel's"),
    ("Running for", 600.0, "a daemon that started ten minutes ago has counters that say little"),
    ("Trials agreed", 0.8, "how sure the search is; no objective is about it"),
    (
        "Audits, target by target",
        0.8,
        "the share of checks that passed; objectives are about those that fail",
    ),
    ("Doubts by job", 2.0, "one doubt, or several"),
    ("Roles", 600.0, "a server that restarted ten minutes ago is news, and no objective is about it"),
    ("Targets", 600.0, "a server that restarted ten minutes ago is news, and no objective is about it"),
    ("Targets", 604_800.0, "a week until the certificate expires; no objective is about it"),
    ("Targets", 2_592_000.0, "a month until the certificate expires; no objective is about it"),
];

/// What a browser finds at the daemon.
const ROUTES: [&str; 5] = ["/", "/runs/", "/metrics", "/config", "/api/v1/"];

/// What is wrong with what guides on these dashboards.
pub(crate) fn check(dashboards: &[Dashboard], known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    for dashboard in dashboards {
        let mut say = |what: String| wrong.push(format!("grafana/dashboards/{}: {what}", dashboard.file));
        for url in urls(dashboard) {
            for url in with_fields(&url, dashboard, known) {
                wrong_link(&url, dashboard, dashboards).into_iter().for_each(&mut say);
            }
        }
        for panel in dashboard.panels() {
            // Where it shows what is observed over its limit, a number is a share of that limit.
            let is_share =
                panel.targets.iter().any(|target| target.expr.contains("/ (redprobe_objective_limit"));
            let is_counted = panel.targets.iter().any(|target| target.expr.contains("increase("));
            for step in steps(panel).filter(|step| !is_plain(*step, is_counted) && !is_share) {
                if !STEPS.iter().any(|(title, number, _)| *title == panel.title && *number == step) {
                    say(format!(
                        "panel {:?} changes its colour at {step}: draw redprobe_objective_limit, or colour by \
                         redprobe_objective_met, or name it in STEPS with a reason",
                        panel.title
                    ));
                }
            }
            wrong_fields(panel, dashboard, known).into_iter().for_each(&mut say);
        }
    }
    wrong
}

/// The numbers where a panel changes its colour, those of single fields too.
fn steps(panel: &Panel) -> impl Iterator<Item = f64> {
    let of_fields = panel.field_config.overrides.iter().flat_map(|one| &one.properties);
    let of_fields = of_fields.filter(|property| property.id == "thresholds");
    let of_fields = of_fields.flat_map(|property| property.value["steps"].as_array().into_iter().flatten());
    let of_fields = of_fields.filter_map(|step| step["value"].as_f64());
    panel.field_config.defaults.thresholds.steps.iter().filter_map(|step| step.value).chain(of_fields)
}

/// Nothing, something, all: not numbers that somebody may want to set. increase() of one is rarely a whole one.
fn is_plain(step: f64, is_counted: bool) -> bool {
    [0.0, 1e-6, 1.0].contains(&step) || (is_counted && step == 0.5)
}

/// Every address on a dashboard.
fn urls(dashboard: &Dashboard) -> BTreeSet<String> {
    let of_panels =
        dashboard.panels().flat_map(|panel| panel.links.iter().chain(&panel.field_config.defaults.links));
    let declared = dashboard.links.iter().chain(of_panels).filter(|link| link.kind != "dashboards");
    let overrides = dashboard.panels().flat_map(|panel| &panel.field_config.overrides);
    let of_fields = overrides.flat_map(|one| &one.properties).filter(|property| property.id == "links");
    let of_fields = of_fields.flat_map(|property| property.value.as_array().into_iter().flatten());
    let of_fields = of_fields.filter_map(|link| link["url"].as_str());
    declared.map(|link| link.url.as_str()).chain(of_fields).map(str::to_owned).collect()
}

/// The addresses that one becomes where it has the value of a field that label_replace() makes.
fn with_fields(url: &str, dashboard: &Dashboard, known: &Known) -> BTreeSet<String> {
    let walks = dashboard.expressions().into_iter().filter_map(|one| one.query.ok()).map(|query| {
        let mut walk = Walk::new(known);
        walk.expression(&query);
        walk.replacements
    });
    let filled = |(field, value): (String, String)| {
        let place = format!("${{__data.fields.{field}}}");
        url.contains(&place).then(|| url.replace(&place, &value))
    };
    let all: BTreeSet<String> = walks.flatten().filter_map(filled).collect();
    if all.is_empty() { [url.to_owned()].into() } else { all }
}

fn wrong_link(url: &str, dashboard: &Dashboard, dashboards: &[Dashboard]) -> Option<String> {
    if let Some(rest) = url.strip_prefix("/d/") {
        let uid = rest.split(['/', '?']).next().unwrap_or_default();
        let there = dashboards.iter().any(|dashboard| dashboard.uid == uid);
        return (!there).then(|| format!("the link {url} leads to {uid}, which is no dashboard here"));
    }
    // Grafana's own page of rules.
    if url.starts_with("/alerting/list?") {
        return None;
    }
    let Some(route) = url.strip_prefix("${daemon}") else {
        return Some(format!("the link {url:?} leads away: begin it with /d/UID, or with ${{daemon}}"));
    };
    if !dashboard.variables().iter().any(|variable| variable.name == "daemon") {
        return Some(format!("the link {url} needs the variable `daemon`"));
    }
    let path = route.split('?').next().unwrap_or_default();
    let there = path == "/" || ROUTES[1..].iter().any(|route| path.starts_with(route));
    (!there).then(|| format!("the link {url} leads to {path}, which the daemon does not serve: {ROUTES:?}"))
}

/// Names of fields in tables that no query gives: nothing is hidden, moved or coloured then.
fn wrong_fields(panel: &Panel, dashboard: &Dashboard, known: &Known) -> Vec<String> {
    let mut fields: BTreeSet<String> = ["Time", "Value", "__name__"].map(str::to_owned).into();
    for target in &panel.targets {
        let Ok(query) = dashboard.substitute(&target.expr) else { return Vec::new() };
        fields.extend(Walk::new(known).expression(&query).unwrap_or_default());
        fields.insert(format!("Value #{}", target.ref_id));
        fields.insert(target.legend_format.clone());
    }
    let mut wrong = Vec::new();
    // Other steps make fields of values.
    if panel.transformations.iter().any(|step| !["merge", "organize", "sortBy"].contains(&step.id.as_str())) {
        return wrong;
    }
    let mut named = BTreeSet::new();
    for step in panel.transformations.iter().filter(|step| step.id == "organize") {
        for list in ["excludeByName", "indexByName", "renameByName"] {
            named.extend(step.options[list].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
        let renamed = step.options["renameByName"].as_object().into_iter().flatten();
        fields.extend(renamed.filter_map(|(_, name)| name.as_str()).map(str::to_owned));
    }
    // A legend that is made of labels is not known before there are some.
    if panel.kind == "table" {
        let by_name = panel.field_config.overrides.iter().filter(|one| one.matcher.id == "byName");
        named.extend(by_name.filter_map(|one| one.matcher.options.as_str()).map(str::to_owned));
    }
    let ids: BTreeSet<&str> = panel.targets.iter().map(|target| target.ref_id.as_str()).collect();
    for one in panel.field_config.overrides.iter().filter(|one| one.matcher.id == "byFrameRefID") {
        if !one.matcher.options.as_str().is_some_and(|id| ids.contains(id)) {
            wrong.push(format!(
                "panel {:?} has an override for the query {}, which it has not",
                panel.title, one.matcher.options
            ));
        }
    }
    for name in named.difference(&fields) {
        wrong
            .push(format!("panel {:?} names the field {name:?}, which its queries do not give", panel.title));
    }
    wrong
}

/// Which limits a dashboard draws by name: what each query for one matches.
fn drawn(dashboard: &Dashboard, known: &Known) -> Vec<Vec<Matcher>> {
    let walks = dashboard.expressions().into_iter().filter_map(|one| one.query.ok()).map(|query| {
        let mut walk = Walk::new(known);
        walk.expression(&query);
        walk.selected
    });
    let limits = walks.flatten().filter(|(name, _)| name == "redprobe_objective_limit");
    let by_name = |matchers: &Vec<Matcher>| matchers.iter().any(|matcher| matcher.name == "objective");
    limits.map(|(_, matchers)| matchers).filter(by_name).collect()
}

fn matches(matchers: &[Matcher], label: &str, value: &str) -> bool {
    matchers.iter().filter(|matcher| matcher.name == label).all(|matcher| matcher.is_match(value))
}

fn wrong_limits(dashboards: &[Dashboard], known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, probes) in DRAWN {
        let Some(dashboard) = dashboards.iter().find(|dashboard| dashboard.file == *file) else {
            wrong.push(format!("grafana/dashboards/{file} is not there"));
            continue;
        };
        let drawn = drawn(dashboard, known);
        for kind in PROBES.iter().filter(|kind| probes.contains(&kind.name)) {
            // A limit of nothing is the axis, and what is counted up to one is a yes or a no.
            let drawable = kind
                .objectives
                .iter()
                .filter(|def| def.limit != 0.0 && !(def.limit == 1.0 && def.unit == Unit::Count));
            for objective in drawable.map(|def| def.name) {
                let excused =
                    NOT_DRAWN.iter().any(|(probe, name, _)| *probe == kind.name && *name == objective);
                let is_drawn = drawn.iter().any(|limit| {
                    matches(limit, "probe", kind.name) && matches(limit, "objective", objective)
                });
                match (is_drawn, excused) {
                    (false, false) => wrong.push(format!(
                        "grafana/dashboards/{file} does not draw the limit of {objective} of {}: put it on a panel, or into \
                         NOT_DRAWN with a reason",
                        kind.name
                    )),
                    (true, true) => wrong.push(format!("{objective} of {} is drawn: take it out of NOT_DRAWN", kind.name)),
                    _ => {}
                }
            }
        }
    }
    wrong
}

#[test]
fn links_fields_and_colours_are_good() {
    let wrong = check(&shipped().dashboards, &shipped().known);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn limits_are_drawn_on_panels_of_latency_and_pools() {
    let wrong = wrong_limits(&shipped().dashboards, &shipped().known);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_steps_that_are_excused_are_still_there() {
    for (title, number, reason) in STEPS {
        let mut panels = shipped().dashboards.iter().flat_map(Dashboard::panels);
        let there = panels.any(|panel| panel.title == *title && steps(panel).any(|step| step == *number));
        assert!(
            there && !reason.is_empty(),
            "STEPS: {title} does not change its colour at {number} any more"
        );
    }
}
