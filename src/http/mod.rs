//! The HTTP server. One file per group of routes; bounds on clients are in `listen` and
//! `conn`, who may come in in `door`, who may do what in `auth`.
//!
//! | route | |
//! | --- | --- |
//! | `GET /` | a plain status page |
//! | `GET /metrics` | the exposition |
//! | `GET /probe?target=&probe=` | one run now, and its results alone; `&debug=true` shows its log |
//! | `GET /-/healthy`, `GET /-/ready` | 200, or 503 while starting and stopping |
//! | `POST`, `PUT /-/reload` | reads the configuration again; by the token or a user, or from this machine where there is neither |
//! | `GET /config` | the configuration in force, secrets masked |
//! | `GET /api/v1/targets`, `GET /api/v1/probes` | what is configured, and what there is |
//! | `GET /api/v1/runs?probe=&target=&outcome=&limit=` | runs, newest first |
//! | `GET /api/v1/runs/{id}` | one run with its log |
//! | `POST /api/v1/runs` | starts a run; by the token or a user |
//! | `POST /api/v1/halt`, `POST /api/v1/rearm` | stops and refuses all that loads or disrupts; allows it again; by the token or a user |
//!
//! Errors are a status and a sentence: `{"error": …}` below `/api/`, plain text elsewhere. Nothing here measures or
//! decides whether a run may be: that is the runner's.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, Uri},
    routing::{get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use self::{door::Door, error::Error, listen::Around};
use crate::daemon::Daemon;

mod auth;
mod body;
mod catalogue;
mod conn;
pub mod door;
mod error;
mod halt;
mod health;
mod jobs;
pub mod listen;
mod metrics;
mod page;
mod probe;
mod runs;
mod seats;

/// Bound of answering a request that starts no run: all of them only read memory.
const QUICK: Duration = Duration::from_secs(10);

/// Serves the daemon's routes on `listener` until `shutdown`, then lets the requests under way end.
pub async fn serve(daemon: Arc<Daemon>, listener: TcpListener, door: Door, shutdown: CancellationToken) {
    let keeper = Arc::clone(&daemon);
    let around = Around {
        http: daemon.plan().http.clone(),
        sinks: Arc::clone(daemon.runner().sinks()),
        door,
        shows_token: Box::new(move |headers| auth::shows_token(&keeper.plan().http, headers)),
    };
    listen::serve(listener, router(daemon), around, shutdown).await;
}

fn router(daemon: Arc<Daemon>) -> Router {
    let quick = Router::new()
        .route("/", get(page::page))
        .route("/metrics", get(metrics::metrics))
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/config", get(catalogue::config))
        .route("/api/v1/targets", get(catalogue::targets))
        .route("/api/v1/probes", get(catalogue::probes))
        .route("/api/v1/runs/{id}", get(runs::one))
        .route("/api/v1/halt", post(halt::halt))
        .route("/api/v1/rearm", post(halt::rearm))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, QUICK));
    // These take as long as a run or a reload does, which have bounds of their own.
    let slow = Router::new()
        .route("/probe", get(probe::probe))
        .route("/-/reload", post(health::reload).put(health::reload))
        .route("/api/v1/runs", get(runs::list).post(runs::start));
    quick
        .merge(slow)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(daemon)
}

async fn no_route(uri: Uri) -> Error {
    Error::not_found(format!("nothing is at {}; the page at / links what there is", uri.path()))
}

async fn no_method() -> Error {
    Error::new(StatusCode::METHOD_NOT_ALLOWED, "this route is there, but not for this method")
}

fn panicked(_panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let sentence = "redprobe broke on this request; the log says where";
    axum::response::IntoResponse::into_response(Error::new(StatusCode::INTERNAL_SERVER_ERROR, sentence))
}
