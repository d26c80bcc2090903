//! Removes what killed runs have left: at the start of the daemon, and once an hour.
//!
//! A run's own clean-up is `run`'s, what it could not put back in this process `debts`'. Here are those whose process is
//! dead. Only on targets that allow Load: what Touch leaves is a few keys whose TTL ends soon, and no reason to go
//! through a production database. How keys are found and removed is the measuring core's.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use measure::{
    Effect, Preflight, ProbeError, Reason,
    clock::{self, Instant},
    conn,
    keys::{self, Leftovers},
    lease,
    redis::aio::MultiplexedConnection,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;
use ulid::Ulid;

use super::{locks::LockFile, runlog::RunLog, runner::Runner, whereabouts};
use crate::config::{Plan, Target};

/// From one sweep of a target to the next, and to another try where it could not be done.
const EVERY: Duration = Duration::from_secs(3_600);
const AGAIN: Duration = Duration::from_secs(60);
/// Between two parts of a big database.
const NEXT_PART: Duration = Duration::from_secs(5);
/// Where SCAN is denied: asking more often would only fill the server's ACL LOG.
const DENIED: Duration = Duration::from_secs(24 * 3_600);
/// Targets that are swept at a time.
const AT_A_TIME: usize = 4;
/// Longest wait for a run on the target to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after its time-out a run is over: clean-up and a slow end included.
const MARGIN: Duration = Duration::from_secs(30);
/// The time-out of a run that no job of the plan configures: what `redprobe run` gives it.
const UNCONFIGURED: Duration = Duration::from_secs(15 * 60);

/// Sweeps the targets of the plan in force. Dropping it ends that.
#[derive(Debug)]
pub struct Janitor {
    plans: watch::Sender<Option<Arc<Plan>>>,
    task: AbortOnDropHandle<()>,
}

impl Janitor {
    /// One without targets, on the current runtime.
    #[must_use]
    pub fn start(runner: Arc<Runner>) -> Self {
        let (plans, planned) = watch::channel(None);
        Self { plans, task: AbortOnDropHandle::new(tokio::spawn(keep(runner, planned))) }
    }

    /// Sweeps this plan's targets from now on; those that are new at once.
    pub fn apply(&self, plan: Arc<Plan>) {
        self.plans.send_replace(Some(plan));
    }

    /// Sweeps nothing any more.
    pub fn stop(&self) {
        self.task.abort();
    }
}

type Rounds = HashMap<String, Round>;

/// One target's turn.
struct Round {
    due: Instant,
    /// Where to go on.
    from: u64,
    /// The last run that this machine had there before the daemon started: dead, whatever its age.
    dead: Option<String>,
}

async fn keep(runner: Arc<Runner>, mut planned: watch::Receiver<Option<Arc<Plan>>>) {
    let mut rounds = Rounds::new();
    loop {
        let plan = planned.borrow_and_update().clone();
        if let Some(plan) = &plan {
            let due = take_due(&mut rounds, plan);
            let swept = stream::iter(due).map(|(target, round)| sweep(&runner, plan, target, round));
            rounds.extend(swept.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await);
        }
        let next = rounds.values().map(|round| round.due).min();
        let wait = next.map_or(EVERY, |due| due.saturating_duration_since(clock::now()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = planned.changed() => if changed.is_err() { return },
        }
    }
}

/// Forgets targets that are gone, and takes out those whose turn it is.
fn take_due(rounds: &mut Rounds, plan: &Plan) -> Vec<(Arc<Target>, Round)> {
    rounds.retain(|name, _| plan.targets.contains_key(name));
    let now = clock::now();
    let mut due = Vec::new();
    for target in plan.targets.values().filter(|target| target.allow >= Effect::Load && !target.is_replica())
    {
        let round = rounds.remove(&target.id).unwrap_or_else(|| first(&plan.state_dir, target));
        if round.due <= now {
            due.push((Arc::clone(target), round));
        } else {
            rounds.insert(target.id.clone(), round);
        }
    }
    due
}

async fn sweep(runner: &Runner, plan: &Plan, target: Arc<Target>, round: Round) -> (String, Round) {
    let sweep = Sweep { runner, plan, target: &target, dead: round.dead.as_deref() };
    let (from, wait) = sweep.part(round.from).await;
    (target.id.clone(), Round { due: clock::now() + wait, from, dead: round.dead })
}

fn first(state_dir: &Path, target: &Target) -> Round {
    Round { due: clock::now(), from: 0, dead: LockFile::last_run(state_dir, &target.id) }
}

struct Sweep<'a> {
    runner: &'a Runner,
    plan: &'a Plan,
    target: &'a Target,
    dead: Option<&'a str>,
}

impl Sweep<'_> {
    /// One part. Returns where the next one begins, and after what time.
    async fn part(&self, from: u64) -> (u64, Duration) {
        let name = &self.target.id;
        let place = self.runner.place(name);
        // Beside what touches, and never beside a load, which it would disturb.
        let slots = Arc::new(Semaphore::new(1));
        let enter = place.lock.enter(Effect::Touch, Effect::Touch, slots);
        let Ok(_permit) = tokio::time::timeout(PATIENCE, enter).await else { return (from, AGAIN) };
        let swept = async {
            let spot = whereabouts::find(self.target, &place.kept, self.runner.peers()).await?;
            if let Some(failure) = spot.only_looks {
                return Err(ProbeError::Skipped(failure));
            }
            let (mut conn, _) = conn::connect(&spot.endpoint, "redprobe-janitor").await?;
            Preflight { effect: Effect::Touch, connections: 0, bytes: 0 }.check(&mut conn).await?;
            place.debts.pay(self.target, &spot.endpoint, &mut conn, &RunLog::default()).await;
            self.sweep(&mut conn, &spot.lease, from).await
        };
        match swept.await {
            Ok(found) => {
                if found.removed > 0 {
                    tracing::info!(target = name, keys = found.removed, "removed what killed runs had left");
                }
                let before = if from == 0 { 0 } else { place.found.load(Ordering::Relaxed) };
                place.found.store(before + found.left, Ordering::Relaxed);
                self.runner.sinks().metrics.left_over(name, place.left_over());
                if let Some(failure) = found.refused {
                    tracing::warn!(target = name, keys = found.left, %failure, "keys of killed runs cannot be removed");
                }
                match found.next {
                    Some(next) => (next, NEXT_PART),
                    None => (0, EVERY),
                }
            }
            Err(error) if matches!(error.failure().reason, Reason::Denied | Reason::Unsupported) => {
                tracing::info!(target = name, %error, "what killed runs leave stays until its TTL ends");
                (0, DENIED)
            }
            Err(error) => {
                tracing::debug!(target = name, %error, "not swept; trying again");
                (from, AGAIN)
            }
        }
    }

    async fn sweep(
        &self,
        conn: &mut MultiplexedConnection,
        lease: &str,
        from: u64,
    ) -> Result<Leftovers, ProbeError> {
        let holder = lease::holder(conn, lease).await?.unwrap_or_default();
        let running: Vec<_> = self.runner.running().into_iter().map(|run| run.id).collect();
        let now = clock::wall();
        let is_over = |probe: &str, run: &str| {
            if running.iter().any(|running| running == run) {
                return false;
            }
            // The lease of a killed run holds on for a while; whoever else has it goes on.
            self.dead == Some(run) || (!holder.contains(run) && is_past(run, self.timeout(probe), now))
        };
        Ok(keys::leftovers(conn, self.target.whose_keys(), from, is_over).await?)
    }

    /// The longest that a run of this probe here may take.
    fn timeout(&self, probe: &str) -> Duration {
        let jobs = self.plan.jobs.iter();
        let here = jobs.filter(|job| job.target.id == self.target.id && job.kind().name == probe);
        here.map(|job| job.timeout).max().unwrap_or(UNCONFIGURED)
    }
}

/// Whether a run with this id, which has its start in it, must have ended. What is no id is nobody's run.
fn is_past(run: &str, timeout: Duration, now: SystemTime) -> bool {
    Ulid::from_string(run).is_ok_and(|id| id.datetime() + timeout + MARGIN < now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_past_when_its_time_out_and_some_more_are() {
        let now = clock::wall();
        let run = |ago: u64| Ulid::from_datetime(now - Duration::from_secs(ago)).to_string();
        let minute = Duration::from_secs(60);
        assert!(is_past(&run(100), minute, now));
        assert!(!is_past(&run(80), minute, now) && !is_past(&run(0), minute, now));
        for no_id in ["", "run", "lease", "0000000000000000000000000000", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            assert!(!is_past(no_id, minute, now), "{no_id}");
        }
    }
}
