//! Looking through a database with SCAN, in short calls with pauses between them, so that others get their turn.
//!
//! What to do with the keys found is the business of `census`, `remains` and `sweep`.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::error::Failure;

/// Keys that a SCAN looks at in one call: well under a millisecond of the server's time.
pub(super) const SCAN_COUNT: u64 = 1_000;

/// One way through the keys of a database.
pub(super) struct Scan {
    pattern: String,
    pause: Duration,
    cursor: u64,
    calls: u64,
    is_over: bool,
}

impl Scan {
    /// Of the keys that match `pattern`, with `pause` between two calls, from the beginning.
    pub(super) const fn new(pattern: String, pause: Duration) -> Self {
        Self { pattern, pause, cursor: 0, calls: 0, is_over: false }
    }

    /// Goes on where another one has stopped.
    pub(super) fn from(self, cursor: u64) -> Self {
        Self { cursor, ..self }
    }

    /// What the next call finds, often nothing; `None` when all keys were looked at. A key may come twice, and its name
    /// may be any bytes.
    pub(super) async fn next(
        &mut self,
        conn: &mut MultiplexedConnection,
    ) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        if self.is_over {
            return Ok(None);
        }
        if self.calls > 0 {
            tokio::time::sleep(self.pause).await;
        }
        let mut scan = redis::cmd("SCAN");
        scan.arg(self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys) = scan.query_async(conn).await?;
        self.cursor = next;
        self.calls += 1;
        self.is_over = next == 0;
        Ok(Some(keys))
    }

    /// Calls made.
    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    /// Where to go on; `None` when all keys were looked at.
    pub(super) fn rest(&self) -> Option<u64> {
        (!self.is_over).then_some(self.cursor)
    }
}

/// The pattern that this text alone matches.
pub(super) fn literally(text: &str) -> String {
    text.chars().flat_map(|c| "*?[]\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}
