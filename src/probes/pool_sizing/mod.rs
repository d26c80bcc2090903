//! Finds the smallest pool that carries the readers and the traffic within limits: one for all, and one for each.
//!
//! Settings and the order of the trials are here, the search in `search`, a trial in `trial`, what it means in `findings`.
//! Readers all begin at once in each trial, as after a deploy: that is when a pool is shortest.

use std::{collections::BTreeMap, time::Duration};

use measure::{
    Effect, Grant, ProbeError,
    clock::{self, Instant},
    keys::KeyRange,
    load::LoadResult,
    metric::MetricDef,
    report::{ObjectiveDef, Report},
};

use self::{
    search::Search,
    trial::{Curve, Seen, Trials, moment},
};
use crate::{
    config::settings::Span,
    pool_settings,
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors,
        phases::Phases,
        pools::{
            self, Numbers, OTHER_CONNECTIONS, PoolLoad, PoolSet, TRAFFIC_KEYS, VALUE_SIZE,
            figures::connections_needed,
        },
    },
};

mod findings;
mod search;
mod trial;

pool_settings! {
    /// Settings of `pool_sizing`. `pool_size` is what the smallest one is compared with.
    pub struct Settings (readers = 30, seconds = 5) {
        /// Share of the operations, reads included, that may fail for want of a connection or an answer, 0 to below 1.
        max_timeout_rate: f64 = 0.0,
        /// What the 99th percentile of the waits for a connection may be.
        max_wait_p99: Span = Span::millis(50),
        /// Trials of each of the two sizes at the edge, the last that fails and the first that does not: 1 to 20.
        repeats: u64 = 3,
        /// Whether to search the smallest pair as well: one pool for blocking reads, one for the rest.
        split: bool = true,
    }
}

/// Trials of one pool for all.
const SHARED: &str = "shared";
/// Trials of two.
const SPLIT: &str = "split";
/// How long an operation holds its connection, as far as is known before the first trial.
const HOLD: Duration = Duration::from_millis(1);
/// What a trial takes besides its load: preflight, INFO, connections.
const AROUND: Duration = Duration::from_millis(500);
/// Kept for the report.
const LAST: Duration = Duration::from_secs(1);
/// Repeats with `--quick`.
const QUICK_REPEATS: u64 = 2;
/// Length of a trial with `--quick`.
const QUICK_TRIAL: Span = Span::secs(2);

/// The probe.
#[derive(Debug)]
pub struct PoolSizing {
    settings: Settings,
}

/// What a run has at hand.
struct Bench<'b, 'cx> {
    cx: &'cx ProbeCx,
    phases: &'b mut Phases<'cx>,
    keys: KeyRange,
    streams: KeyRange,
    begun: Instant,
    trials: Trials,
}

impl Probe for PoolSizing {
    const NAME: &'static str = "pool_sizing";
    const SUMMARY: &'static str = "Finds the smallest connection pool that carries readers and traffic within limits, shared and split.";
    const EFFECT: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = pools::COMMANDS;
    const METRICS: &'static [&'static MetricDef] = findings::METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        settings.numbers().check(&mut errors);
        let rate = settings.max_timeout_rate;
        errors.check((0.0..1.0).contains(&rate), "max_timeout_rate", "expected 0 to below 1, such as 0.001");
        errors.check_range(settings.repeats, 1..=20, "repeats");
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.duration = settings.duration.min(QUICK_TRIAL);
        settings.repeats = settings.repeats.min(QUICK_REPEATS);
    }

    /// The least: what a trial takes is known when its size is.
    fn needs(&self, _allowed: Effect) -> Needs {
        let connections = self.settings.processes * if self.splits() { 2 } else { 1 };
        pools::needs(connections, self.settings.readers)
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut phases = Phases::new(cx);
        let numbers = self.settings.numbers();
        let keys = cx.keys.range("traffic", TRAFFIC_KEYS, VALUE_SIZE)?;
        let streams = cx.keys.range("streams", numbers.readers, 0)?;
        let (begun, trials) = (clock::now(), Trials::default());
        let mut bench = Bench { cx, phases: &mut phases, keys, streams, begun, trials };
        let mut shared = self.shared_curve(cx);
        self.search_shared(&mut bench, &mut shared).await?;
        let mut curves = vec![shared];
        if self.splits() {
            let mut pair = self.split_curves(cx, bench.trials.hold.unwrap_or(HOLD));
            self.search_split(&mut bench, &mut pair).await?;
            curves.extend(pair);
        }
        let trials = bench.trials;
        phases.measured()?;
        findings::add(&mut phases.report, &self.settings, &curves, &trials);
        Ok(phases.finish(&[]))
    }
}

impl PoolSizing {
    /// Without readers there is nothing to split.
    const fn splits(&self) -> bool {
        self.settings.split && self.settings.readers > 0
    }

    /// Connections that the pools of one process may have together.
    fn room(&self, cx: &ProbeCx) -> u64 {
        cx.target.max_connections.saturating_sub(OTHER_CONNECTIONS) / self.settings.processes
    }

    fn readers_each(&self) -> u64 {
        self.settings.readers.div_ceil(self.settings.processes)
    }

    fn rate_each(&self) -> f64 {
        self.settings.rate / self.settings.processes as f64
    }

    /// With a connection for each who can ask for one, more can do no more.
    fn workers_each(&self) -> u64 {
        (self.settings.numbers().workers() as u64).div_ceil(self.settings.processes)
    }

    fn curve(
        &self,
        name: &'static str,
        values: [&'static str; 3],
        start: u64,
        (useful, room): (u64, u64),
    ) -> Curve {
        let search = Search::new(start, useful.min(room), self.settings.repeats);
        Curve::new(name, values, search, room < useful)
    }

    fn shared_curve(&self, cx: &ProbeCx) -> Curve {
        let start = self.readers_each() + connections_needed(self.rate_each(), HOLD);
        let useful = self.readers_each() + self.workers_each();
        self.curve(SHARED, ["size", "timeout_rate", "wait_p99_seconds"], start, (useful, self.room(cx)))
    }

    /// Readers are given what they can use, and the rest what is left of the room.
    fn split_curves(&self, cx: &ProbeCx, hold: Duration) -> [Curve; 2] {
        let room = self.room(cx);
        let readers = self.readers_each();
        let names = ["stream_size", "stream_timeout_rate", "stream_wait_p99_seconds"];
        let stream = self.curve("stream", names, readers, (readers, room.saturating_sub(1)));
        let left = room.saturating_sub(stream.search.limit());
        let names = ["general_size", "general_timeout_rate", "general_wait_p99_seconds"];
        let start = connections_needed(self.rate_each(), hold);
        let general = self.curve("general", names, start, (self.workers_each(), left));
        [stream, general]
    }

    /// Until all is known, the run is told to stop, or the time is up: half of it, where the pair is to be found too.
    async fn search_shared(&self, bench: &mut Bench<'_, '_>, curve: &mut Curve) -> Result<(), ProbeError> {
        let numbers = self.settings.numbers();
        let share = if self.splits() { bench.cx.time_left() / 2 } else { LAST };
        let mut prepared = false;
        while let Some(size) = curve.search.next() {
            if !self.may_try(bench, SHARED, size, (prepared, share)).await? {
                break;
            }
            if !std::mem::replace(&mut prepared, true) {
                pools::prepare_streams(bench.cx, &numbers, &bench.streams).await?;
            }
            let config = numbers.pool(SHARED, size);
            let set = PoolSet::new(bench.cx, &config, numbers.processes(), POOL);
            let load = PoolLoad::new(SHARED).traffic(&numbers, &set, &bench.keys).readers(
                &numbers,
                &set,
                &bench.streams,
            );
            let mut trial = Phases::new(bench.cx);
            let result = trial.load_pools(load, &[&set]).await?;
            if bench.phases.interrupted() {
                break;
            }
            let crews: Vec<&LoadResult> = result.crews.iter().collect();
            let mut seen = Seen::of(&crews, &set);
            seen.attribution = trial.attribute_pools(&[("get", "get"), ("set", "set")], &result);
            if bench.trials.is_void(&result, std::slice::from_ref(&seen), &self.settings) {
                bench.trials.take(bench.phases, trial.report, &result, false)?;
                continue;
            }
            let met = curve.take(size, &seen, &self.settings);
            bench.trials.take(bench.phases, trial.report, &result, met)?;
            bench.tell(SHARED, &[(curve, size, &seen)]);
        }
        Ok(())
    }

    /// As for the shared pool, both of the pair in the same trials: what one has does not wait for the other's.
    async fn search_split(&self, bench: &mut Bench<'_, '_>, pair: &mut [Curve; 2]) -> Result<(), ProbeError> {
        let numbers = self.settings.numbers();
        let mut prepared = bench.trials.count + bench.trials.void > 0;
        let mut tried = false;
        while pair.iter().any(|curve| curve.search.next().is_some()) {
            let sizes = [0, 1].map(|at| {
                let search = &pair[at].search;
                search.next().unwrap_or_else(|| search.settled())
            });
            if !self.may_try(bench, SPLIT, sizes.iter().sum(), (tried, LAST)).await? {
                break;
            }
            tried = true;
            if !std::mem::replace(&mut prepared, true) {
                pools::prepare_streams(bench.cx, &numbers, &bench.streams).await?;
            }
            let set = |at: usize, names| {
                let config = numbers.pool(pair[at].name, sizes[at]);
                PoolSet::new(bench.cx, &config, numbers.processes(), names)
            };
            let (stream, general) = (set(0, STREAM), set(1, GENERAL));
            let load = PoolLoad::new(SPLIT).traffic(&numbers, &general, &bench.keys).readers(
                &numbers,
                &stream,
                &bench.streams,
            );
            let mut trial = Phases::new(bench.cx);
            let result = trial.load_pools(load, &[&stream, &general]).await?;
            if bench.phases.interrupted() {
                break;
            }
            let [traffic, readers] = &result.crews[..] else { break };
            let seen = [Seen::of(&[readers], &stream), Seen::of(&[traffic], &general)];
            if bench.trials.is_void(&result, &seen, &self.settings) {
                bench.trials.take(bench.phases, trial.report, &result, false)?;
                continue;
            }
            let met = [0, 1].map(|at| pair[at].take(sizes[at], &seen[at], &self.settings));
            bench.trials.take(bench.phases, trial.report, &result, met == [true; 2])?;
            bench.tell(SPLIT, &[(&pair[0], sizes[0], &seen[0]), (&pair[1], sizes[1], &seen[1])]);
        }
        Ok(())
    }

    /// Whether a trial with so many connections per process may begin. That there is no time for one more is no reason to
    /// call a phase skipped of which some were `tried`; `kept` is the time to be left.
    async fn may_try(
        &self,
        bench: &mut Bench<'_, '_>,
        phase: &'static str,
        size: u64,
        (tried, kept): (bool, Duration),
    ) -> Result<bool, ProbeError> {
        let Numbers { duration, block, pool_timeout, .. } = self.settings.numbers();
        let lasts = duration + block.max(pool_timeout) + AROUND;
        if tried && (bench.phases.interrupted() || bench.cx.time_left() < lasts + kept) {
            return Ok(false);
        }
        let needs = pools::needs(size * self.settings.processes, self.settings.readers);
        bench.phases.admit(phase, Effect::Load, needs, lasts).await
    }
}

/// Names of size, in use and waiting while a trial runs.
const POOL: [&str; 3] = ["pool_size", "pool_in_use", "pool_waiting"];
const STREAM: [&str; 3] = ["stream_pool_size", "stream_pool_in_use", "stream_pool_waiting"];
const GENERAL: [&str; 3] = ["general_pool_size", "general_pool_in_use", "general_pool_waiting"];

impl Bench<'_, '_> {
    /// Counts a trial, and adds it to the timeline.
    fn tell(&mut self, phase: &'static str, tried: &[(&Curve, u64, &Seen)]) {
        self.trials.count += 1;
        let mut values = BTreeMap::new();
        for (curve, size, seen) in tried {
            curve.point(*size, seen, &mut values);
        }
        self.phases.report.timeline.push(moment(phase, self.begun.elapsed(), values));
    }
}
