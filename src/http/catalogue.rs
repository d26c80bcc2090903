//! `/config`, `/api/v1/targets`, `/api/v1/probes`: what is configured, and what there is to configure.

use std::sync::Arc;

use axum::{Json, extract::State, http::header, response::IntoResponse};
use measure::clock::unix_seconds;
use serde_json::{Value, json};

use crate::{
    config::{Job, Schedule},
    daemon::Daemon,
    probe::catalogue,
    probes::PROBES,
    sink::history::History,
};

/// The configuration in force, secrets masked.
pub(super) async fn config(State(daemon): State<Arc<Daemon>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], daemon.plan().shown.clone())
}

/// Targets with their jobs, and the last run of each.
pub(super) async fn targets(State(daemon): State<Arc<Daemon>>) -> Json<Value> {
    let plan = daemon.plan();
    let history = &daemon.runner().sinks().history;
    let halted = daemon.runner().halts().seen();
    let targets: Vec<_> = plan
        .targets
        .values()
        .map(|target| {
            let jobs = plan.jobs.iter().filter(|job| job.target.id == target.id);
            json!({
                "name": target.name,
                "node": target.node,
                "environment": target.environment,
                "allow": target.allow,
                "halted": halted.on(&target.id),
                "jobs": jobs.map(|job| job_of(job, history)).collect::<Vec<_>>(),
            })
        })
        .collect();
    Json(json!({ "targets": targets }))
}

fn job_of(job: &Job, history: &History) -> Value {
    let last = history.last(job.key()).map(|record| {
        json!({
            "id": record.id,
            "started_at": humantime::format_rfc3339_millis(record.started_at).to_string(),
            "started_at_seconds": unix_seconds(record.started_at),
            "outcome": record.outcome,
            "reason": record.reason,
            "grade": record.grade,
            "conclusion": record.conclusion,
        })
    });
    json!({
        "name": job.name,
        "probe": job.kind().name,
        "variant": job.variant,
        "schedule": schedule(&job.schedule),
        "timeout_seconds": job.timeout.as_secs_f64(),
        "last_run": last,
    })
}

/// A schedule as the configuration writes it.
pub(super) fn schedule(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Every(interval) => format!("every {}", humantime::format_duration(*interval)),
        Schedule::Cron(times) => times.expression().to_owned(),
        Schedule::Manual => "manual".into(),
    }
}

/// Every probe that there is: effects, settings with their defaults, objectives, metrics.
pub(super) async fn probes() -> Json<Value> {
    Json(json!({ "probes": PROBES.iter().map(|kind| catalogue::probe(kind)).collect::<Vec<_>>() }))
}
