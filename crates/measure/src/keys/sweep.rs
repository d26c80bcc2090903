//! Removing own keys in batches, and finding those that dead runs left. Which keys a run can have written is the account
//! of the key space and not here.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::{
    BATCH,
    scan::Scan,
    tag::{Whose, by_tag},
};
use crate::{
    error::{Failure, Reason},
    grant::Grant,
};

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

/// What [`leftovers`] sends.
pub const SCAN: Grant = Grant::load("scan", "0", "find what a killed run has left")
    .optional("that stays until its TTL removes it");

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(10);
/// Calls at a time: 200,000 keys in some two seconds.
const CALLS: u64 = 200;

/// What one part of a sweep came to.
#[derive(Debug, Clone, Default)]
pub struct Leftovers {
    /// Keys that were removed.
    pub removed: u64,
    /// Keys found that could not be removed.
    pub left: u64,
    /// Why not.
    pub refused: Option<Failure>,
    /// Where to go on; `None` when all keys were looked at.
    pub next: Option<u64>,
}

/// Removes the keys of `whose` runs are over: those of which `is_over` says so, by probe and run. Looks at 200,000 keys at the most, at 100,000 a second, beginning at `from` (0 at first): a bigger database takes several
/// parts, between which others have their turn.
///
/// # Errors
/// When the server refuses SCAN or goes away.
pub async fn leftovers(
    conn: &mut MultiplexedConnection,
    whose: Whose<'_>,
    from: u64,
    is_over: impl Fn(&str, &str) -> bool,
) -> Result<Leftovers, Failure> {
    // `<probe>:<run>:…` after the prefix. What is shaped otherwise was not written by a run.
    let is_dead = |key: &str| {
        let parts: Option<Vec<&str>> = whose.rest(key).map(|rest| rest.splitn(3, ':').collect());
        parts.is_some_and(|parts| parts.len() == 3 && is_over(parts[0], parts[1]))
    };
    let mut scan = Scan::new(whose.pattern(), PAUSE).from(from);
    let mut dead = Vec::new();
    while scan.calls() < CALLS {
        let Some(keys) = scan.next(conn).await? else { break };
        // Own names are text; others may be anything.
        let names = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        dead.extend(names.filter(|key| is_dead(key)));
    }
    let mut found = Leftovers { next: scan.rest(), ..Leftovers::default() };
    // SCAN may name a key twice.
    dead.sort_unstable();
    dead.dedup();
    let mut sweep = Sweep::new(conn);
    for keys in by_tag(dead) {
        for batch in keys.chunks(BATCH as usize) {
            let (removed, left) = sweep.batch(batch).await?;
            found.removed += removed;
            found.left += left;
        }
    }
    found.refused = sweep.refused;
    Ok(found)
}
