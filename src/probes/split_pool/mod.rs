//! Shows whether a pool of their own for blocking reads mends the starvation: the same load on one pool, then on two.
//!
//! Settings and the run are here, what it means in `findings`. How a shared pool starves is `pool_starvation`'s question.

use std::time::Duration;

use measure::{
    Effect, Grant, ProbeError,
    keys::KeyRange,
    metric::MetricDef,
    report::{ObjectiveDef, Report},
};

use self::findings::Seen;
use crate::{
    pool_settings,
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors,
        phases::Phases,
        pools::{self, PoolLoad, PoolSet, TRAFFIC_KEYS, VALUE_SIZE},
    },
};

mod findings;

pool_settings! {
    /// Settings of `split_pool`.
    pub struct Settings (readers = 30) {
        /// Connections of the pool for blocking reads, once it is split.
        stream_pool_size: u64 = 500,
        /// Connections of the pool for everything else, once it is split.
        general_pool_size: u64 = 200,
    }
}

/// One pool for all.
const SHARED: &str = "shared";
/// Two.
const SPLIT: &str = "split";

/// The probe.
#[derive(Debug)]
pub struct SplitPool {
    settings: Settings,
}

impl Probe for SplitPool {
    const NAME: &'static str = "split_pool";
    const SUMMARY: &'static str = "Shows whether blocking reads on a pool of their own end the starvation: the same load on one pool, then on two.";
    const EFFECT: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = pools::COMMANDS;
    const METRICS: &'static [&'static MetricDef] = findings::METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        settings.numbers().check(&mut errors);
        errors.check_range(settings.stream_pool_size, 1..=10_000, "stream_pool_size");
        errors.check_range(settings.general_pool_size, 1..=10_000, "general_pool_size");
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.duration = settings.duration.quick();
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        self.needs_of(self.shared_connections().max(self.split_connections()))
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut phases = Phases::new(cx);
        let numbers = self.settings.numbers();
        let keys = cx.keys.range("traffic", TRAFFIC_KEYS, VALUE_SIZE)?;
        let streams = cx.keys.range("streams", numbers.readers, 0)?;
        let mut seen = Seen::default();
        if phases.admit(SHARED, Effect::Load, self.needs_of(self.shared_connections()), self.length()).await?
        {
            pools::prepare_streams(cx, &numbers, &streams).await?;
            self.shared(&mut phases, cx, (&keys, &streams), &mut seen).await?;
        }
        if phases.admit(SPLIT, Effect::Load, self.needs_of(self.split_connections()), self.length()).await? {
            pools::prepare_streams(cx, &numbers, &streams).await?;
            self.split(&mut phases, cx, (&keys, &streams), &mut seen).await?;
        }
        phases.measured()?;
        findings::add(&mut phases.report, &self.settings, &seen);
        Ok(phases.finish(&[]))
    }
}

impl SplitPool {
    async fn shared(
        &self,
        phases: &mut Phases<'_>,
        cx: &ProbeCx,
        (keys, streams): (&KeyRange, &KeyRange),
        seen: &mut Seen,
    ) -> Result<(), ProbeError> {
        let numbers = self.settings.numbers();
        let pool = numbers.pool(SHARED, numbers.pool_size);
        let set = PoolSet::new(cx, &pool, numbers.processes(), ["pool_size", "pool_in_use", "pool_waiting"]);
        let load = PoolLoad::new(SHARED).traffic(&numbers, &set, keys).readers(&numbers, &set, streams);
        let result = phases.load_pools(load, &[&set]).await?;
        phases.report.attribution = phases.attribute_pools(&[("get", "get"), ("set", "set")], &result);
        seen.take(SHARED, &result, &[("shared", &set)], &set);
        Ok(())
    }

    async fn split(
        &self,
        phases: &mut Phases<'_>,
        cx: &ProbeCx,
        (keys, streams): (&KeyRange, &KeyRange),
        seen: &mut Seen,
    ) -> Result<(), ProbeError> {
        let numbers = self.settings.numbers();
        let set = |name, size, names| PoolSet::new(cx, &numbers.pool(name, size), numbers.processes(), names);
        let stream = set(
            "stream",
            self.settings.stream_pool_size,
            ["stream_pool_size", "stream_pool_in_use", "stream_pool_waiting"],
        );
        let general = set(
            "general",
            self.settings.general_pool_size,
            ["general_pool_size", "general_pool_in_use", "general_pool_waiting"],
        );
        let load = PoolLoad::new(SPLIT).traffic(&numbers, &general, keys).readers(&numbers, &stream, streams);
        let result = phases.load_pools(load, &[&stream, &general]).await?;
        seen.take(SPLIT, &result, &[("stream", &stream), ("general", &general)], &general);
        Ok(())
    }

    fn needs_of(&self, connections: u64) -> Needs {
        pools::needs(connections, self.settings.readers)
    }

    fn shared_connections(&self) -> u64 {
        self.settings.pool_size * self.settings.processes
    }

    /// Pools open no more connections than there are operations at a time.
    fn split_connections(&self) -> u64 {
        let Settings { stream_pool_size, general_pool_size, processes, readers, .. } = self.settings;
        let workers = self.settings.numbers().workers() as u64;
        (stream_pool_size * processes).min(readers) + (general_pool_size * processes).min(workers)
    }

    fn length(&self) -> Duration {
        self.settings.duration.0 + self.settings.block.0
    }
}
