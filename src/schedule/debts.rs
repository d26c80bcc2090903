//! What runs on a target could not put back, because the server was gone, hung or refusing: their keys and the lease.
//! The next run that gets through does it.
//!
//! In memory only: where redprobe itself ends, or the target leaves the configuration, it is left to the TTLs. A run's
//! own clean-up is in `run`.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use measure::{
    Failure, Reason,
    clock::{self, Instant},
    conn::{Address, Endpoint},
    keys::KeySpace,
    lease::Lease,
    redis::aio::MultiplexedConnection,
};

use super::{runlog::RunLog, whereabouts};
use crate::config::Target;

/// Runs whose keys are remembered: the oldest give way, since their keys are the next to expire.
const MOST: usize = 1_000;

/// The debts of one target.
#[derive(Default)]
pub(super) struct Debts(Mutex<Owed>);

#[derive(Default)]
struct Owed {
    /// One at the most: who cannot take the lease owes none.
    lease: Option<Lease>,
    keys: VecDeque<Debt>,
    /// Keys that were removed just now from a master that may be about to be replaced.
    recent: VecDeque<Recent>,
}

/// For so long a master may go on taking writes that its successor does not get: until the sentinels have seen the other
/// one's promotion, and told it.
const UNTOLD: Duration = Duration::from_secs(60);
/// Runs remembered for that.
const MOST_RECENT: usize = 100;

struct Recent {
    at: Address,
    keys: KeySpace,
    until: Instant,
}

/// The keys of one run, and the server that they are on: a reload may send the target elsewhere.
struct Debt {
    server: (Address, i64),
    keys: KeySpace,
    count: u64,
    /// When their TTL has removed them.
    until: Instant,
}

impl Debts {
    /// Takes on what a run leaves; nothing where it leaves nothing.
    pub(super) fn add(&self, endpoint: &Endpoint, lease: Option<Lease>, keys: &KeySpace, count: u64) {
        let mut owed = self.owed();
        if lease.is_some() {
            owed.lease = lease;
        }
        if count > 0 {
            let until = clock::now() + keys.ttl();
            owed.keys.push_back(Debt { server: server(endpoint), keys: keys.clone(), count, until });
            if owed.keys.len() > MOST {
                owed.keys.pop_front();
            }
        }
    }

    /// Remembers keys that were removed from the master at `at`: where another one is found there soon, which was promoted
    /// before that, they are owed all the same.
    pub(super) fn remember(&self, at: &Endpoint, keys: &KeySpace) {
        let (at, keys, until) = (at.address.clone(), keys.clone(), clock::now() + UNTOLD);
        let recent = &mut self.owed().recent;
        recent.push_back(Recent { at, keys, until });
        if recent.len() > MOST_RECENT {
            recent.pop_front();
        }
    }

    /// The target's server is found at `now`.
    pub(super) fn found(&self, endpoint: &Endpoint, now: &Endpoint) {
        let mut owed = self.owed();
        let (mut recent, time) = (std::mem::take(&mut owed.recent), clock::now());
        recent.retain(|one| one.until > time);
        while let Some(at) = recent.iter().position(|one| one.at != now.address) {
            let Some(Recent { keys, .. }) = recent.remove(at) else { break };
            let until = time + keys.ttl();
            owed.keys.push_back(Debt { server: server(endpoint), keys, count: 0, until });
        }
        owed.recent = recent;
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        let owed = self.owed();
        owed.lease.is_some() || !owed.keys.is_empty()
    }

    /// Keys that may be left, those apart that have expired meanwhile.
    pub(super) fn left_over(&self) -> u64 {
        let mut owed = self.owed();
        let now = clock::now();
        owed.keys.retain(|debt| debt.until > now);
        owed.keys.iter().map(|debt| debt.count).sum()
    }

    /// Gives back the lease of an earlier run, which would keep the next one out. Another's stays.
    pub(super) async fn give_back_lease(&self, conn: &mut MultiplexedConnection) {
        let Some(lease) = self.owed().lease.take() else { return };
        match lease.release(conn).await {
            // In a cluster, its slot has gone to another node: it ends there by itself.
            Ok(()) | Err(Failure { reason: Reason::Moved, .. }) => {}
            Err(_later) => {
                self.owed().lease.get_or_insert(lease);
            }
        }
    }

    /// Puts back what it can.
    pub(super) async fn pay(
        &self,
        target: &Target,
        at: &Endpoint,
        conn: &mut MultiplexedConnection,
        log: &RunLog,
    ) {
        self.give_back_lease(conn).await;
        let count = self.owed().keys.len();
        for _ in 0..count {
            let Some(mut debt) = self.owed().keys.pop_front() else { return };
            if debt.server != server(&target.endpoint) {
                continue;
            }
            let mut conn = Ok(conn.clone());
            match whereabouts::clean_up(&debt.keys, target, at, &mut conn).await.result {
                Ok(done) => {
                    log.note(format!("removed {} keys that an earlier run had left", done.keys_removed));
                }
                Err(failure) => {
                    debt.count = debt.keys.cleaned_up().left_over;
                    self.owed().keys.push_back(debt);
                    if failure.reason.is_broken_connection() {
                        return;
                    }
                }
            }
        }
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Debts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debts").field("any", &self.any()).finish_non_exhaustive()
    }
}

fn server(endpoint: &Endpoint) -> (Address, i64) {
    (endpoint.address.clone(), endpoint.database)
}
