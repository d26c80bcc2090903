//! The only place that talks to Prometheus: records in, exposition out. Rendering reads memory and waits for nobody.
//!
//! `families` declares what there is, `series` remembers it and knows when it disappears, `render` writes it.
//! What a run is belongs to the runner; serving the text to `http`.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use measure::{
    clock::{self, unix_seconds},
    latency::{BUCKETS, BucketCounts},
    metric::MetricDef,
};
use prometheus::{TextEncoder, core::Collector, process_collector::ProcessCollector};
use tokio::task;

use self::{
    families::{daemon, target},
    render::{Exposition, Owner},
    series::{JobSeries, TargetSeries},
};
use super::Record;
use crate::config::{Job, Plan};

mod certificates;
mod families;
mod reasons;
mod render;
mod series;

/// Bytes of text that are written without letting other tasks run: a few tenths of a millisecond's work.
const PART: usize = 64 << 10;
/// Targets that are looked at without letting other tasks run.
const TARGETS_AT_A_TIME: usize = 32;

/// The state behind `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    state: Mutex<State>,
    http: HttpCounts,
    process: ProcessCollector,
}

/// Each target's part is shared with the scrapes under way, and copied when a run changes it meanwhile: so a scrape
/// holds the lock no longer than it takes to count up some references.
#[derive(Debug, Clone, Default)]
struct State {
    targets: BTreeMap<String, Arc<TargetSeries>>,
    /// Targets that are not in the plan, or not this shard's, with settings that this process still has to put back.
    strays: BTreeMap<String, (Owner, u64)>,
    /// Which one, and of how many.
    shard: Option<[String; 2]>,
    reload_successful: Option<bool>,
    reloaded_at: Option<SystemTime>,
    event_loop_lag: Option<Duration>,
    start_lateness: BucketCounts,
}

/// What the HTTP server counts of itself.
#[derive(Debug, Default)]
pub struct HttpCounts {
    open: AtomicU64,
    shed: AtomicU64,
    /// By the first digit of the status: 1xx, 2xx, …
    answered: [AtomicU64; 5],
}

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl HttpCounts {
    /// Connections open now.
    pub fn set_open(&self, connections: usize) {
        self.open.store(connections as u64, Ordering::Relaxed);
    }

    /// One connection closed or turned away, because there were too many.
    pub fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// One request answered with this status.
    pub fn answered(&self, status: u16) {
        if let Some(count) =
            usize::from(status / 100).checked_sub(1).and_then(|class| self.answered.get(class))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing but the daemon's own metrics.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), http: HttpCounts::default(), process: ProcessCollector::for_self() }
    }

    /// What the HTTP server counts of itself.
    #[must_use]
    pub const fn http(&self) -> &HttpCounts {
        &self.http
    }

    /// Creates the series of every target and job at zero, and drops those of targets that are not in the plan any
    /// more. The first plan counts as a successful reading of the configuration.
    pub fn apply(&self, plan: &Plan) {
        let mut state = self.state();
        state.targets.retain(|name, _| plan.targets.contains_key(name));
        state.strays.retain(|id, _| !plan.targets.contains_key(id));
        state.shard = plan.shard.map(|shard| [shard.number(), shard.of()].map(|number| number.to_string()));
        for (id, target) in &plan.targets {
            let series =
                state.targets.entry(id.clone()).or_insert_with(|| Arc::new(TargetSeries::new(target)));
            let series = Arc::make_mut(series);
            series.unplan(target);
            series.tls = certificates::planned(series.tls, target);
        }
        for job in &plan.jobs {
            if let Some(target) = state.targets.get_mut(&job.target.id) {
                Arc::make_mut(target).plan(job);
            }
        }
        for target in state.targets.values_mut() {
            Arc::make_mut(target).settle();
        }
        if state.reload_successful.is_none() {
            state.reload_successful = Some(true);
            state.reloaded_at = Some(clock::wall());
        }
    }

    /// Takes in a finished run. One whose target has left the plan is forgotten.
    pub fn publish(&self, record: &Arc<Record>) {
        self.with(&record.job, |target| {
            target.tls = certificates::known(target.tls, record.tls);
            target.job(&record.job).take(record);
        });
    }

    /// A run of the job began. One that is not in the plan is not counted.
    pub fn began(&self, job: &Job) {
        self.with(job, |target| target.known(job).map_or((), JobSeries::began));
    }

    /// A run of the job that began has ended.
    pub fn ended(&self, job: &Job) {
        self.with(job, |target| target.known(job).map_or((), JobSeries::ended));
    }

    /// When the job is due next; `slack` later it counts as overdue and its results disappear.
    pub fn next_run(&self, job: &Job, at: SystemTime, slack: Duration) {
        self.with(job, |target| target.job(job).due(at, slack));
    }

    /// When the job is due next, where its schedule says.
    #[must_use]
    pub fn next_run_of(&self, job: &Job) -> Option<SystemTime> {
        self.state().targets.get(&job.target.id)?.next_run(job)
    }

    /// Ticks that never came, because the daemon did not run at their time.
    pub fn missed_ticks(&self, job: &Job, count: u64) {
        self.with(job, |target| target.job(job).miss(count));
    }

    /// How many keys runs on a target could not remove, and no later run has removed since.
    pub fn left_over(&self, target: &str, keys: u64) {
        if let Some(series) = self.state().targets.get_mut(target).filter(|series| series.left_over != keys) {
            Arc::make_mut(series).left_over = keys;
        }
    }

    /// On which targets anything is halted.
    pub fn halted(&self, is_halted: impl Fn(&str) -> bool) {
        for (name, series) in &mut self.state().targets {
            let halted = is_halted(name);
            if series.halted != halted {
                Arc::make_mut(series).halted = halted;
            }
        }
    }

    /// How many nodes of a target's cluster are not named in the configuration, as one of its nodes says.
    pub fn unnamed_nodes(&self, target: &str, nodes: u64) {
        if let Some(series) =
            self.state().targets.get_mut(target).filter(|series| series.unnamed_nodes != Some(nodes))
        {
            Arc::make_mut(series).unnamed_nodes = Some(nodes);
        }
    }

    /// How many settings of a target were changed and are not put back. For a target that is not in the plan too, as long
    /// as there are any: somebody has to know.
    pub fn unrestored(&self, target: &str, settings: u64) {
        let mut state = self.state();
        match state.targets.get_mut(target) {
            Some(series) if series.unrestored != settings => Arc::make_mut(series).unrestored = settings,
            Some(_) => {}
            None if settings == 0 => drop(state.strays.remove(target)),
            None => {
                let (name, node) = target.split_once('/').unwrap_or((target, ""));
                let owner = Owner { target: name.into(), node: node.into(), ..Owner::default() };
                state.strays.insert(target.to_owned(), (owner, settings));
            }
        }
    }

    /// How late a scheduled run started.
    pub fn start_lateness(&self, lateness: Duration) {
        let seconds = lateness.as_secs_f64();
        let counts = &mut self.state().start_lateness;
        if let Some(slot) = BUCKETS.iter().position(|edge| seconds <= *edge) {
            counts.counts[slot] += 1;
        }
        counts.count += 1;
        counts.sum += seconds;
    }

    /// How a reload of the configuration ended.
    pub fn reloaded(&self, successful: bool) {
        let mut state = self.state();
        state.reload_successful = Some(successful);
        if successful {
            state.reloaded_at = Some(clock::wall());
        }
    }

    /// The event loop's latest lag.
    pub fn event_loop_lag(&self, lag: Duration) {
        self.state().event_loop_lag = Some(lag);
    }

    /// The whole exposition, text format 0.0.4, in parts. Lets other tasks run after each: the text of a thousand
    /// targets takes tens of milliseconds. Small parts are also what an allocator gives back.
    pub async fn scrape(&self) -> Vec<String> {
        let (state, now) = (self.state().clone(), clock::wall());
        let mut out = Exposition::default();
        for (number, target) in state.targets.values().enumerate() {
            target.show(&mut out, now);
            if number % TARGETS_AT_A_TIME == TARGETS_AT_A_TIME - 1 {
                task::yield_now().await;
            }
        }
        self.show_daemon(&state, &mut out);
        let mut parts = Vec::new();
        let mut text = self.process();
        for mut family in out.into_families() {
            while family.write(&mut text, PART) {
                parts.push(mem::replace(&mut text, String::with_capacity(PART + PART / 8)));
                task::yield_now().await;
            }
        }
        parts.push(text);
        parts
    }

    /// The same at once.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        [self.process().into_bytes(), self.render_at(clock::wall())].concat()
    }

    /// The exposition without what differs from process to process, as it is at `now`.
    #[must_use]
    pub fn render_at(&self, now: SystemTime) -> Vec<u8> {
        let state = self.state().clone();
        let mut out = Exposition::default();
        for target in state.targets.values() {
            target.show(&mut out, now);
        }
        self.show_daemon(&state, &mut out);
        out.into_text().into_bytes()
    }

    /// What the system says of this process.
    fn process(&self) -> String {
        let mut families = self.process.collect();
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&families, &mut text)
            .expect("families have a name and a series each, and memory can be written to");
        text
    }

    /// The exposition of one record alone, for `/probe`: what that run found, and nothing that counts over runs.
    #[must_use]
    pub fn render_record(record: &Record) -> Vec<u8> {
        series::show_alone(record)
    }

    /// Every metric that there can be: the daemon's, those that every target and job has, and the probes' own.
    #[must_use]
    pub fn catalogue() -> Vec<&'static MetricDef> {
        let own = crate::probes::PROBES.iter().flat_map(|probe| probe.metrics);
        let mut all: Vec<_> =
            families::ALL.iter().flat_map(|group| group.iter()).chain(own).copied().collect();
        all.sort_by_key(|def| def.name);
        all
    }

    /// The labels that say whose a series of this metric is, which it has besides its own: none for the daemon's.
    /// `node` and `variant` are absent where a target has no nodes, and a job no variant.
    #[must_use]
    pub fn owner_labels(def: &MetricDef) -> &'static [&'static str] {
        families::owner_labels(def)
    }

    fn show_daemon<'a>(&'a self, state: &'a State, out: &mut Exposition<'a>) {
        static DAEMON: LazyLock<Owner> = LazyLock::new(Owner::default);
        out.set(&daemon::BUILD_INFO, &DAEMON, [env!("CARGO_PKG_VERSION")], 1.0);
        if let Some([shard, shards]) = &state.shard {
            out.set(&daemon::SHARD_INFO, &DAEMON, [shard, shards], 1.0);
        }
        for (owner, settings) in state.strays.values() {
            out.set(&target::UNRESTORED_SETTINGS, owner, [], *settings as f64);
        }
        // The memory of runs takes every record; a store that can fail is not there yet.
        out.set(&daemon::HISTORY_WRITE_ERRORS, &DAEMON, [], 0.0);
        out.histogram(&daemon::START_LATENESS, &DAEMON, [], &state.start_lateness);
        if let Some(successful) = state.reload_successful {
            out.set(&daemon::RELOAD_SUCCESSFUL, &DAEMON, [], f64::from(successful));
        }
        if let Some(at) = state.reloaded_at {
            out.set(&daemon::RELOAD_SUCCESS_TIME, &DAEMON, [], unix_seconds(at));
        }
        if let Some(lag) = state.event_loop_lag {
            out.set(&daemon::EVENT_LOOP_LAG, &DAEMON, [], lag.as_secs_f64());
        }
        out.set(&daemon::HTTP_CONNECTIONS, &DAEMON, [], load(&self.http.open));
        out.set(&daemon::HTTP_CONNECTIONS_SHED, &DAEMON, [], load(&self.http.shed));
        for (class, count) in STATUS_CLASSES.iter().zip(&self.http.answered) {
            out.set(&daemon::HTTP_REQUESTS, &DAEMON, [class], load(count));
        }
    }

    fn with(&self, job: &Job, change: impl FnOnce(&mut TargetSeries)) {
        if let Some(target) = self.state().targets.get_mut(&job.target.id) {
            change(Arc::make_mut(target));
        }
    }

    /// A panic while the lock was held leaves at worst one run half counted; the other targets' figures are whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(count: &AtomicU64) -> f64 {
    count.load(Ordering::Relaxed) as f64
}
