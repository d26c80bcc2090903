//! Removing what a run has left that died without cleaning up: found by SCAN, since its account died with it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{
    scan::{Scan, literally},
    sweep::Sweep,
    tag::{Whose, by_tag},
};
use crate::error::Failure;

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(1);

/// Removes every key of this run, one of `whose`, and returns how many those were. Looks at every key of the database, some
/// hundred thousand per second.
///
/// # Errors
/// When the server refuses or goes away; what was removed until then is gone.
pub async fn remove_run(
    conn: &mut MultiplexedConnection,
    whose: Whose<'_>,
    run: &str,
) -> Result<u64, Failure> {
    let pattern = format!("{}:{}:*", whose.pattern(), literally(run));
    let (mut scan, mut removed) = (Scan::new(pattern, PAUSE), 0);
    while let Some(keys) = scan.next(conn).await? {
        // Own names are text; others may be anything.
        let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
        for keys in by_tag(keys) {
            let mut sweep = Sweep::new(conn);
            let (gone, exist) = sweep.batch(&keys).await?;
            removed += gone;
            match sweep.refused {
                Some(failure) if exist > 0 => return Err(failure),
                _ => {}
            }
        }
    }
    Ok(removed)
}
