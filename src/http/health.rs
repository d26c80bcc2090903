//! `/-/healthy`, `/-/ready`, `/-/reload`: what init systems, orchestrators and operators ask of the daemon itself.

use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
};

use super::{auth, error::Error, listen::Peer};
use crate::daemon::Daemon;

/// Answers as long as the process does.
pub(super) async fn healthy() -> &'static str {
    "redprobe is healthy.\n"
}

/// Whether the start is over and no stop has begun.
pub(super) async fn ready(State(daemon): State<Arc<Daemon>>) -> Result<&'static str, Error> {
    if daemon.is_ready() {
        Ok("redprobe is ready.\n")
    } else {
        Err(Error::unavailable("redprobe is starting or stopping."))
    }
}

/// Reads the configuration again.
pub(super) async fn reload(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<&'static str, Error> {
    auth::require_for_reload(&daemon.plan().http, &headers, peer)?;
    daemon.reload().await.map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        let sentence =
            format!("the configuration in force stays, for the new one has mistakes:\n{}", lines.join("\n"));
        Error::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
    })?;
    Ok("The configuration was read again.\n")
}
