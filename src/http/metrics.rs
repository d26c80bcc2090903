//! `GET /metrics`: the exposition of everything, from memory.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use tokio::task;

use super::error::Error;
use crate::daemon::Daemon;

/// The content type of the text exposition format.
pub(super) const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Jobs from which on rendering would hold up a worker of the runtime: each costs about 20 µs.
const MANY_JOBS: usize = 100;

/// The exposition, rendered at once and then sent at whatever pace the client reads.
pub(super) async fn metrics(State(daemon): State<Arc<Daemon>>) -> Result<Response, Error> {
    let many = daemon.plan().jobs.len() > MANY_JOBS;
    let render = move || daemon.runner().sinks().metrics.render();
    let text = if many {
        task::spawn_blocking(render).await.map_err(|_| Error::unavailable("redprobe is stopping"))?
    } else {
        render()
    };
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}
