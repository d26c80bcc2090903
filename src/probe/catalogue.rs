//! What there is, as JSON: probes with their settings, objectives and metrics. The same for the command line and the API.
//!
//! Read off the declarations; text for people is made by the command that prints it.

use measure::{metric::MetricDef, report::ObjectiveDef};
use serde_json::{Value, json};

use super::ProbeKind;

/// One probe.
#[must_use]
pub fn probe(kind: &ProbeKind) -> Value {
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
        "objectives": kind.objectives.iter().map(|def| objective(def)).collect::<Vec<_>>(),
        "metrics": kind.metrics.iter().map(|def| metric(def)).collect::<Vec<_>>(),
    })
}

/// One metric.
#[must_use]
pub fn metric(def: &MetricDef) -> Value {
    json!({ "name": def.name, "type": def.kind, "labels": def.labels, "help": flat(def.help) })
}

fn objective(def: &ObjectiveDef) -> Value {
    json!({
        "name": def.name,
        "phrase": def.phrase,
        "help": flat(def.help),
        "direction": def.direction,
        "unit": def.unit,
        "severity": def.severity,
        "limit": def.limit,
    })
}

/// A doc comment on one line.
#[must_use]
pub fn flat(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
