//! Shows whether blocking readers starve the GETs and SETs that share their pool.
//!
//! Settings and the run are here, what it means in `findings`. Whether pools of their own mend it is `split_pool`'s
//! question.

use measure::{
    Effect, Grant, ProbeError,
    metric::MetricDef,
    report::{ObjectiveDef, Report},
};

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
    /// Settings of `pool_starvation`.
    pub struct Settings (readers = 30) {}
}

/// The only phase.
const PHASE: &str = "shared";

/// The probe.
#[derive(Debug)]
pub struct PoolStarvation {
    settings: Settings,
}

impl Probe for PoolStarvation {
    const NAME: &'static str = "pool_starvation";
    const SUMMARY: &'static str =
        "Shows whether blocking readers starve the GETs and SETs that share their connection pool.";
    const EFFECT: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = pools::COMMANDS;
    const METRICS: &'static [&'static MetricDef] = findings::METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        settings.numbers().check(&mut errors);
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.duration = settings.duration.quick();
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        let Settings { pool_size, processes, readers, .. } = self.settings;
        pools::needs(pool_size * processes, readers)
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let numbers = self.settings.numbers();
        let mut phases = Phases::new(cx);
        let keys = cx.keys.range("traffic", TRAFFIC_KEYS, VALUE_SIZE)?;
        let streams = cx.keys.range("streams", numbers.readers, 0)?;
        let lasts = numbers.duration + numbers.block;
        if phases.admit(PHASE, Effect::Load, self.needs(Effect::Load), lasts).await? {
            pools::prepare_streams(cx, &numbers, &streams).await?;
            let pool = numbers.pool("shared", numbers.pool_size);
            let names = ["pool_size", "pool_in_use", "pool_waiting"];
            let set = PoolSet::new(cx, &pool, numbers.processes(), names);
            let load = PoolLoad::new(PHASE).traffic(&numbers, &set, &keys).readers(&numbers, &set, &streams);
            let result = phases.load_pools(load, &[&set]).await?;
            phases.report.attribution = phases.attribute_pools(&[("get", "get"), ("set", "set")], &result);
            findings::add(&mut phases.report, &numbers, &set, &result);
        }
        phases.measured()?;
        Ok(phases.finish(&[]))
    }
}
