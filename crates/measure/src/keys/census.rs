//! Whose keys there are: how many of a database's are redprobe's, whichever run's or target's, so that the rest is known
//! to be others'.
//!
//! Counting alone. What belongs to one run is its key space's account; removing what dead runs left, `sweep`'s.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{
    PREFIX,
    scan::{SCAN_COUNT, Scan},
};
use crate::error::Failure;

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(5);

/// Counts the keys of the connection's database that begin with [`PREFIX`], by SCAN, at most 200,000 keys looked at per
/// second. Looks at about `most` keys and no further: an own key beyond them counts as somebody else's, which is the
/// safe mistake.
///
/// # Errors
/// When the server refuses or goes away.
pub async fn own_keys(conn: &mut MultiplexedConnection, most: u64) -> Result<u64, Failure> {
    let (mut scan, mut own) = (Scan::new(format!("{PREFIX}*"), PAUSE), 0);
    while scan.calls() < most.div_ceil(SCAN_COUNT) {
        let Some(keys) = scan.next(conn).await? else { break };
        own += keys.len() as u64;
    }
    Ok(own)
}
