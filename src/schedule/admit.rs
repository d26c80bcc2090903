//! May this run begin? One at a time of each job, the effect that the target allows, the target's budgets, its lock.
//!
//! A refusal is an error that becomes a record like any other. What the server itself has to say (preflight, lease) is
//! asked in `run`, within the run's deadline.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use measure::{Effect, ProbeError, Reason};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    debts::Debts,
    grants::Grants,
    halts::Halts,
    kept::KeptConnection,
    locks::{Company, LockFile, Permit, SettingsHold, SettingsLock, Stay, TargetLock},
    restore::Restorer,
    runlog::RunLog,
    runner::Trigger,
};
use crate::{
    config::{Job, Schedule, Target},
    probe::Needs,
};

/// The longest wait for other runs on the target to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all runs on one target share.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) lock: TargetLock,
    settings: SettingsLock,
    pub(super) company: Company,
    pub(super) kept: KeptConnection,
    /// What runs here could not put back.
    pub(super) debts: Debts,
    /// Keys of killed runs that the janitor found and could not remove.
    pub(super) found: AtomicU64,
    /// What its user may do.
    pub(super) grants: Grants,
    /// Ends every run here.
    pub(super) cancel: CancellationToken,
    /// The runs here, waiting ones included.
    pub(super) runs: TaskTracker,
}

impl Place {
    pub(super) fn new(cancel: CancellationToken) -> Self {
        Self {
            lock: TargetLock::default(),
            settings: SettingsLock::default(),
            company: Company::default(),
            kept: KeptConnection::default(),
            debts: Debts::default(),
            found: AtomicU64::new(0),
            grants: Grants::default(),
            cancel,
            runs: TaskTracker::new(),
        }
    }

    /// Own keys that may be left. The janitor may have found those that are owed as well.
    pub(super) fn left_over(&self) -> u64 {
        self.debts.left_over().max(self.found.load(Ordering::Relaxed))
    }
}

/// A job's identity.
type Key = (&'static str, String, String);

/// The jobs that run or wait now.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates(Arc<Mutex<HashSet<Key>>>);

/// A job's turn; others of the same job are turned away until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    gates: Gates,
    key: Key,
}

impl Gates {
    fn enter(&self, job: &Job) -> Option<Turn> {
        let (probe, target, variant) = job.key();
        let key = (probe, target.to_owned(), variant.to_owned());
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.insert(key.clone()).then(|| Turn { gates: self.clone(), key })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gates.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Leave to run, until dropped.
#[derive(Debug)]
pub(super) struct Admission {
    /// The effect that the run may have.
    pub(super) allowed: Effect,
    pub(super) place: Arc<Place>,
    pub(super) stay: Stay,
    // Given back in this order: the file before the lock, so that the next one here finds it free.
    _file: Option<LockFile>,
    _settings: SettingsHold,
    _permit: Permit,
    _turn: Option<Turn>,
}

/// Who asks to run.
pub(super) struct Request<'a> {
    pub(super) id: &'a str,
    pub(super) job: &'a Job,
    pub(super) trigger: Trigger,
    pub(super) place: Arc<Place>,
    pub(super) state_dir: &'a Path,
    pub(super) restorer: &'a Restorer,
    pub(super) slots: Arc<Semaphore>,
    pub(super) halts: &'a Halts,
    pub(super) log: &'a RunLog,
}

impl Request<'_> {
    /// Waits for leave to run, within bounds.
    pub(super) async fn admit(self, gates: &Gates) -> Result<Admission, ProbeError> {
        let (job, place) = (self.job, self.place);
        let effect = permitted(job, self.trigger)?;
        // Phases beyond the least effect are checked one by one, and skipped where there is no room for them.
        within_budget(&job.target, job.probe.needs(job.kind().effect))?;
        // Scrapes may overlap: two Prometheus servers that watch the same targets ask at the same moment.
        let turn = match self.trigger {
            Trigger::Scrape { .. } => None,
            Trigger::Schedule | Trigger::Manual => Some(gates.enter(job).ok_or_else(|| {
                ProbeError::skipped(Reason::Overlap, "the last run of this job has not ended yet")
            })?),
        };
        let patience = patience(job, self.trigger);
        let enter = async {
            let (permit, allowed) = place.lock.enter(effect, job.kind().effect, self.slots).await;
            (permit, allowed, place.settings.hold(allowed, job.kind().as_configured).await)
        };
        let (permit, allowed, settings) = tokio::select! {
            biased;
            () = place.cancel.cancelled() => {
                return Err(ProbeError::skipped(Reason::Cancelled, "redprobe is stopping, or the target left the configuration"));
            }
            entered = tokio::time::timeout(patience, enter) => entered.map_err(|_elapsed| {
                let waited = patience.as_secs_f64();
                ProbeError::skipped(Reason::Overlap, format!("other runs on the target did not end within {waited} s"))
            })?,
        };
        // Now that it is its turn: who waited may have been halted meanwhile.
        let allowed = not_halted(job, allowed, self.halts, self.log).await?;
        let file = match allowed {
            Effect::Observe | Effect::Touch => None,
            Effect::Load | Effect::Disrupt => Some(LockFile::take(self.state_dir, &job.target.id, self.id)?),
        };
        if allowed >= Effect::Disrupt {
            self.restorer.clear_the_way(&job.target).await?;
        }
        let stay = place.company.join(is_heavy(allowed, job.probe.needs(allowed)));
        Ok(Admission { allowed, place, stay, _file: file, _settings: settings, _permit: permit, _turn: turn })
    }
}

/// The effect that a run may have, where it may have enough of it.
fn permitted(job: &Job, trigger: Trigger) -> Result<Effect, ProbeError> {
    let (kind, target) = (job.kind(), &job.target);
    let refuse = |why: String| Err(ProbeError::skipped(Reason::EffectNotAllowed, why));
    if kind.effect > target.allow {
        return refuse(format!(
            "{} needs {}, but targets.{}.allow is {}",
            kind.name, kind.effect, target.name, target.allow
        ));
    }
    match trigger {
        Trigger::Scrape { cap, .. } if kind.effect > cap => {
            refuse(format!("{} needs {}, and this caller may have {cap}", kind.name, kind.effect))
        }
        Trigger::Scrape { cap, .. } => Ok(job.effect().min(cap)),
        Trigger::Schedule | Trigger::Manual => Ok(job.effect()),
    }
}

/// What a halt leaves of it, where that is enough.
async fn not_halted(job: &Job, effect: Effect, halts: &Halts, log: &RunLog) -> Result<Effect, ProbeError> {
    // What only looks goes on whatever is halted.
    if effect < Effect::Load {
        return Ok(effect);
    }
    match halts.cap(job).await {
        Some((cap, why)) if job.kind().effect > cap => Err(ProbeError::skipped(Reason::Precondition, why)),
        Some((cap, why)) if effect > cap => {
            log.note(format!("no more than {cap}: {why}"));
            Ok(cap)
        }
        _ => Ok(effect),
    }
}

fn within_budget(target: &Target, needs: Needs) -> Result<(), ProbeError> {
    let budgets = [
        ("max_connections", needs.connections, target.max_connections),
        ("max_keys", needs.keys, target.max_keys),
        ("max_bytes", needs.bytes, target.max_bytes),
    ];
    let over: Vec<_> = budgets
        .into_iter()
        .filter(|(_, needed, budget)| needed > budget)
        .map(|(key, needed, budget)| {
            format!("it needs {needed} where targets.{}.{key} is {budget}", target.name)
        })
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    Err(ProbeError::skipped(
        Reason::Precondition,
        format!("{}; lower the probe's settings, or raise the budget", over.join(", and ")),
    ))
}

/// How long a run may wait for others: so that it has begun, or was given up, before its next tick.
fn patience(job: &Job, trigger: Trigger) -> Duration {
    match (trigger, &job.schedule) {
        (Trigger::Scrape { timeout, .. }, _) => PATIENCE.min(timeout / 2),
        (Trigger::Schedule, Schedule::Every(every)) => PATIENCE.min(*every * 9 / 10),
        _ => PATIENCE,
    }
}

/// Whether a run can change what others measure beside it. A health check's one key does not.
fn is_heavy(allowed: Effect, needs: Needs) -> bool {
    allowed >= Effect::Load || (allowed == Effect::Touch && needs.keys > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::testing;

    fn scrape(cap: Effect) -> Trigger {
        Trigger::Scrape { cap, timeout: Duration::from_secs(10) }
    }

    #[test]
    fn no_run_has_more_than_target_and_caller_allow() {
        let job = |allow| testing::job("cache", allow, Schedule::Manual);
        assert_eq!(permitted(&job(Effect::Observe), Trigger::Manual).unwrap(), Effect::Observe);
        assert_eq!(permitted(&job(Effect::Disrupt), Trigger::Schedule).unwrap(), Effect::Load);
        assert_eq!(permitted(&job(Effect::Load), scrape(Effect::Touch)).unwrap(), Effect::Touch);
    }

    #[test]
    fn budgets_name_every_key_that_is_too_low() {
        let target = testing::target("cache", Effect::Load);
        let needs = Needs { connections: 11, keys: 1_000, bytes: 1_000_001 };
        let error = within_budget(&target, needs).unwrap_err();
        assert_eq!(error.failure().reason, Reason::Precondition);
        let message = &error.failure().message;
        assert!(message.contains("needs 11 where targets.cache.max_connections is 10"), "{message}");
        assert!(message.contains("targets.cache.max_bytes"), "{message}");
        assert!(!message.contains("max_keys"), "{message}");
        within_budget(&target, Needs { connections: 10, keys: 1_000, bytes: 1_000_000 }).unwrap();
    }

    #[test]
    fn a_wait_ends_before_the_next_tick() {
        let every = |seconds| {
            let schedule = Schedule::Every(Duration::from_secs(seconds));
            patience(&testing::job("cache", Effect::Load, schedule), Trigger::Schedule)
        };
        assert_eq!(every(10), Duration::from_secs(9));
        assert_eq!(every(3_600), PATIENCE);
        let manual = testing::job("cache", Effect::Load, Schedule::Manual);
        assert_eq!(patience(&manual, Trigger::Manual), PATIENCE);
        assert_eq!(patience(&manual, scrape(Effect::Observe)), Duration::from_secs(5));
    }

    #[test]
    fn one_run_of_a_job_at_a_time() {
        let gates = Gates::default();
        let job = testing::job("cache", Effect::Load, Schedule::Manual);
        let turn = gates.enter(&job);
        assert!(turn.is_some() && gates.enter(&job).is_none());
        assert!(gates.enter(&testing::job("other", Effect::Load, Schedule::Manual)).is_some());
        drop(turn);
        assert!(gates.enter(&job).is_some());
    }
}
