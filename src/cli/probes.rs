//! `redprobe probes`: the registry, for people and for programs.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::{Exit, Format, FormatArgs};
use crate::{
    probe::{
        ProbeKind,
        catalogue::{self, flat},
    },
    probes::PROBES,
};

pub(super) fn run(args: &FormatArgs) -> anyhow::Result<Exit> {
    let text = match args.format {
        Format::Text => PROBES.iter().map(|kind| text(kind)).collect::<Vec<_>>().join("\n"),
        Format::Json => super::json_text(&PROBES.iter().map(|kind| catalogue::probe(kind)).collect::<Json>()),
    };
    super::print(text)?;
    Ok(Exit::Ok)
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
        writeln!(out, "  metric     {}: {}", metric.name, flat(metric.help)).ok();
    }
    out
}
