//! Whose keys there are: how many of a database's are redprobe's, whichever run's or target's, so that the rest is known
//! to be others'.
//!
//! Counting alone. What belongs to one run is its key space's account; removing what dead runs left, `sweep`'s.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::PREFIX;
use crate::error::Failure;

/// Keys that a SCAN looks at in one call: well under a millisecond of the server's time.
const SCAN_COUNT: u64 = 1_000;
/// Between two calls.
const SCAN_PAUSE: Duration = Duration::from_millis(5);

/// Counts the keys of the connection's database that begin with [`PREFIX`], by SCAN, at most 200,000 keys looked at per
/// second. Looks at about `most` keys and no further: an own key beyond them counts as somebody else's, which is the
/// safe mistake.
///
/// # Errors
/// When the server refuses or goes away.
pub async fn own_keys(conn: &mut MultiplexedConnection, most: u64) -> Result<u64, Failure> {
    let (mut cursor, mut own) = (0_u64, 0);
    for call in 0..most.div_ceil(SCAN_COUNT) {
        if call > 0 {
            tokio::time::sleep(SCAN_PAUSE).await;
        }
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(SCAN_COUNT);
        // The keys' names may be any bytes; only their number is wanted.
        let (next, keys): (u64, Vec<redis::Value>) = scan.query_async(conn).await?;
        own += keys.len() as u64;
        if next == 0 {
            break;
        }
        cursor = next;
    }
    Ok(own)
}
