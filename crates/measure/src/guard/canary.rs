//! Does the server still answer while load runs on it? What else a run that disrupts must not do to it is watched by
//! `watch`.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::time::{sleep_until, timeout_at};

use crate::{
    conn::{self, Endpoint},
    error::{Failure, Reason},
    grant::Grant,
};

/// What [`Canary::watch`] sends. Denied is an answer to it, too.
pub const CANARY: Grant = Grant::load("ping", "", "see that the server still answers under load")
    .optional("NOPERM counts as an answer, and fills the ACL LOG");

/// A connection of its own that asks once a second whether the server still answers, while load runs on others.
#[derive(Debug)]
pub struct Canary;

impl Canary {
    /// Longest time without an answer before load must stop.
    pub const PATIENCE: Duration = Duration::from_secs(5);
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Runs until the server has not answered for [`Canary::PATIENCE`], and returns why. Never returns while it does:
    /// a late answer and an error are answers too. A lost connection is opened again within that time.
    pub async fn watch(endpoint: &Endpoint, name: &str) -> Failure {
        // The patience is the only limit: an answer that is late, but comes, is one.
        let mut endpoint = endpoint.clone();
        endpoint.connect_timeout = Self::PATIENCE;
        endpoint.response_timeout = Self::PATIENCE;

        let mut conn = None;
        let mut last = Failure::new(Reason::Timeout, "no answer to PING");
        let mut answered = tokio::time::Instant::now();
        loop {
            let asked = tokio::time::Instant::now();
            let end = answered + Self::PATIENCE;
            match timeout_at(end, ask(&mut conn, &endpoint, name)).await {
                Ok(Ok(())) => answered = tokio::time::Instant::now(),
                Ok(Err(failure)) if is_answer(failure.reason) => answered = tokio::time::Instant::now(),
                Ok(Err(failure)) => {
                    conn = None;
                    last = failure;
                }
                Err(_elapsed) => {}
            }
            let end = answered + Self::PATIENCE;
            if tokio::time::Instant::now() >= end {
                let message = format!("the server did not answer PING for {:?}: {last}", Self::PATIENCE);
                return Failure::new(Reason::Canary, message);
            }
            sleep_until((asked + Self::INTERVAL).min(end)).await;
        }
    }
}

/// One PING, over a new connection where there is none.
async fn ask(
    conn: &mut Option<MultiplexedConnection>,
    endpoint: &Endpoint,
    name: &str,
) -> Result<(), Failure> {
    match conn {
        Some(conn) => Ok(redis::cmd("PING").query_async::<()>(conn).await?),
        // Connecting ends with a PING.
        None => {
            *conn = Some(conn::connect(endpoint, name).await?.0);
            Ok(())
        }
    }
}

/// Whether it was the server that said so.
pub(super) fn is_answer(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Dns
            | Reason::ConnectRefused
            | Reason::ConnectTimeout
            | Reason::TlsExpired
            | Reason::TlsName
            | Reason::TlsUntrusted
            | Reason::TlsProtocol
            | Reason::Timeout
            | Reason::Reset
            | Reason::Protocol
            | Reason::Other
    )
}
