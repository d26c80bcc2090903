//! The one way to run a probe: whoever asks, every run goes through [`Runner`] and becomes exactly one [`Record`].
//!
//! Permit (`admit`) → guard, deadline, panic, clean-up (`run`) → judgement (`record`) → publication. When jobs run
//! belongs to the scheduler; what a grade is, to `verdict`.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use measure::{Effect, ProbeError, Reason, clock, journal::Journal, load::Progress};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{
    admit::{Gates, Place, Request},
    grants,
    halts::Halts,
    record::{Finished, panicked, record},
    restore::Restorer,
    run::Run,
    runlog::Scrub,
    whereabouts::Peers,
};
pub use super::{kept::KeptConnection, runlog::RunLog};
use crate::{
    config::{Job, Plan},
    selfwatch::SelfWatch,
    sink::{Record, Sinks},
    verdict::Outcome,
};

/// Who wants the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The scheduler.
    Schedule,
    /// The command line or the API.
    Manual,
    /// `GET /probe`: bounded by the scraper's time-out, with no more than this effect; kept out of `/metrics`.
    Scrape {
        /// The greatest effect this caller may have.
        cap: Effect,
        /// Bound of the run.
        timeout: Duration,
    },
}

/// A run under way.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its id.
    pub id: String,
    /// Its job.
    pub job: Arc<Job>,
    /// When it began.
    pub started_at: SystemTime,
    /// How far it is.
    pub progress: watch::Receiver<Progress>,
    /// What it has said of itself so far.
    pub log: RunLog,
}

/// Runs jobs, whoever asks.
#[derive(Debug)]
pub struct Runner {
    sinks: Arc<Sinks>,
    watch: SelfWatch,
    state_dir: PathBuf,
    halts: Halts,
    restorer: Arc<Restorer>,
    gates: Gates,
    slots: Mutex<Arc<Semaphore>>,
    places: Mutex<HashMap<String, Arc<Place>>>,
    running: Mutex<BTreeMap<String, Running>>,
    runs: TaskTracker,
    stop: CancellationToken,
    hurry: CancellationToken,
    left_over: AtomicU64,
    grants: Mutex<Option<AbortOnDropHandle<()>>>,
    peers: Peers,
}

impl Runner {
    /// A runner with the limits of this plan, on the current runtime. Its lock files are in the plan's `state_dir`.
    #[must_use]
    pub fn new(plan: &Plan, sinks: Arc<Sinks>) -> Arc<Self> {
        let restorer = Restorer::new(Journal::of(&plan.state_dir), Arc::clone(&sinks));
        Arc::new(Self {
            peers: Peers::new(Arc::clone(&sinks)),
            watch: SelfWatch::start(Arc::clone(&sinks)),
            halts: Halts::start(plan.state_dir.clone(), Arc::clone(&sinks)),
            sinks,
            state_dir: plan.state_dir.clone(),
            restorer: Arc::new(restorer),
            gates: Gates::default(),
            slots: Mutex::new(Arc::new(Semaphore::new(plan.limits.concurrent_load))),
            places: Mutex::default(),
            running: Mutex::default(),
            runs: TaskTracker::new(),
            stop: CancellationToken::new(),
            hurry: CancellationToken::new(),
            left_over: AtomicU64::new(0),
            grants: Mutex::default(),
        })
    }

    /// Runs `job` once and publishes the record. Returns when it is published; a run that may not start now is a
    /// record too. Dropping the future does not stop the run.
    pub async fn tick(self: &Arc<Self>, job: &Arc<Job>, trigger: Trigger) -> Arc<Record> {
        let (id, run) = self.spawn(job, trigger);
        match run.await {
            Ok(record) => record,
            // Only a defect of the publication itself, or the end of the runtime, can lead here.
            Err(error) => {
                let finished = Finished::without_run(
                    clock::wall(),
                    ProbeError::failed(Reason::Panic, error.to_string()),
                );
                Arc::new(record(&id, job, &RunLog::default(), finished))
            }
        }
    }

    /// As [`Runner::tick`], for a caller that does not wait: returns the id that its record will have.
    pub fn start(self: &Arc<Self>, job: &Arc<Job>, trigger: Trigger) -> String {
        self.spawn(job, trigger).0
    }

    fn spawn(self: &Arc<Self>, job: &Arc<Job>, trigger: Trigger) -> (String, JoinHandle<Arc<Record>>) {
        let id = ulid::Ulid::new().to_string();
        let place = self.place(&job.target.id);
        let (runner, job, run) = (Arc::clone(self), Arc::clone(job), id.clone());
        let runs = place.runs.clone();
        let work = runs.track_future(async move { runner.see_through(&run, &job, trigger, place).await });
        (id, self.runs.spawn(work))
    }

    /// Starts a run that was due at `due`.
    pub(super) fn start_scheduled(self: &Arc<Self>, job: &Arc<Job>, due: Instant) {
        self.sinks.metrics.start_lateness(due.elapsed());
        self.start(job, Trigger::Schedule);
    }

    /// The runs under way, oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        // Ids sort by time.
        lock(&self.running).values().cloned().collect()
    }

    /// Where records go.
    #[must_use]
    pub fn sinks(&self) -> &Arc<Sinks> {
        &self.sinks
    }

    /// What puts back the settings that dead runs have changed.
    #[must_use]
    pub fn restorer(&self) -> &Arc<Restorer> {
        &self.restorer
    }

    /// The watch over the process itself.
    #[must_use]
    pub fn watch(&self) -> &SelfWatch {
        &self.watch
    }

    /// What is halted.
    #[must_use]
    pub fn halts(&self) -> &Halts {
        &self.halts
    }

    /// Takes on a new plan's limits and targets. Runs on targets that are gone are cancelled, and awaited with their
    /// clean-up for `patience` at the most; all others go on as they are. Kept connections are opened anew, since
    /// passwords and certificates may have changed.
    pub async fn apply(&self, plan: &Plan, patience: Duration) {
        self.restorer.apply(plan.all_targets().cloned());
        self.peers.forget();
        // Runs that hold a slot of the old ones finish with it.
        *lock(&self.slots) = Arc::new(Semaphore::new(plan.limits.concurrent_load));
        let gone: Vec<_> = {
            let mut places = lock(&self.places);
            places.values().for_each(|place| place.kept.close());
            places.extract_if(|name, _| !plan.targets.contains_key(name)).map(|(_, place)| place).collect()
        };
        for place in &gone {
            place.cancel.cancel();
            place.runs.close();
        }
        let ended = async {
            for place in &gone {
                place.runs.wait().await;
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!("runs on targets that left the configuration did not end in time");
        }
    }

    /// Finds out what the users of the plan's targets lack and what they may do needlessly, and logs it once per target.
    /// Returns when each has been asked.
    pub async fn check_grants(&self, plan: &Plan) {
        grants::ask_once(self, plan).await;
    }

    /// As [`Runner::check_grants`], on a task of its own which also waits for targets that are not there yet. The next
    /// plan's takes its place.
    pub fn watch_grants(self: &Arc<Self>, plan: &Plan) {
        *lock(&self.grants) = Some(grants::watch(Arc::clone(self), plan));
    }

    /// Cancels every run, lets each clean up, and waits for them for `patience` at the most. Runs that are asked for
    /// from now on are skipped. Returns whether everything was put back.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        lock(&self.grants).take();
        self.runs.close();
        let ended = tokio::time::timeout(patience, self.runs.wait()).await.is_ok();
        let left_over = self.left_over.load(Ordering::Relaxed);
        if !ended {
            tracing::error!(
                runs = self.running().len(),
                "runs did not end in time; their keys go by their TTL"
            );
        } else if left_over > 0 {
            tracing::error!(left_over, "keys could not be removed; they go by their TTL");
        }
        let restored = self.restorer.is_clean();
        if !restored {
            tracing::error!("settings are not put back; the next start does it, or `redprobe restore`");
        }
        ended && left_over == 0 && restored
    }

    /// Shortens what is left of clean-ups to seconds, for somebody who asked twice to stop.
    pub fn hurry(&self) {
        self.hurry.cancel();
    }

    async fn see_through(
        &self,
        id: &str,
        job: &Arc<Job>,
        trigger: Trigger,
        place: Arc<Place>,
    ) -> Arc<Record> {
        let began = clock::now();
        let log = RunLog::new(Scrub::new(job.target.endpoint.passwords()));
        let request = Request {
            id,
            job,
            trigger,
            place: Arc::clone(&place),
            state_dir: &self.state_dir,
            restorer: &self.restorer,
            slots: Arc::clone(&lock(&self.slots)),
            halts: &self.halts,
            log: &log,
        };
        // The probe's own panics end in `run`; this is for those around it.
        let work = AssertUnwindSafe(async {
            let admission = request.admit(&self.gates).await?;
            let timeout = match trigger {
                Trigger::Scrape { timeout, .. } => job.timeout.min(timeout.saturating_sub(began.elapsed())),
                Trigger::Schedule | Trigger::Manual => job.timeout,
            };
            let (progress, receiver) = watch::channel(Progress::default());
            let _listed = self.list(id, job, receiver, &log);
            let (hurry, journal, halts) = (&self.hurry, self.restorer.journal(), &self.halts);
            let (log, admission, peers) = (&log, &admission, &self.peers);
            let run = Run { id, job, log, admission, timeout, progress, hurry, journal, halts, peers };
            Ok(run.carry_out(&self.watch).await)
        });
        let finished = match work.catch_unwind().await {
            Ok(Ok(finished)) => finished,
            Ok(Err(refused)) => Finished::without_run(clock::wall(), refused),
            Err(panic) => Finished::without_run(clock::wall(), panicked(&*panic)),
        };
        let record = Arc::new(record(id, job, &log, finished));
        self.sinks.metrics.left_over(&job.target.id, place.left_over());
        if !record.unrestored.is_empty() {
            self.restorer.left_by_run(&job.target.id, record.unrestored.len() as u64);
        }
        self.publish(&record, trigger);
        record
    }

    fn publish(&self, record: &Arc<Record>, trigger: Trigger) {
        if self.stop.is_cancelled() {
            self.left_over.fetch_add(record.clean_up.left_over, Ordering::Relaxed);
        }
        let (probe, target, variant) = record.job.key();
        let (run, outcome, conclusion) = (&record.id, record.outcome.as_str(), &record.conclusion);
        match record.outcome {
            Outcome::Passed | Outcome::Skipped => {
                tracing::debug!(probe, target, variant, run, outcome, "{conclusion}");
            }
            _ => tracing::info!(probe, target, variant, run, outcome, "{conclusion}"),
        }
        match trigger {
            Trigger::Scrape { .. } => self.sinks.history.push(Arc::clone(record)),
            Trigger::Schedule | Trigger::Manual => self.sinks.publish(record),
        }
    }

    pub(super) const fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(super) fn place(&self, target: &str) -> Arc<Place> {
        let mut places = lock(&self.places);
        if let Some(place) = places.get(target) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place::new(self.stop.child_token()));
        places.insert(target.to_owned(), Arc::clone(&place));
        place
    }

    fn list(
        &self,
        id: &str,
        job: &Arc<Job>,
        progress: watch::Receiver<Progress>,
        log: &RunLog,
    ) -> Listed<'_> {
        let (job, log, started_at) = (Arc::clone(job), log.clone(), clock::wall());
        self.sinks.metrics.began(&job);
        let running = Running { id: id.to_owned(), job, started_at, progress, log };
        lock(&self.running).insert(id.to_owned(), running);
        Listed { runner: self, id: id.to_owned() }
    }
}

/// A run's place in the list of those under way; ends when dropped.
struct Listed<'a> {
    runner: &'a Runner,
    id: String,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        if let Some(run) = lock(&self.runner.running).remove(&self.id) {
            self.runner.sinks.metrics.ended(&run.job);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
