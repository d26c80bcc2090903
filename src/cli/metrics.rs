//! `redprobe metrics`: the catalogue of everything that `/metrics` can carry.

use std::fmt::Write;

use measure::metric::MetricDef;
use serde_json::Value as Json;

use super::{Exit, Format, FormatArgs};
use crate::{
    probe::catalogue::{self, flat},
    sink::metrics::Metrics,
};

pub(super) fn run(args: &FormatArgs) -> anyhow::Result<Exit> {
    let metrics = Metrics::catalogue();
    let text = match args.format {
        Format::Text => text(&metrics),
        Format::Json => super::json_text(&metrics.iter().map(|def| catalogue::metric(def)).collect::<Json>()),
    };
    super::print(text)?;
    Ok(Exit::Ok)
}

fn text(metrics: &[&'static MetricDef]) -> String {
    let mut out = String::new();
    for metric in metrics {
        let entry = catalogue::metric(metric);
        let kind = entry["type"].as_str().unwrap_or_default();
        let labels =
            if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
        writeln!(out, "{}{labels} ({kind})\n  {}", metric.name, flat(metric.help)).ok();
    }
    out
}
