//! What is halted, while redprobe runs: looked at twice a second, asked by every run before it begins, and waited for by
//! those that load or disrupt.
//!
//! What the state directory keeps is `halted`'s; why a run had to be stopped, the guard's of the measuring core.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use measure::{Effect, Failure, Reason, clock};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    halted::{self, Halt, Halted, Wish},
    runlog::Scrub,
};
use crate::{config::Job, sink::Sinks};

/// Between two looks: a halt of another process, or by the halt file, is seen after this.
const LOOK: Duration = Duration::from_millis(500);

/// The halts of one state directory.
#[derive(Debug)]
pub struct Halts {
    inner: Arc<Inner>,
    _looking: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    sinks: Arc<Sinks>,
    /// Those that the directory did not take: they hold as long as the process does.
    unsaved: Mutex<Vec<Halt>>,
    state: watch::Sender<Halted>,
}

impl Halts {
    /// Reads them, and goes on looking, on the current runtime.
    pub(super) fn start(dir: PathBuf, sinks: Arc<Sinks>) -> Self {
        let state = watch::Sender::new(Halted::read(&dir));
        let inner = Arc::new(Inner { dir, sinks, unsaved: Mutex::default(), state });
        let looking = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            loop {
                looking.look().await;
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { inner, _looking: AbortOnDropHandle::new(task) }
    }

    /// What is halted, by the last look.
    #[must_use]
    pub fn seen(&self) -> Halted {
        self.inner.state.borrow().clone()
    }

    /// The greatest effect that the job may have now, and why no more.
    pub(super) async fn cap(&self, job: &Job) -> Option<(Effect, String)> {
        self.inner.look().await;
        self.inner.state.borrow().cap(&job.target.id, job.kind().name)
    }

    /// Returns when a run of the job with this effect may not go on.
    pub(super) async fn stopped(&self, job: &Job, effect: Effect) -> Failure {
        let mut state = self.inner.state.subscribe();
        let why = |state: &Halted| {
            let cap = state.cap(&job.target.id, job.kind().name);
            cap.filter(|(cap, _)| *cap < effect).map(|(_, why)| why)
        };
        loop {
            if let Some(why) = why(&state.borrow_and_update()) {
                return Failure::new(Reason::Cancelled, why);
            }
            // An error means that the process ends.
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops and refuses all that loads or disrupts: on one target, or everywhere. Holds in this process in any case.
    ///
    /// # Errors
    /// Where it could not be written down, so that it ends with the process.
    pub async fn by_hand(&self, target: Option<&str>) -> Result<(), String> {
        let halt = Halt {
            target: target.map(str::to_owned),
            probe: None,
            at: now(),
            reason: Reason::Cancelled,
            message: "halted by hand".into(),
            run: None,
        };
        self.add(halt).await
    }

    /// A run that disrupts had to be stopped: it is not begun again by itself. A halt by hand says itself how long it
    /// lasts.
    pub(super) async fn stays_off(&self, job: &Job, run: &str, failure: &Failure) {
        let reason = failure.reason;
        if reason == Reason::Cancelled {
            return;
        }
        let message = Scrub::new(job.target.endpoint.passwords()).clean(failure.message.clone());
        let (probe, target, _) = job.key();
        let halt = Halt {
            target: Some(target.to_owned()),
            probe: Some(probe.to_owned()),
            at: now(),
            reason,
            message,
            run: Some(run.to_owned()),
        };
        tracing::error!(probe, target, run, "{}", halt.sentence());
        if let Err(error) = self.add(halt).await {
            tracing::error!(probe, target, run, %error, "it stays off only until redprobe ends");
        }
    }

    async fn add(&self, halt: Halt) -> Result<(), String> {
        let (dir, new) = (self.inner.dir.clone(), halt.clone());
        let added = blocking(move || halted::add(&dir, &new)).await;
        if added.is_err() {
            self.inner.unsaved().push(halt);
        }
        self.inner.look().await;
        added
    }

    /// Takes back what the wish covers, and returns it.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub async fn rearm(&self, wish: &Wish) -> Result<Vec<Halt>, String> {
        let (dir, asked) = (self.inner.dir.clone(), wish.clone());
        let mut gone = blocking(move || halted::rearm(&dir, &asked)).await?;
        gone.extend(self.inner.unsaved().extract_if(.., |halt| wish.covers(halt)));
        self.inner.look().await;
        Ok(gone)
    }
}

impl Inner {
    async fn look(&self) {
        let dir = self.dir.clone();
        let Ok(mut now) = tokio::task::spawn_blocking(move || Halted::read(&dir)).await else { return };
        now.halts.extend(self.unsaved().iter().cloned());
        self.sinks.metrics.halted(|target| now.is_halted(target));
        self.state.send_if_modified(|state| {
            let changed = *state != now;
            *state = now;
            changed
        });
    }

    fn unsaved(&self) -> MutexGuard<'_, Vec<Halt>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

fn now() -> String {
    humantime::format_rfc3339_seconds(clock::wall()).to_string()
}
