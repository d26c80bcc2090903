//! The configuration file that shows every setting with its default and its meaning: `redprobe default-config`.
//!
//! Written from the settings' own declarations and the registry of probes; there is nothing to keep in step by hand.

use std::fmt::Write;

use measure::{
    Effect,
    report::{Direction, ObjectiveDef, Severity, Unit},
};
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    raw::{AppSettings, HttpSettings, JobSettings, LimitSettings, LogSettings, PoolSettings, TargetSettings},
    settings::{Documented, Size, Span},
};
use crate::{probe::ProbeKind, probes};

const WIDTH: usize = 110;

const HEAD: &str = "\
# redprobe's configuration: every setting, its default and its meaning. `redprobe check` names every mistake in it.
#
# A line that begins with # and no blank is a setting at its default: take the # away and change it.
# Durations are \"500ms\", \"30s\", \"1h 30m\"; sizes as in redis.conf: \"1k\" is 1,000 bytes, \"1kb\" 1,024.
# Names are made of a to z, 0 to 9 and _. Every key can be set in the environment, which wins over this file:
# REDPROBE__TARGETS__LOCAL__URL=redis://127.0.0.1:6379; lists with commas: REDPROBE__JOBS__SERVER_INFO__TARGETS=a,b.

# Where state outlives the process. Unless set: $STATE_DIRECTORY, else ~/.local/state/redprobe.
#state_dir = \"/var/lib/redprobe\"

# Of several daemons that share this file, each has the targets of one part: \"2/5\" is the second of five. Unless set:
# all of them. Which part a target is in follows from its name, as with Prometheus' relabelling (hashmod).
#shard = \"2/5\" # not set
";

/// The text of the file. It is a working configuration for a Redis server on this machine.
#[must_use]
pub fn default_file() -> String {
    let mut out = String::from(HEAD);
    section(&mut out, "http", &HttpSettings::default());
    section(&mut out, "log", &LogSettings::default());
    section(&mut out, "limits", &LimitSettings::default());
    line(
        &mut out,
        "\n# --- Targets: the Redis servers, one section each, named after what follows the dot ---",
    );
    line(&mut out, "[targets.local]");
    fields(&mut out, &TargetSettings::default(), &[("url", "\"redis://127.0.0.1:6379\"")]);
    line(&mut out, "\n# --- Applications behind a target ---");
    line(&mut out, "#[apps.webhook]");
    let app = [("url", "\"http://127.0.0.1:8000\""), ("target", "\"local\"")];
    example(&mut out, &AppSettings::default(), &app);
    line(
        &mut out,
        "\n# --- Pools of connections that applications have: client_census says how full they are ---",
    );
    line(&mut out, "#[pools.api]");
    let pool = [("match", "{ name = \"api-*\" }"), ("max_connections", "15"), ("instances", "4")];
    example(&mut out, &PoolSettings::default(), &pool);
    line(&mut out, "\n# --- Jobs: a probe, on targets, on a schedule ---");
    first_job(&mut out);
    for kind in probes::PROBES {
        probe(&mut out, kind);
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn section<T: Serialize + Documented>(out: &mut String, name: &str, defaults: &T) {
    line(out, &format!("\n[{name}]"));
    fields(out, defaults, &[]);
}

/// The fields of a section that is not switched on.
fn example<T: Serialize + Documented>(out: &mut String, defaults: &T, set: &[(&str, &str)]) {
    let mut example = String::new();
    fields(&mut example, defaults, set);
    for text in example.lines() {
        line(out, &if text.starts_with('#') { text.to_owned() } else { format!("#{text}") });
    }
}

/// Each field with its documentation: those in `set` with a value, the others at their default behind a #.
fn fields<T: Serialize + Documented>(out: &mut String, defaults: &T, set: &[(&str, &str)]) {
    let defaults = serde_json::to_value(defaults).unwrap_or_default();
    for (name, doc) in T::DOCS {
        match set.iter().find(|(key, _)| key == name) {
            Some((_, value)) => {
                comment(out, doc);
                line(out, &format!("{name} = {value}"));
            }
            None => setting(out, name, doc, &defaults[name]),
        }
    }
}

/// One setting at its default. One without a default shows the example that its documentation ends with.
fn setting(out: &mut String, name: &str, doc: &str, default: &Json) {
    let (doc, example) = doc.split_once("Example: ").unwrap_or((doc, ""));
    comment(out, doc);
    let example = example.trim().trim_matches('`');
    match toml(default) {
        Some(value) => line(out, &format!("#{name} = {value}")),
        None if example.is_empty() => line(out, &format!("# {name} is not set.")),
        None => line(out, &format!("#{name} = {example} # not set")),
    }
}

/// A default as TOML; `None` for what has none.
fn toml(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Object(table) if table.is_empty() => Some("{}".into()),
        value => Some(toml::Value::try_from(value).ok()?.to_string()),
    }
}

/// Documentation as a comment, its lines filled up to the width.
fn comment(out: &mut String, doc: &str) {
    let mut width = 0;
    for word in doc.split_whitespace() {
        if width > 0 && width + 1 + word.len() > WIDTH {
            out.push('\n');
            width = 0;
        }
        out.push_str(if width == 0 { "# " } else { " " });
        out.push_str(word);
        width += word.len() + if width == 0 { 2 } else { 1 };
    }
    out.push('\n');
}

/// The one job that is switched on, with the documentation of what every job has.
fn first_job(out: &mut String) {
    let job = [("probe", "\"server_info\""), ("targets", "[\"*\"]"), ("schedule", "\"every 15s\"")];
    line(out, "[jobs.server_info]");
    let settings = JobSettings::default();
    let defaults = serde_json::to_value(&settings).unwrap_or_default();
    for (name, doc) in JobSettings::DOCS.iter().filter(|(name, _)| !["settings", "objectives"].contains(name))
    {
        match job.iter().find(|(key, _)| key == name) {
            Some((_, value)) => {
                comment(out, doc);
                line(out, &format!("{name} = {value}"));
            }
            None => setting(out, name, doc, &defaults[name]),
        }
    }
    if let Some(kind) = probes::find("server_info") {
        tables(out, "server_info", kind);
    }
}

fn probe(out: &mut String, kind: &ProbeKind) {
    if kind.name == "server_info" {
        return;
    }
    out.push('\n');
    comment(out, &format!("{}: {} {}", kind.name, kind.summary, effects(kind)));
    let name = kind.name;
    line(out, &format!("#[jobs.{name}]\n#probe = \"{name}\"\n#targets = [\"*\"]"));
    let schedule = match kind.effect {
        // Settings seldom change, and what is to be mended is not mended within a minute.
        Effect::Observe if name == "config_audit" => "every 10m",
        Effect::Observe => "every 15s",
        Effect::Touch => "every 1m",
        Effect::Load | Effect::Disrupt => "every 15m",
    };
    line(out, &format!("#schedule = \"{schedule}\""));
    tables(out, name, kind);
}

fn effects(kind: &ProbeKind) -> String {
    if kind.name == "health" {
        return "Every target has it, every 15s, unless a job says otherwise.".into();
    }
    if kind.reach > kind.effect {
        format!("Needs {}; some phases need {}.", kind.effect, kind.reach)
    } else {
        format!("Needs {}.", kind.effect)
    }
}

/// A probe's settings and objectives.
fn tables(out: &mut String, job: &str, kind: &ProbeKind) {
    if !kind.settings.is_empty() {
        line(out, &format!("#[jobs.{job}.settings]"));
        let defaults = (kind.defaults)();
        for (name, doc) in kind.settings {
            setting(out, name, doc, &defaults[name]);
        }
    }
    if !kind.objectives.is_empty() {
        line(out, &format!("#[jobs.{job}.objectives]"));
        for objective in kind.objectives {
            limit(out, objective);
        }
    }
}

fn limit(out: &mut String, objective: &ObjectiveDef) {
    let direction = match objective.direction {
        Direction::Min => "At least this",
        Direction::Max => "At most this",
    };
    let severity = match objective.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    comment(out, &format!("{} {direction}; {severity} otherwise.", objective.help));
    let mut value = String::new();
    write!(value, "{:?}", objective.limit).ok();
    line(out, &format!("#{} = {}", objective.name, with_unit(objective).unwrap_or(value)));
}

/// The limit as a person would write it, where that loses nothing.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "only a limit that comes back the same is written this way"
)]
fn with_unit(objective: &ObjectiveDef) -> Option<String> {
    let limit = objective.limit;
    match objective.unit {
        Unit::Seconds => {
            let span = Span(std::time::Duration::try_from_secs_f64(limit).ok()?);
            (span.0.as_secs_f64() == limit && limit > 0.0).then(|| format!("\"{span}\""))
        }
        Unit::Bytes => ((limit as u64) as f64 == limit).then(|| format!("\"{}\"", Size(limit as u64))),
        Unit::Ratio | Unit::OperationsPerSecond | Unit::Count => None,
    }
}
