//! `redprobe probes`: the registry, for people and for programs.

use std::fmt::Write;

use measure::{metric::MetricDef, report::ObjectiveDef};
use serde_json::{Value as Json, json};

use super::{Exit, Format, FormatArgs, metrics};
use crate::{probe::ProbeKind, probes::PROBES};

pub(super) fn run(args: &FormatArgs) -> anyhow::Result<Exit> {
    let text = match args.format {
        Format::Text => PROBES.iter().map(|kind| text(kind)).collect::<Vec<_>>().join("\n"),
        Format::Json => {
            super::json_text(&Json::from(PROBES.iter().map(|kind| json(kind)).collect::<Vec<_>>()))
        }
    };
    super::print(&text)?;
    Ok(Exit::Ok)
}

fn json(kind: &ProbeKind) -> Json {
    let defaults = (kind.defaults)();
    let settings = kind
        .settings
        .iter()
        .map(|(name, doc)| json!({ "name": name, "doc": flat(doc), "default": defaults[name] }));
    json!({
        "name": kind.name,
        "summary": kind.summary,
        "effect": kind.effect,
        "reach": kind.reach,
        "settings": settings.collect::<Vec<_>>(),
        "objectives": kind.objectives.iter().map(|objective| objective_json(objective)).collect::<Vec<_>>(),
        "metrics": kind.metrics.iter().map(|metric| metrics::json(metric)).collect::<Vec<_>>(),
    })
}

fn objective_json(objective: &ObjectiveDef) -> Json {
    json!({
        "name": objective.name,
        "phrase": objective.phrase,
        "help": flat(objective.help),
        "direction": objective.direction,
        "unit": objective.unit,
        "severity": objective.severity,
        "limit": objective.limit,
    })
}

fn text(kind: &ProbeKind) -> String {
    let effect = if kind.reach > kind.effect {
        format!("{}, some phases {}", kind.effect, kind.reach)
    } else {
        kind.effect.to_string()
    };
    let mut out = format!("{} ({effect})\n  {}\n", kind.name, kind.summary);
    let defaults = (kind.defaults)();
    for (name, doc) in kind.settings {
        let default = if defaults[name].is_null() { "not set".into() } else { defaults[name].to_string() };
        writeln!(out, "  setting    {name} = {default}: {}", flat(doc)).ok();
    }
    for objective in kind.objectives {
        let json = json!([objective.direction, objective.unit, objective.severity]);
        let word = |index: usize| json[index].as_str().unwrap_or_default().to_owned();
        let (direction, unit, severity) = (word(0), word(1), word(2));
        let (name, limit, help) = (objective.name, objective.limit, flat(objective.help));
        writeln!(out, "  objective  {name} {direction} {limit} {unit} ({severity}): {help}").ok();
    }
    for metric in kind.metrics {
        writeln!(out, "  metric     {}: {}", metric.name, help(metric)).ok();
    }
    out
}

/// Help on one line.
fn help(metric: &MetricDef) -> String {
    flat(metric.help)
}

/// A doc comment on one line.
pub(super) fn flat(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
