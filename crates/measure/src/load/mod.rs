//! ONE loop for every load shape: workers × pace × operation, ramp, stop rule, kill switch.
//!
//! Load runs on threads and runtimes of its own, so that the daemon's runtime neither disturbs it nor is disturbed.
//! What an operation is belongs to its [`Client`]: [`crate::wire`] for Redis at full speed, others for pools and HTTP.

use std::{future::Future, time::Duration};

use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Instant,
    error::{Failure, Reason},
    latency::Latency,
    pace::Pace,
    report::{Operation, ReportedError, TimelinePoint},
};

mod book;
mod collect;
mod crew;
mod thread;
mod worker;

pub use self::crew::Crew;

/// One kind of operation in a mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its name, as labels say it.
    pub operation: &'static str,
    /// Its weight against the others'; a mix with one entry needs none. With `cycle`, how often in a row.
    pub weight: u32,
}

/// How kinds of operations follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// At random by weight, from the plan's seed.
    Random,
    /// In turn, each as often as its weight, on the same key: SET, GET, DEL, SET, GET, DEL.
    Cycle,
}

/// What ends a phase. The first that holds does; one at least must be given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stop {
    /// After this long.
    pub duration: Option<Duration>,
    /// After this many operations over all workers.
    pub operations: Option<u64>,
    /// When, after the first second, a greater share (0 to 1) than this of a second's attempts failed.
    pub error_ratio: Option<f64>,
}

/// One phase of load.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The phase, as reports and labels say it.
    pub phase: &'static str,
    /// Workers, each with a connection of its own.
    pub workers: usize,
    /// Threads to spread them over; each has a runtime of its own.
    pub threads: usize,
    /// How starts are set.
    pub pace: Pace,
    /// Workers start this long after the phase's beginning, for crews that join others which are at work already.
    pub delay: Duration,
    /// Workers start spread over this time.
    pub ramp: Duration,
    /// What ends it.
    pub stop: Stop,
    /// The operations.
    pub mix: Vec<Share>,
    /// How they follow each other.
    pub order: Order,
    /// Key numbers are drawn from 0 to this − 1 (`Random`), or go round in it (`Cycle`).
    pub key_space: u64,
    /// Operations sent before their replies are awaited.
    pub pipeline: usize,
    /// Bound of one operation from its send.
    pub operation_timeout: Duration,
    /// Poll a socket this long before sleeping on it: less latency for more CPU. Zero sleeps at once.
    pub spin: Duration,
    /// Seed of all choices.
    pub seed: u64,
}

/// What ended a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// Its time was over.
    Duration,
    /// Its operations were done.
    Operations,
    /// Too many errors.
    ErrorRatio,
    /// The kill switch.
    Killed,
}

/// What a phase gave.
#[derive(Debug, Clone)]
pub struct LoadResult {
    /// Per operation of the mix, in its order.
    pub operations: Vec<Operation>,
    /// Per second: `ok`, `errors`, `p99_seconds` (where there are samples enough), `max_seconds`.
    pub timeline: Vec<TimelinePoint>,
    /// Time to open the workers' connections.
    pub connects: Latency,
    /// Connections that had to be made anew half-way.
    pub reconnects: u64,
    /// Why connecting or operations failed: one example per reason.
    pub errors: Vec<ReportedError>,
    /// Latencies beyond what is told apart.
    pub clipped: u64,
    /// What ended it.
    pub stopped_by: StoppedBy,
    /// How long it lasted.
    pub duration: Duration,
}

/// Strings a running load to its probe: how to stop it, where it reports, and who waits for its threads.
#[derive(Debug, Clone)]
pub struct Control {
    /// Stops the load within an operation.
    pub kill: CancellationToken,
    /// Told once a second.
    pub progress: watch::Sender<Progress>,
    /// Counts load threads, so that clean-up can wait for the last one even when the probe was dropped.
    pub threads: TaskTracker,
}

/// How far a run is, for people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The phase.
    pub phase: &'static str,
    /// Done share of the phase, 0 to 1.
    pub done: f64,
    /// Operations per second in the last second.
    pub per_second: f64,
    /// Time left in the phase, where it is known.
    pub left: Option<Duration>,
}

/// One operation of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Index into the plan's mix.
    pub kind: usize,
    /// The key's number.
    pub key: u64,
    /// When it was due: the intended start, or the send in a closed loop.
    pub due: Instant,
    /// When it was sent; set by the client.
    pub sent: Instant,
    /// When its reply was complete; set by the client.
    pub done: Instant,
    /// What came of it; set by the client.
    pub result: Result<(), Reason>,
}

/// Does operations over one connection. Lives on one thread.
pub trait Client {
    /// Sends all of `batch`, awaits all replies, and fills in `sent`, `done` and `result` of each.
    ///
    /// # Errors
    /// Where the connection cannot be used again: the slots that were not answered have their result set; the worker
    /// then connects anew.
    fn execute(&mut self, batch: &mut [Slot]) -> impl Future<Output = Result<(), Failure>>;

    /// The text of the latest refused operation, as an example for the report.
    fn last_refusal(&self) -> Option<&str>;
}

/// Opens a worker's connection.
pub trait Connector: Clone + Send + 'static {
    /// What it gives.
    type Client: Client;

    /// Opens the connection of worker `worker` on its own thread.
    ///
    /// # Errors
    /// With the reason for which it could not.
    fn connect(&self, worker: usize) -> impl Future<Output = Result<Self::Client, Failure>>;
}

impl LoadPlan {
    /// Closed loop of one worker without end: the starting point of every phase.
    #[must_use]
    pub fn new(phase: &'static str, mix: Vec<Share>) -> Self {
        Self {
            phase,
            workers: 1,
            threads: 1,
            pace: Pace::Closed,
            delay: Duration::ZERO,
            ramp: Duration::ZERO,
            stop: Stop::default(),
            mix,
            order: Order::Random,
            key_space: 1,
            pipeline: 1,
            operation_timeout: Duration::from_secs(5),
            spin: Duration::ZERO,
            seed: 1,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let fault = if self.mix.is_empty() || self.mix.iter().all(|share| share.weight == 0) {
            "no operation in its mix"
        } else if self.workers == 0 || self.threads == 0 || self.pipeline == 0 || self.key_space == 0 {
            "no workers, threads, pipeline or keys"
        } else if self.stop.duration.is_none() && self.stop.operations.is_none() {
            "neither duration nor number of operations"
        } else {
            return Ok(());
        };
        Err(Failure::new(Reason::Other, format!("phase {} has {fault}", self.phase)))
    }
}

/// Runs one phase to its end. Dropping the future stops the load too; `control.threads` tells when it really has.
///
/// # Errors
/// Where no worker could connect (with the first one's reason), where threads or runtimes cannot be made, or where the
/// plan cannot be carried out. Failing operations are in the result.
pub async fn run<C: Connector>(
    plan: LoadPlan,
    connector: C,
    control: &Control,
) -> Result<LoadResult, Failure> {
    plan.check()?;
    let kill = control.kill.child_token();
    let _stops_when_dropped = kill.clone().drop_guard();
    let mut collector = collect::Collector::new(plan, kill, control.progress.clone());
    collector.start_threads(connector, &control.threads)?;
    collector.finish().await
}

/// Runs several phases of load at the same time, all on one thread, so that their clients can share what lives on one
/// runtime: a pool of connections, for one. The results are in the order of the crews; only the first tells progress.
///
/// # Errors
/// As [`run`], for any of them; the others are then stopped.
pub async fn run_together(crews: Vec<Crew>, control: &Control) -> Result<Vec<LoadResult>, Failure> {
    let kill = control.kill.child_token();
    let _stops_when_dropped = kill.clone().drop_guard();
    let mut collectors = Vec::with_capacity(crews.len());
    let mut bodies = Vec::with_capacity(crews.len());
    for (index, crew) in crews.into_iter().enumerate() {
        crew.plan.check()?;
        let plan = LoadPlan { threads: 1, ..crew.plan };
        let quiet = || watch::Sender::new(Progress::default());
        let progress = if index == 0 { control.progress.clone() } else { quiet() };
        let mut collector = collect::Collector::new(plan, kill.child_token(), progress);
        bodies.push((crew.body, collector.only_seat()));
        collectors.push(collector);
    }
    let running = control.threads.token();
    std::thread::Builder::new().name("load-together".to_owned()).spawn(move || {
        let _running = running;
        let bodies = bodies.into_iter().map(|(body, seat)| body(seat));
        if let Err(failure) = thread::run(async { try_join_all(bodies).await.map(drop) }) {
            tracing::warn!(%failure, "a load thread ended early");
        }
    })?;
    try_join_all(collectors.into_iter().map(collect::Collector::finish)).await
}
