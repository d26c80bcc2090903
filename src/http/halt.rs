//! `POST /api/v1/halt` and `/rearm`: stops and refuses all that loads or disrupts, and allows it again.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{auth, body, error::Error, listen::Peer};
use crate::{config::Plan, daemon::Daemon, probes, schedule::halted::Wish};

/// What to halt: everything where no target is named.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    target: Option<String>,
}

/// Halts a target, or all.
pub(super) async fn halt(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Error> {
    let plan = daemon.plan();
    auth::require(&plan.http, &headers, peer)?;
    let wanted: Wanted =
        body::json_or_nothing(&headers, &body, "{\"target\": …}, or nothing for all targets")?;
    if let Some(target) = &wanted.target {
        known_target(&plan, target)?;
    }
    let halts = daemon.runner().halts();
    tracing::warn!(target = wanted.target, "halted over HTTP");
    halts.by_hand(wanted.target.as_deref()).await.map_err(|why| {
        let sentence = format!("halted, but only until redprobe ends: {why}");
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })?;
    Ok(Json(json!({ "halts": halts.seen().halts })))
}

/// What to allow again: everything where nothing is named.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    target: Option<String>,
    probe: Option<String>,
}

/// Allows what was halted.
pub(super) async fn rearm(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Error> {
    let plan = daemon.plan();
    auth::require(&plan.http, &headers, peer)?;
    let Named { target, probe } =
        body::json_or_nothing(&headers, &body, "{\"target\": …, \"probe\": …}, either, or nothing for all")?;
    let halts = daemon.runner().halts();
    let seen = halts.seen().halts;
    // What left the configuration while it was halted still has its name.
    if let Some(name) =
        target.as_deref().filter(|name| !seen.iter().any(|halt| halt.target.as_deref() == Some(*name)))
    {
        known_target(&plan, name)?;
    }
    if let Some(name) = probe.as_deref().filter(|name| probes::find(name).is_none()) {
        return Err(Error::not_found(format!("no probe is called {name:?}; see /api/v1/probes")));
    }
    let rearmed = halts
        .rearm(&Wish { target, probe })
        .await
        .map_err(|why| Error::new(StatusCode::INTERNAL_SERVER_ERROR, why))?;
    tracing::warn!(count = rearmed.len(), "halts taken back over HTTP");
    let seen = halts.seen();
    Ok(Json(json!({ "rearmed": rearmed, "halts": seen.halts, "halt_file": seen.file })))
}

fn known_target(plan: &Plan, name: &str) -> Result<(), Error> {
    if plan.targets.values().any(|target| target.is_called(name)) {
        return Ok(());
    }
    let unknown = || format!("no target is called {name:?}; see /api/v1/targets");
    Err(Error::not_found(plan.why_elsewhere(name).unwrap_or_else(unknown)))
}
