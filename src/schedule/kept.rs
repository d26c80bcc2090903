//! The connection that a target's observing runs share, so that a check every 15 s does not mean a login every 15 s.
//!
//! Runs that measure open their own connections; those do not belong here.

use std::{fmt, sync::Arc, time::Duration};

use measure::{
    Failure, Reason,
    clock::{self, Instant},
    conn::{self, Address, Endpoint},
    facts::{Info, ServerFacts},
    redis::{self, aio::MultiplexedConnection},
};
use tokio::task::AbortHandle;

/// After this long without use, a PING shows whether the connection was lost without a word meanwhile (a firewall, a
/// power cut): what a run then measures is never the discovery of that.
const STALE: Duration = Duration::from_secs(10);

/// A connection with TLS is opened anew after this long, which costs the server a millisecond: a certificate that has
/// expired, or was replaced, is seen in a handshake alone.
const FRESH: Duration = Duration::from_secs(60);

/// The kept connection of a target: opened at first use, shared, dropped at the first error.
#[derive(Clone, Default)]
pub struct KeptConnection(Arc<tokio::sync::Mutex<Option<Kept>>>);

struct Kept {
    address: Address,
    conn: MultiplexedConnection,
    /// Finished once the server has closed it.
    ending: AbortHandle,
    server: Option<ServerFacts>,
    opened: Instant,
    used: Instant,
}

impl KeptConnection {
    /// The connection, opened where there is none to this server. Who comes while it is being opened waits for it.
    ///
    /// # Errors
    /// With the reason for which it could not be opened.
    pub async fn get(&self, endpoint: &Endpoint) -> Result<MultiplexedConnection, Failure> {
        let mut slot = self.0.lock().await;
        slot.take_if(|kept| {
            kept.ending.is_finished()
                || kept.address != endpoint.address
                || (endpoint.tls.is_some() && kept.opened.elapsed() > FRESH)
        });
        if let Some(kept) = slot.as_mut() {
            match kept.check().await {
                Ok(()) => return Ok(kept.conn.clone()),
                Err(failure) => {
                    *slot = None;
                    // A server that hangs would only hang once more. One that closed the connection may be back.
                    if failure.reason == Reason::Timeout {
                        return Err(failure);
                    }
                }
            }
        }
        let (mut conn, _, ending) = conn::connect_watched(endpoint, "redprobe-observer").await?;
        let server = ask(&mut conn).await;
        let (now, address) = (clock::now(), endpoint.address.clone());
        *slot = Some(Kept { address, conn: conn.clone(), ending, server, opened: now, used: now });
        Ok(conn)
    }

    /// What the server said of itself when the connection was opened.
    pub(super) fn server(&self) -> Option<ServerFacts> {
        // Held only while somebody opens it: then nothing is known yet.
        self.0.try_lock().ok()?.as_ref()?.server.clone()
    }

    /// Closes it, so that the next run opens it anew. One that is just being opened stays.
    pub(super) fn close(&self) {
        if let Ok(mut slot) = self.0.try_lock() {
            *slot = None;
        }
    }
}

impl Kept {
    async fn check(&mut self) -> Result<(), Failure> {
        if self.used.elapsed() > STALE
            && let Err(error) = redis::cmd("PING").query_async::<redis::Value>(&mut self.conn).await
        {
            // A server that answers with an error (LOADING, BUSY, NOPERM) is there; what that means is the run's matter.
            let failure = Failure::from(error);
            if matches!(failure.reason, Reason::Timeout | Reason::Reset | Reason::Protocol | Reason::Other) {
                return Err(failure);
            }
        }
        self.used = clock::now();
        Ok(())
    }
}

/// Who the server says it is; `None` where it may not be asked.
pub(super) async fn ask(conn: &mut MultiplexedConnection) -> Option<ServerFacts> {
    Info::ask(conn, &[]).await.ok()?.server()
}

impl fmt::Debug for KeptConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptConnection").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use testkit::{RedisServer, poll_until_async};

    use super::*;

    #[tokio::test]
    async fn a_connection_is_kept_to_one_server_and_not_to_the_one_before_it() {
        let servers = [RedisServer::start(), RedisServer::start()];
        let [one, other] =
            servers.each_ref().map(|server| Endpoint::parse(&server.url()).expect("a fixture's URL"));
        let kept = KeptConnection::default();
        for (endpoint, server) in [(&one, &servers[0]), (&one, &servers[0]), (&other, &servers[1])] {
            let mut conn = kept.get(endpoint).await.unwrap();
            let info = Info::ask(&mut conn, &["server"]).await.unwrap();
            assert_eq!(info.text("run_id").unwrap(), server.info("run_id"));
        }
        let closed = || async { servers[0].clients("redprobe-observer").is_empty() };
        assert!(poll_until_async(Duration::from_secs(20), closed).await, "the old one stays");
    }
}
