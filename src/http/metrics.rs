//! `GET /metrics`: the exposition of everything, from memory.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use crate::daemon::Daemon;

/// The content type of the text exposition format.
pub(super) const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition: rendered whole, then sent at whatever pace the client reads.
pub(super) async fn metrics(State(daemon): State<Arc<Daemon>>) -> Response {
    let parts = daemon.runner().sinks().metrics.scrape().await;
    let length: usize = parts.iter().map(String::len).sum();
    let headers = [
        (header::CONTENT_TYPE, TEXT_FORMAT.to_owned()),
        // Known, though the body comes in parts: a scraper can tell a cut answer from a whole one.
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    let parts = parts.into_iter().map(|part| Ok::<_, Infallible>(Bytes::from(part)));
    (headers, Body::from_stream(stream::iter(parts))).into_response()
}
