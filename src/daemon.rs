//! `redprobe serve`: the start order, reload, and the stop. Everything it starts has its own file.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use measure::Effect;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    config::{Mistake, Plan},
    http::{self, door::Door},
    schedule::{
        Scheduler,
        janitor::Janitor,
        lock_file::{Refused, lock_file},
        runner::Runner,
    },
    shutdown::{Signals, Wish, raise_file_limit},
    sink::Sinks,
    supervisor,
};

/// Reads the configuration again, from where it was read first.
pub type ReadAgain = Box<dyn Fn() -> Result<Plan, Vec<Mistake>> + Send + Sync>;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon has the state directory.
    #[error(
        "the state directory {} is in use by another redprobe ({holder}); stop that one, or give this one a state_dir of its own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; set http.listen to a free address of this machine")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] io::Error),
}

/// The running daemon, as HTTP sees it.
pub struct Daemon {
    plan: RwLock<Arc<Plan>>,
    runner: Arc<Runner>,
    scheduler: Scheduler,
    janitor: Janitor,
    ready: AtomicBool,
    read_again: ReadAgain,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

/// Serves behind this door until told to stop. Returns whether everything on the targets was put back.
///
/// # Errors
/// For a bad start. Nothing was touched then.
pub async fn serve(plan: Plan, door: Door, read_again: ReadAgain) -> Result<bool, StartError> {
    let mut signals = Signals::take().map_err(StartError::Signals)?;
    let _lock = take_state_directory(&plan)?;
    let files = raise_file_limit();
    let listen = plan.http.listen;
    let refused = |error| StartError::Listen { address: listen, error };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tracing::info!(%address, "listening");

    let daemon = Daemon::new(plan, read_again);
    let close = CancellationToken::new();
    let http = tokio::spawn(http::serve(Arc::clone(&daemon), listener, door, close.clone()));
    daemon.start().await;
    let restorer = Arc::clone(daemon.runner.restorer());
    let restoring = AbortOnDropHandle::new(tokio::spawn(async move { restorer.keep_at_it().await }));
    let plan = daemon.plan();
    tracing::info!(targets = plan.targets.len(), jobs = plan.jobs.len(), files, "ready");
    supervisor::ready();
    let watched = Arc::clone(&daemon);
    // Until the very end: a stop that hangs is one, too.
    let _alive = AbortOnDropHandle::new(tokio::spawn(supervisor::keep_alive(move || watched.answers())));

    while let Wish::Reload = signals.next().await {
        let daemon = Arc::clone(&daemon);
        // Not awaited: a signal to stop must not wait for it. What came of it is in the log and in the metrics.
        tokio::spawn(async move { daemon.reload().await.ok() });
    }
    drop(restoring);
    let clean = daemon.stop(&mut signals).await;
    close.cancel();
    if http.await.is_err() {
        tracing::error!("the HTTP server ended by a defect of redprobe");
    }
    tracing::info!(clean, "stopped");
    Ok(clean)
}

impl Daemon {
    fn new(plan: Plan, read_again: ReadAgain) -> Arc<Self> {
        let sinks = Arc::new(Sinks::new(plan.limits.runs_kept));
        let runner = Runner::new(&plan, sinks);
        Arc::new(Self {
            scheduler: Scheduler::start(Arc::clone(&runner)),
            janitor: Janitor::start(Arc::clone(&runner)),
            runner,
            plan: RwLock::new(Arc::new(plan)),
            ready: AtomicBool::new(false),
            read_again,
            reloading: tokio::sync::Mutex::default(),
        })
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The runner.
    #[must_use]
    pub fn runner(&self) -> &Arc<Runner> {
        &self.runner
    }

    /// Whether every start-up step is done and no stop has begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Reads the configuration again. With mistakes in it, the plan in force stays, and the metric says so. Goes on to
    /// its end when the caller does not wait for it.
    ///
    /// # Errors
    /// Every mistake.
    pub async fn reload(self: &Arc<Self>) -> Result<(), Vec<Mistake>> {
        let daemon = Arc::clone(self);
        let reload = tokio::spawn(async move {
            let _one = daemon.reloading.lock().await;
            daemon.read_and_apply().await
        });
        reload.await.unwrap_or_else(|error| Err(vec![Mistake::new("reload", error.to_string())]))
    }

    async fn read_and_apply(self: &Arc<Self>) -> Result<(), Vec<Mistake>> {
        let daemon = Arc::clone(self);
        // Files are read, which may block.
        let read = tokio::task::spawn_blocking(move || (daemon.read_again)()).await;
        let read = read.unwrap_or_else(|error| Err(vec![Mistake::new("reload", error.to_string())]));
        let sinks = self.runner.sinks();
        let plan = match read {
            Ok(plan) => Arc::new(plan),
            Err(mistakes) => {
                sinks.metrics.reloaded(false);
                for mistake in &mistakes {
                    tracing::error!(%mistake, "the configuration in force stays");
                }
                return Err(mistakes);
            }
        };
        let before = {
            let mut in_force = self.plan.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *in_force, Arc::clone(&plan))
        };
        warn_of_what_needs_a_restart(&before, &plan);
        self.take_on(&plan).await;
        sinks.metrics.reloaded(true);
        tracing::info!(
            targets = plan.targets.len(),
            jobs = plan.jobs.len(),
            "the configuration was read again"
        );
        Ok(())
    }

    /// The series first, so that there are some for the first tick; the runs of targets that are gone last, since
    /// their clean-up takes time.
    async fn take_on(&self, plan: &Arc<Plan>) {
        self.runner.sinks().apply(plan);
        self.scheduler.apply(Arc::clone(plan)).await;
        self.runner.apply(plan, plan.limits.stop_timeout).await;
        self.runner.watch_grants(plan);
        self.janitor.apply(Arc::clone(plan));
    }

    /// What a dead run has left is put back before anything else begins, or tried once at least.
    async fn start(&self) {
        let plan = self.plan();
        self.runner.sinks().apply(&plan);
        self.runner.restorer().replay_at_start(&plan).await;
        self.take_on(&plan).await;
        self.ready.store(true, Ordering::Release);
    }

    /// Returns where nobody holds a lock for ever that every run and every request needs.
    fn answers(&self) {
        let _ = (self.plan(), self.runner.running());
    }

    /// Stops scheduling, cancels the runs and lets them clean up. A second signal shortens what is left.
    async fn stop(&self, signals: &mut Signals) -> bool {
        let patience = self.plan().limits.stop_timeout;
        tracing::info!(runs = self.runner.running().len(), "stopping");
        supervisor::stopping();
        self.ready.store(false, Ordering::Release);
        self.scheduler.stop();
        self.janitor.stop();
        let mut stopped = std::pin::pin!(self.runner.stop(patience));
        loop {
            tokio::select! {
                clean = &mut stopped => return clean,
                wish = signals.next() => {
                    if wish == Wish::Stop {
                        tracing::warn!("told again to stop: clean-up has two more seconds");
                        self.runner.hurry();
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// The lock that keeps a second daemon out; `None` where the directory cannot be written. What needs it is then refused
/// run by run, and all else goes on.
fn take_state_directory(plan: &Plan) -> Result<Option<File>, StartError> {
    let path = &plan.state_dir;
    match lock_directory(path) {
        Ok(lock) => Ok(Some(lock)),
        Err(Refused::Held(holder)) => Err(StartError::InUse { path: path.clone(), holder }),
        Err(Refused::Unusable(error)) => {
            let loads = plan.targets.values().any(|target| target.allow >= Effect::Load);
            let without = if loads {
                "load and disrupt are refused until it can: create it, or set state_dir"
            } else {
                "nothing allowed here needs it"
            };
            tracing::warn!(
                path = %path.display(),
                %error,
                "the state directory cannot be written, so that no other daemon is kept out; {without}"
            );
            Ok(None)
        }
    }
}

fn lock_directory(path: &Path) -> Result<File, Refused> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Refused::Unusable)?;
    lock_file(&path.join("serve.lock"), &format!("process {}", std::process::id()))
}

fn warn_of_what_needs_a_restart(before: &Plan, after: &Plan) {
    let bounds = |plan: &Plan| {
        let http = &plan.http;
        (http.max_connections, http.read_timeout, http.idle_timeout)
    };
    for (key, changed) in [
        ("http.listen", before.http.listen != after.http.listen),
        ("http.web_config_file", before.http.web_config_file != after.http.web_config_file),
        ("http.max_connections, http.read_timeout or http.idle_timeout", bounds(before) != bounds(after)),
        ("state_dir", before.state_dir != after.state_dir),
        ("log", before.log.level != after.log.level || before.log.format != after.log.format),
    ] {
        if changed {
            tracing::warn!("{key} has changed, which takes a restart; all other changes are in force");
        }
    }
}
