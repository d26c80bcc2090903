//! `redprobe metrics`: the catalogue of everything that `/metrics` can carry.

use std::fmt::Write;

use measure::metric::MetricDef;
use serde_json::{Value as Json, json};

use super::{Exit, Format, FormatArgs, probes::flat};
use crate::sink::metrics::Metrics;

pub(super) fn run(args: &FormatArgs) -> anyhow::Result<Exit> {
    let catalogue = Metrics::catalogue();
    let text = match args.format {
        Format::Text => text(&catalogue),
        Format::Json => {
            super::json_text(&Json::from(catalogue.iter().map(|metric| json(metric)).collect::<Vec<_>>()))
        }
    };
    super::print(&text)?;
    Ok(Exit::Ok)
}

/// One metric of the catalogue.
pub(super) fn json(metric: &MetricDef) -> Json {
    json!({ "name": metric.name, "type": metric.kind, "labels": metric.labels, "help": flat(metric.help) })
}

fn text(catalogue: &[&'static MetricDef]) -> String {
    let mut out = String::new();
    for metric in catalogue {
        let entry = json(metric);
        let kind = entry["type"].as_str().unwrap_or_default();
        let labels =
            if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
        writeln!(out, "{}{labels} ({kind})\n  {}", metric.name, flat(metric.help)).ok();
    }
    out
}
