//! Removing what a run has left that died without cleaning up: found by SCAN, since its account died with it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{prefix_of, sweep::Sweep};
use crate::error::Failure;

/// Keys that a SCAN looks at in one call.
const SCAN_COUNT: u64 = 1_000;
/// Between two calls, so that others get their turn.
const SCAN_PAUSE: Duration = Duration::from_millis(1);

/// Removes every key of this run on `target`, and returns how many those were. Looks at every key of the database, some
/// hundred thousand per second.
///
/// # Errors
/// When the server refuses or goes away; what was removed until then is gone.
pub async fn remove_run(conn: &mut MultiplexedConnection, target: &str, run: &str) -> Result<u64, Failure> {
    let pattern = format!("{}*:{run}:*", prefix_of(target));
    let (mut cursor, mut removed) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<String>) = scan.query_async(conn).await?;
        if !keys.is_empty() {
            let mut sweep = Sweep::new(conn);
            let (gone, exist) = sweep.batch(&keys).await?;
            removed += gone;
            match sweep.refused {
                Some(failure) if exist > 0 => return Err(failure),
                _ => {}
            }
        }
        if next == 0 {
            return Ok(removed);
        }
        cursor = next;
        tokio::time::sleep(SCAN_PAUSE).await;
    }
}
