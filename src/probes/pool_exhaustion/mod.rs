//! Shows what bursts beyond the pool's size do: how waits grow, who is refused, when the pool is whole again; and what a
//! checkout costs.
//!
//! Settings and the run are here, what it means in `findings`. Starvation by readers that block is `pool_starvation`'s.

use std::time::Duration;

use measure::{
    Effect, Grant, ProbeError,
    keys::KeyRange,
    load::{LoadPlan, Share},
    metric::MetricDef,
    pace::Pace,
    pool::{Commands, PooledConnector, Use},
    report::{ObjectiveDef, Report},
};

use self::findings::Burst;
use crate::{
    config::settings::Span,
    pool_settings,
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors,
        phases::Phases,
        pools::{self, Numbers, PoolLoad, PoolSet, TRAFFIC_KEYS, VALUE_SIZE},
    },
};

mod findings;

pool_settings! {
    /// Settings of `pool_exhaustion`.
    pub struct Settings (readers = 0) {
        /// Bursts, as multiples of the pool's size: so many requests at once, one burst after the other, 1 to 20.
        bursts: Vec<u64> = vec![1, 2, 4, 8],
        /// How long each request of a burst keeps its connection after the reply, as one that works between two commands.
        hold: Span = Span::millis(50),
        /// Length of each of the two phases that compare a checkout per operation with a connection that is kept; 0 for none.
        cost: Span = Span::secs(1),
    }
}

/// Phases of bursts by their multiple, from 1 on.
const BURSTS: [&str; 20] = [
    "burst_x1",
    "burst_x2",
    "burst_x3",
    "burst_x4",
    "burst_x5",
    "burst_x6",
    "burst_x7",
    "burst_x8",
    "burst_x9",
    "burst_x10",
    "burst_x11",
    "burst_x12",
    "burst_x13",
    "burst_x14",
    "burst_x15",
    "burst_x16",
    "burst_x17",
    "burst_x18",
    "burst_x19",
    "burst_x20",
];
/// The phase in which each worker keeps its connection, and that in which it takes one out for each operation.
const COST: [(&str, Use); 2] = [("kept", Use::Kept), ("checkout", Use::EachTime(Duration::ZERO))];
/// The traffic is at work for this long before a burst.
const BEFORE: Duration = Duration::from_millis(250);
/// All requests of a burst come within this time.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Requests of a burst at the most: each has a timer of its own.
const MOST_REQUESTS: u64 = 2_000;

/// The probe.
#[derive(Debug)]
pub struct PoolExhaustion {
    settings: Settings,
}

impl Probe for PoolExhaustion {
    const NAME: &'static str = "pool_exhaustion";
    const SUMMARY: &'static str = "Shows what bursts beyond a pool's size do: how waits grow, who is refused, and when the pool is whole again.";
    const EFFECT: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = pools::COMMANDS;
    const METRICS: &'static [&'static MetricDef] = findings::METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        let Settings { bursts, pool_size, processes, .. } = &settings;
        settings.numbers().check(&mut errors);
        let known = bursts
            .iter()
            .enumerate()
            .all(|(at, burst)| (1..=BURSTS.len() as u64).contains(burst) && !bursts[..at].contains(burst));
        errors.check(
            known && !bursts.is_empty(),
            "bursts",
            "expected multiples of the pool's size, each once, 1 to 20, as in [1, 2, 4, 8]",
        );
        let most = bursts.iter().max().copied().unwrap_or_default().min(20)
            * pool_size.min(&10_000)
            * processes.min(&1_000);
        errors.check(
            most <= MOST_REQUESTS,
            "bursts",
            "expected at most 2000 requests at once (greatest multiple x pool_size x processes)",
        );
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.duration = settings.duration.quick();
        settings.cost = settings.cost.quick();
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        let Settings { pool_size, processes, readers, .. } = self.settings;
        pools::needs(pool_size * processes, readers)
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut phases = Phases::new(cx);
        let numbers = Numbers { duration: self.length(), ..self.settings.numbers() };
        let keys = cx.keys.range("traffic", TRAFFIC_KEYS, VALUE_SIZE)?;
        let streams = cx.keys.range("streams", numbers.readers, 0)?;
        let mut bursts = Vec::new();
        for multiple in &self.settings.bursts {
            let phase = BURSTS[*multiple as usize - 1];
            let lasts = numbers.duration + if numbers.readers > 0 { numbers.block } else { Duration::ZERO };
            if !phases.admit(phase, Effect::Load, self.needs(Effect::Load), lasts).await? {
                continue;
            }
            pools::prepare_streams(cx, &numbers, &streams).await?;
            let set = pool_set(cx, &numbers, phase);
            let load = PoolLoad::new(phase).traffic(&numbers, &set, &keys);
            let load = self.burst(load, &set, &keys, *multiple).readers(&numbers, &set, &streams);
            let result = phases.load_pools(load, &[&set]).await?;
            phases.report.attribution = phases.attribute_pools(&[("burst", "get"), ("get", "get")], &result);
            bursts.push(Burst::of(*multiple, &result, &set, self.settings.hold.0));
        }
        self.cost(&mut phases, cx, &numbers, &keys).await?;
        phases.measured()?;
        findings::add(&mut phases.report, &self.settings, &bursts);
        Ok(phases.finish(&[]))
    }
}

fn pool_set(cx: &ProbeCx, numbers: &Numbers, phase: &'static str) -> PoolSet {
    let pool = numbers.pool(phase, numbers.pool_size);
    PoolSet::new(cx, &pool, numbers.processes(), ["pool_size", "pool_in_use", "pool_waiting"])
}

impl PoolExhaustion {
    /// Of one burst's phase: its share of the duration, and long enough for the last request to be served or refused.
    fn length(&self) -> Duration {
        let Settings { bursts, duration, pool_timeout, hold, .. } = &self.settings;
        let share = duration.0.div_f64(bursts.len().max(1) as f64);
        share.max(BEFORE + pool_timeout.0 + hold.0 * 2)
    }

    /// Adds the burst to the load: each request by a worker of its own.
    fn burst(&self, load: PoolLoad, set: &PoolSet, keys: &KeyRange, multiple: u64) -> PoolLoad {
        let requests = multiple as f64 * set.capacity();
        let mut plan = LoadPlan::new(BURSTS[0], vec![Share { operation: "burst", weight: 1 }]);
        plan.workers = requests as usize;
        plan.delay = BEFORE;
        plan.pace = Pace::per_second(requests / AT_ONCE.as_secs_f64());
        plan.stop.duration = Some(AT_ONCE);
        plan.key_space = keys.count;
        let keys = keys.clone();
        let get = Commands::default().with(self.settings.op_timeout.0, move |_, key| keys.get_one(key));
        load.with(plan, PooledConnector::new(set.pools(), get, Use::EachTime(self.settings.hold.0)))
    }

    /// As many workers as connections, at full speed, with and without a checkout for each operation.
    async fn cost(
        &self,
        phases: &mut Phases<'_>,
        cx: &ProbeCx,
        numbers: &Numbers,
        keys: &KeyRange,
    ) -> Result<(), ProbeError> {
        let length = self.settings.cost.0;
        for (phase, usage) in COST.into_iter().filter(|_| !length.is_zero()) {
            if !phases.admit(phase, Effect::Load, self.needs(Effect::Load), length).await? {
                continue;
            }
            let set = pool_set(cx, numbers, phase);
            let mut plan = LoadPlan::new(phase, vec![Share { operation: "get", weight: 1 }]);
            plan.workers = set.capacity() as usize;
            plan.key_space = keys.count;
            plan.stop.duration = Some(length);
            let keys = keys.clone();
            let get = Commands::default().with(numbers.op_timeout, move |_, key| keys.get_one(key));
            let connector = PooledConnector::new(set.pools(), get, usage);
            phases.load_pools(PoolLoad::new(phase).with(plan, connector), &[&set]).await?;
        }
        Ok(())
    }
}
