//! A record as the report's JSON: the same for the command line, the API and history. The contract's shape.
//!
//! Fields are in the contract's order when serialised straight to text. What the figures mean is in `measure::report`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
};

use measure::{
    Reason,
    conn::TlsExpiry,
    facts::ServerFacts,
    journal::Setting,
    report::{
        Attribution, Check, Doubt, Measurement, Operation, Pool, Remedy, ReportedError, SkippedPhase,
        TimelinePoint,
    },
};
use serde::Serialize;

use super::Record;
use crate::verdict::{self, Grade, Objective, Outcome};

/// Version of this shape; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// What `redprobe run --format json` prints.
#[derive(Debug, Serialize)]
pub struct Suite<'a> {
    schema: u32,
    grade: Option<Grade>,
    exit_code: i32,
    runs: Vec<Run<'a>>,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    id: &'a str,
    probe: &'static str,
    target: &'a str,
    node: &'a str,
    variant: &'a str,
    started_at: String,
    duration_seconds: f64,
    outcome: Outcome,
    reason: Option<Reason>,
    grade: Option<Grade>,
    conclusion: &'a str,
    objectives: &'a [Objective],
    measurements: BTreeMap<&'a str, &'a Measurement>,
    operations: &'a [Operation],
    pools: &'a [Pool],
    attribution: &'a [Attribution],
    checks: &'a [Check],
    remedies: &'a [Remedy],
    timeline: &'a [TimelinePoint],
    doubts: Vec<Doubt>,
    errors: &'a [ReportedError],
    skipped_phases: &'a [SkippedPhase],
    cleanup: CleanUp<'a>,
    settings: &'a serde_json::Value,
    server: Option<&'a ServerFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    client: Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a [String]>,
}

#[derive(Debug, Serialize)]
struct CleanUp<'a> {
    keys_removed: u64,
    settings_restored: Vec<&'a str>,
    /// Changed by somebody else meanwhile, and left alone.
    settings_conflicts: Vec<&'a str>,
    /// Not put back yet.
    settings_unrestored: Vec<&'a str>,
    left_over: u64,
}

/// When the certificates expire.
#[derive(Debug, Serialize)]
struct Tls {
    certificate_expires_at: Option<String>,
    client_certificate_expires_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Client {
    version: &'static str,
    cpus: usize,
}

fn tls(expiry: TlsExpiry) -> Option<Tls> {
    let text = |time| humantime::format_rfc3339_seconds(time).to_string();
    (expiry != TlsExpiry::default()).then(|| Tls {
        certificate_expires_at: expiry.server.map(text),
        client_certificate_expires_at: expiry.client.map(text),
    })
}

/// One run.
#[must_use]
pub fn run(record: &Record) -> Run<'_> {
    let job = &record.job;
    let report = &record.report;
    Run {
        id: &record.id,
        probe: job.kind().name,
        target: &job.target.name,
        node: &job.target.node,
        variant: &job.variant,
        started_at: humantime::format_rfc3339_millis(record.started_at).to_string(),
        duration_seconds: record.took.as_secs_f64(),
        outcome: record.outcome,
        reason: record.reason,
        grade: record.grade,
        conclusion: &record.conclusion,
        objectives: &record.objectives,
        measurements: report.measurements.iter().map(|(name, value)| (&**name, value)).collect(),
        operations: &report.operations,
        pools: &report.pools,
        attribution: &report.attribution,
        checks: &report.checks,
        remedies: &report.remedies,
        timeline: &report.timeline,
        doubts: report.doubts.iter().copied().collect(),
        errors: &report.errors,
        skipped_phases: &report.skipped_phases,
        cleanup: CleanUp {
            keys_removed: record.clean_up.keys_removed,
            settings_restored: names(record.restored.restored.iter().map(|fate| &fate.setting)),
            settings_conflicts: names(record.restored.conflicts.iter().map(|fate| &fate.setting)),
            settings_unrestored: names(record.unrestored.iter()),
            left_over: record.clean_up.left_over,
        },
        settings: &record.job.settings,
        server: record.server.as_ref(),
        tls: tls(record.tls),
        client: Client {
            version: env!("CARGO_PKG_VERSION"),
            cpus: thread::available_parallelism().map_or(1, usize::from),
        },
        log: None,
    }
}

/// Each once.
fn names<'a>(settings: impl Iterator<Item = &'a Setting>) -> Vec<&'a str> {
    settings.map(|setting| setting.parameter.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// One run with what it said while it went.
#[must_use]
pub fn run_with_log(record: &Record) -> Run<'_> {
    Run { log: Some(&record.log), ..run(record) }
}

/// What `redprobe run --format json` prints: the worst grade, the exit code, and the runs.
#[must_use]
pub fn suite(records: &[Arc<Record>], exit_code: i32) -> Suite<'_> {
    Suite {
        schema: SCHEMA,
        grade: verdict::suite_grade(records.iter().map(|record| record.grade)),
        exit_code,
        runs: records.iter().map(|record| run(record)).collect(),
    }
}
