//! Removing own keys in batches, and finding those that dead runs left. Which keys a run can have written is the account
//! of the key space and not here.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::prefix_of;
use crate::error::{Failure, Reason};

/// Removal in batches. Once the server refuses to remove, what is there is still counted.
pub(super) struct Sweep<'a> {
    conn: &'a mut MultiplexedConnection,
    /// What removes; none once that was refused.
    verb: Option<&'static str>,
    /// Why it was.
    pub(super) refused: Option<Failure>,
}

impl<'a> Sweep<'a> {
    pub(super) const fn new(conn: &'a mut MultiplexedConnection) -> Self {
        Self { conn, verb: Some("UNLINK"), refused: None }
    }

    /// Removes `keys`; returns how many were removed and how many are still there.
    pub(super) async fn batch(&mut self, keys: &[String]) -> Result<(u64, u64), Failure> {
        let mut removed = 0;
        while let Some(verb) = self.verb {
            let answer = redis::cmd(verb).arg(keys).query_async(self.conn).await;
            let failure = match answer {
                Ok(count) => {
                    removed = count;
                    break;
                }
                Err(error) => Failure::from(error),
            };
            match failure.reason {
                reason if reason.is_broken_connection() => return Err(failure),
                Reason::Denied | Reason::Unsupported if verb == "UNLINK" => self.verb = Some("DEL"),
                _ => {
                    self.verb = None;
                    self.refused = Some(failure);
                }
            }
        }
        match redis::cmd("EXISTS").arg(keys).query_async(self.conn).await.map_err(Failure::from) {
            Ok(exist) => Ok((removed, exist)),
            // What was removed is gone, whether or not one may look.
            Err(failure) if self.verb.is_some() && failure.reason == Reason::Denied => Ok((removed, 0)),
            Err(failure) => Err(failure),
        }
    }
}

/// Keys that a SCAN looks at in one call: well under a millisecond of the server's time.
const SCAN_COUNT: u64 = 1_000;
/// Between two calls.
const SCAN_PAUSE: Duration = Duration::from_millis(10);
/// Calls at the most: two million keys in half a minute. Own keys of a larger server are counted in part.
const SCAN_CALLS: u32 = 2_000;

/// Counts the keys of `target` under the own prefix that belong to none of the `live` runs (their ids), by SCAN, at
/// most 100,000 keys looked at per second and two million in all.
///
/// # Errors
/// When the server refuses or goes away.
pub async fn leftovers(
    conn: &mut MultiplexedConnection,
    target: &str,
    live: &[String],
) -> Result<u64, Failure> {
    let prefix = prefix_of(target);
    let is_live = |key: &str| {
        let run = key.strip_prefix(&prefix).and_then(|rest| rest.split(':').nth(1));
        run.is_some_and(|run| live.iter().any(|live| live == run))
    };
    let (mut cursor, mut found) = (0_u64, 0);
    for _ in 0..SCAN_CALLS {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<String>) = scan.query_async(conn).await?;
        found += keys.iter().filter(|key| !is_live(key)).count() as u64;
        if next == 0 {
            break;
        }
        cursor = next;
        tokio::time::sleep(SCAN_PAUSE).await;
    }
    Ok(found)
}
