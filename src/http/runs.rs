//! `/api/v1/runs`: the runs kept in memory, one of them with its log, and starting one.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{auth, body, error::Error, jobs, listen::Peer};
use crate::{
    config::{Job, Plan},
    daemon::Daemon,
    schedule::runner::Trigger,
    sink::{history::Filter, json},
    verdict::Outcome,
};

/// Runs listed where the request does not say how many.
const DEFAULT_LIMIT: usize = 50;
/// Runs listed at the most.
const MAX_LIMIT: usize = 1_000;
const OUTCOMES: [Outcome; 5] =
    [Outcome::Passed, Outcome::Failed, Outcome::Error, Outcome::Skipped, Outcome::Halted];

/// Which runs to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    probe: Option<String>,
    target: Option<String>,
    node: Option<String>,
    outcome: Option<String>,
    limit: Option<usize>,
}

/// Lists runs, newest first.
pub(super) async fn list(
    State(daemon): State<Arc<Daemon>>,
    listed: Result<Query<Listed>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(listed) = listed.map_err(|rejection| Error::bad_request(rejection.body_text()))?;
    let filter = Filter {
        outcome: listed.outcome.as_deref().filter(|name| !name.is_empty()).map(outcome).transpose()?,
        // An empty field of a form means any.
        probe: listed.probe.filter(|name| !name.is_empty()),
        target: listed.target.filter(|name| !name.is_empty()),
        node: listed.node.filter(|name| !name.is_empty()),
        limit: listed.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
    };
    let records = daemon.runner().sinks().history.list(&filter);
    let runs: Vec<_> = records.iter().map(|record| json::run(record)).collect();
    Ok(Json(json!({ "schema": json::SCHEMA, "runs": runs })).into_response())
}

fn outcome(name: &str) -> Result<Outcome, Error> {
    OUTCOMES.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| {
        let names = OUTCOMES.map(Outcome::as_str).join(", ");
        Error::bad_request(format!("{name:?} is no outcome; there are {names}"))
    })
}

/// One run with its log.
pub(super) async fn one(
    State(daemon): State<Arc<Daemon>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let Path(id) = id.map_err(|rejection| Error::bad_request(rejection.body_text()))?;
    let sinks = daemon.runner().sinks();
    let record = sinks.history.get(&id).ok_or_else(|| {
        Error::not_found(format!(
            "no run {id:?} is kept; runs are forgotten after a while, and when redprobe restarts"
        ))
    })?;
    Ok(Json(json::run_with_log(&record)).into_response())
}

/// Which run to start: a probe and a target, or a job by its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    probe: Option<String>,
    job: Option<String>,
    target: Option<String>,
    variant: Option<String>,
    /// Whether to answer only when it has ended.
    #[serde(default = "yes")]
    wait: bool,
}

const fn yes() -> bool {
    true
}

/// Starts a run. Answers with its report when it has ended, or with its id at once where the request wants no wait.
pub(super) async fn start(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Error> {
    let plan = daemon.plan();
    auth::require(&plan.http, &headers, peer)?;
    let wanted: Wanted = body::json(&headers, &body, "{\"probe\": …, \"target\": …} or {\"job\": …}")?;
    let job = chosen(&plan, &wanted)?;
    if wanted.wait {
        let record = daemon.runner().tick(&job, Trigger::Manual).await;
        return Ok(Json(json::run_with_log(&record)).into_response());
    }
    let id = daemon.runner().start(&job, Trigger::Manual);
    let mut response = (StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/runs/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn chosen(plan: &Plan, wanted: &Wanted) -> Result<Arc<Job>, Error> {
    match (&wanted.probe, &wanted.job, &wanted.target) {
        (Some(probe), None, Some(target)) => jobs::job_of(plan, probe, target, wanted.variant.as_deref()),
        (None, Some(job), target) => jobs::job_named(plan, job, target.as_deref()),
        _ => Err(Error::bad_request("say which run: {\"probe\": …, \"target\": …} or {\"job\": …}")),
    }
}
