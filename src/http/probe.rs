//! `GET /probe?target=&probe=`: one run now, and its results alone, for Prometheus' multi-target pattern.
//!
//! Through the same runner as every run. Its results appear in this answer only, so an unlimited number of requests
//! adds no series anywhere.

use std::{fmt::Write, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use measure::{Effect, Reason};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{auth, error::Error, jobs, listen::Peer, metrics::TEXT_FORMAT};
use crate::{
    config::Job,
    daemon::Daemon,
    probe::ProbeKind,
    schedule::runner::Trigger,
    sink::{Record, metrics::Metrics},
    verdict::Outcome,
};

/// Where Prometheus says how long it waits.
const TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";
/// Kept back from that for the way there and back.
const TIMEOUT_MARGIN: f64 = 0.5;
/// Runs by this route at a time; each holds a connection to a target.
static AT_A_TIME: Semaphore = Semaphore::const_new(64);

/// What the URL asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    target: Option<String>,
    probe: Option<String>,
    variant: Option<String>,
    #[serde(default)]
    debug: bool,
}

/// Runs the probe and answers with what it found.
pub(super) async fn probe(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(asked) = asked.map_err(|rejection| Error::bad_request(rejection.body_text()))?;
    let plan = daemon.plan();
    let (Some(target), Some(name)) = (&asked.target, &asked.probe) else {
        return Err(Error::bad_request("say what to probe: /probe?target=NAME&probe=NAME"));
    };
    let cap = auth::probe_cap(&plan.http, &headers, peer)?;
    let job = jobs::job_of(&plan, name, target, asked.variant.as_deref())?;
    may_run(job.kind(), cap)?;
    let timeout = time_limit(&headers)?.map_or(job.timeout, |limit| limit.min(job.timeout));
    let _place =
        AT_A_TIME.try_acquire().map_err(|_| Error::unavailable("too many probes by this route at a time"))?;
    let record = daemon.runner().tick(&job, Trigger::Scrape { cap, timeout }).await;
    if asked.debug {
        return Ok(debug_text(&record).into_response());
    }
    match (record.outcome, record.reason) {
        (Outcome::Skipped, Some(Reason::EffectNotAllowed)) => Err(Error::forbidden(&*record.conclusion)),
        (Outcome::Skipped | Outcome::Halted, _) => Err(Error::unavailable(&*record.conclusion)),
        _ => Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], Metrics::render_record(&record)).into_response()),
    }
}

fn may_run(kind: &ProbeKind, cap: Effect) -> Result<(), Error> {
    if kind.effect > Effect::Touch {
        let sentence =
            format!("{} has the effect {}; this route runs nothing above touch", kind.name, kind.effect);
        Err(Error::forbidden(sentence))
    } else if kind.effect > cap {
        Err(Error::unauthorized(format!(
            "{} writes keys of its own, for which this route needs the token",
            kind.name
        )))
    } else {
        Ok(())
    }
}

/// How long the scraper waits, less a margin; nothing where it does not say.
fn time_limit(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(TIMEOUT_HEADER) else { return Ok(None) };
    let seconds: Option<f64> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match seconds.filter(|seconds| *seconds > 0.0) {
        // Half of it where the margin would eat most of it up.
        Some(seconds) => Ok(Duration::try_from_secs_f64((seconds - TIMEOUT_MARGIN).max(seconds / 2.0)).ok()),
        None => {
            Err(Error::bad_request(format!("{TIMEOUT_HEADER}: {value:?} is no number of seconds above 0")))
        }
    }
}

fn debug_text(record: &Record) -> String {
    let Job { name, timeout, settings, .. } = &*record.job;
    let mut text = format!("Log of run {}:\n", record.id);
    let took = record.took.as_secs_f64();
    let outcome = record.outcome.as_str();
    for line in &record.log {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "\nOutcome: {outcome} after {took:.3} s. {}", record.conclusion);
    for error in &record.report.errors {
        let _ = writeln!(text, "  {} × {} in {}: {}", error.count, error.reason, error.phase, error.message);
    }
    let metrics = Metrics::render_record(record);
    let _ = writeln!(text, "\nMetrics of this run:\n{}", String::from_utf8_lossy(&metrics));
    let timeout = humantime::format_duration(*timeout);
    let _ = writeln!(text, "Job {name}, timeout {timeout}, settings in force:\n{settings:#}");
    text
}
