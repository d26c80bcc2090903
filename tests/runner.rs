//! The runner on real servers: whatever a run comes to, one record, no key left, and nobody beside it who may not be.
//!
//! The probes are made up here, since a probe that panics or hangs is not shipped.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use measure::{
    Effect, ProbeError, Reason,
    conn::{self, Endpoint},
    keys::CleanUp,
    lease::{KEY, Lease},
    load::Progress,
    report::{Doubt, Report},
};
use redprobe::{
    config::{Job, Schedule, Target},
    probe::{DynProbe, Needs, ProbeCx, ProbeKind},
    schedule::runner::{Runner, Trigger},
    sink::{Record, Sinks, history::Filter},
    verdict::Outcome,
};
use tempfile::TempDir;
use testkit::{RedisServer, poll_until_async};
use tokio::sync::Notify;

use crate::synthetic;

mod bounds;
mod company;
mod lease;

/// For anything that a busy machine may delay; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

type Act = Box<dyn for<'a> Fn(&'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>> + Send + Sync>;

/// A probe that does what a test says.
struct Acting {
    kind: &'static ProbeKind,
    needs: Needs,
    act: Act,
}

impl DynProbe for Acting {
    fn kind(&self) -> &'static ProbeKind {
        self.kind
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        self.needs
    }

    fn run<'a>(&'a self, cx: &'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>> {
        (self.act)(cx)
    }
}

pub(crate) const fn needing(name: &'static str, effect: Effect) -> ProbeKind {
    ProbeKind { effect, ..synthetic::kind(name, effect, &[]) }
}

static OBSERVING: ProbeKind = needing("observing", Effect::Observe);
static TOUCHING: ProbeKind = needing("touching", Effect::Touch);
static LOADING: ProbeKind = needing("loading", Effect::Load);
static DISRUPTING: ProbeKind = needing("disrupting", Effect::Disrupt);
static AUDITING: ProbeKind = ProbeKind { as_configured: true, ..needing("auditing", Effect::Observe) };

/// A runner and a server to run on.
pub(crate) struct Bench {
    pub(crate) runner: Arc<Runner>,
    pub(crate) redis: RedisServer,
    pub(crate) state: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::on(RedisServer::start())
    }

    pub(crate) fn on(redis: RedisServer) -> Self {
        let state = TempDir::new().expect("a directory can be made");
        Self { runner: runner_in(&state), redis, state }
    }

    fn target(&self) -> Arc<Target> {
        self.target_named("cache")
    }

    fn target_named(&self, name: &str) -> Arc<Target> {
        target_at(&self.redis.url(), name)
    }

    /// Every record so far, oldest first.
    fn records(&self) -> Vec<Arc<Record>> {
        let mut records = self.runner.sinks().history.list(&Filter { limit: 100, ..Filter::default() });
        records.reverse();
        records
    }
}

pub(crate) fn runner_in(state: impl AsRef<Path>) -> Arc<Runner> {
    let mut plan = synthetic::plan(&[]);
    plan.state_dir = state.as_ref().to_owned();
    plan.limits.concurrent_load = 4;
    Runner::new(&plan, Arc::new(Sinks::new(100)))
}

pub(crate) fn target_at(url: &str, name: &str) -> Arc<Target> {
    let endpoint = Endpoint::parse(url).expect("a URL");
    let Ok(target) = Arc::try_unwrap(synthetic::target(name)) else { panic!("nobody else has it") };
    Arc::new(Target { endpoint, max_keys: 10_000, max_bytes: 10_000_000, max_connections: 100, ..target })
}

/// A job whose probe does this.
pub(crate) fn job<F>(kind: &'static ProbeKind, target: &Arc<Target>, timeout: Duration, act: F) -> Arc<Job>
where
    F: for<'a> Fn(&'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>> + Send + Sync + 'static,
{
    let needs = Needs { connections: 2, keys: 100, bytes: 1_000 };
    Arc::new(Job {
        name: kind.name.into(),
        probe: Arc::new(Acting { kind, needs, act: Box::new(act) }),
        target: Arc::clone(target),
        schedule: Schedule::Manual,
        timeout,
        variant: String::new(),
        limits: Vec::new(),
        settings: serde_json::json!({}),
    })
}

/// Writes 100 keys of its own.
pub(crate) async fn write_keys(cx: &ProbeCx) -> Result<(), ProbeError> {
    let (mut conn, _) = cx.connect().await?;
    let keys = cx.keys.range("test", 100, 10)?;
    for index in 0..100 {
        keys.set_one(index, b"0123456789").query_async::<()>(&mut conn).await?;
    }
    Ok(())
}

/// Counts who is in at a time.
#[derive(Default)]
struct Room {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Room {
    async fn stay(&self, time: Duration) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A job that writes keys, says when it has, and never ends by itself.
fn endless(kind: &'static ProbeKind, target: &Arc<Target>) -> (Arc<Job>, Arc<Notify>) {
    let begun = Arc::new(Notify::new());
    let says = Arc::clone(&begun);
    let job = job(kind, target, PATIENCE, move |cx| {
        let says = Arc::clone(&says);
        Box::pin(async move {
            write_keys(cx).await?;
            says.notify_one();
            std::future::pending().await
        })
    });
    (job, begun)
}

/// A job that says when it has begun, and ends when it is told to.
struct Held {
    job: Arc<Job>,
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
}

fn held(kind: &'static ProbeKind, target: &Arc<Target>) -> Held {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (says, waits) = (Arc::clone(&begun), Arc::clone(&go_on));
    let job = job(kind, target, PATIENCE, move |_| {
        let (says, waits) = (Arc::clone(&says), Arc::clone(&waits));
        Box::pin(async move {
            says.notify_one();
            waits.notified().await;
            Ok(Report::default())
        })
    });
    Held { job, begun, go_on }
}

impl Held {
    /// Starts it and returns once it has begun.
    async fn begin(&self, runner: &Arc<Runner>) -> tokio::task::JoinHandle<Arc<Record>> {
        let (runner, job) = (Arc::clone(runner), Arc::clone(&self.job));
        let run = tokio::spawn(async move { runner.tick(&job, Trigger::Schedule).await });
        tokio::time::timeout(PATIENCE, self.begun.notified()).await.expect("it begins");
        run
    }
}
