//! An application on one pool: agents that write streams, clients that read them blocked, checks for a stop signal, a cache.
//!
//! Settings and the run are here; who does what in `roles`, which entry came to whom in `delivery`, what it means in
//! `findings`, with `figures`. Blocking readers and a cache alone are `pool_starvation`'s.

use measure::{
    Effect, Failure, Grant, ProbeError, Reason,
    metric::MetricDef,
    report::{ObjectiveDef, Report, ReportedError},
};

use self::{delivery::Deliveries, findings::Seen, roles::Readers};
use crate::{
    pool_settings,
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors,
        phases::{Phases, SERVER_INFO},
        pools::{Numbers, OTHER_CONNECTIONS, PoolLoad, PoolSet, TRAFFIC_KEYS, VALUE_SIZE},
    },
};

mod delivery;
mod figures;
mod findings;
mod roles;

pool_settings! {
    /// Settings of `mixed_workload`.
    pub struct Settings (readers = 30) {
        /// Agents, each of which writes to a stream of its own; readers are dealt out among the streams in turn.
        agents: u64 = 10,
        /// Entries per second that each agent writes, at fixed times.
        agent_rate: f64 = 5.0,
        /// Checks for a stop signal per second and agent, at fixed times.
        stop_check_rate: f64 = 5.0,
    }
}

/// The only phase.
const PHASE: &str = "mixed";
/// Bytes of an entry's value.
const ENTRY_SIZE: usize = 64;
/// Bytes that an entry takes in a stream, at the most: its value, id, and what holds them together.
const ENTRY_BYTES: f64 = 128.0;
/// Entries of a run at the most: each is remembered.
const MOST_ENTRIES: f64 = 1e6;
/// The setting with which groups read.
const GROUPS: &str = "reader=xreadgroup";

/// The probe.
#[derive(Debug)]
pub struct MixedWorkload {
    settings: Settings,
}

impl Probe for MixedWorkload {
    const NAME: &'static str = "mixed_workload";
    const SUMMARY: &'static str = "Runs agents, stream readers, stop checks and a cache on one pool: who times out, and whether every entry arrives in order.";
    const EFFECT: Effect = Effect::Load;
    const COMMANDS: &'static [Grant] = &[
        Grant::load("unwatch", "", "check a pooled connection before each loan, as deadpool-redis does"),
        Grant::load("ping", "1", "check a pooled connection before each loan, as deadpool-redis does"),
        Grant::load("set", "{key} x PX 1", "be the cache"),
        Grant::load("get", "{key}", "be the cache, and check for a stop signal"),
        Grant::load("xadd", "{key} * n 1", "write entries as agents do"),
        Grant::load("pexpire", "{key} 1", "give a stream its time to live"),
        Grant::load("multi", "", "write to a stream and set its time to live in one step"),
        Grant::load("exec", "", "write to a stream and set its time to live in one step"),
        Grant::load("xread", "BLOCK 1 STREAMS {key} 0-0", "read entries as clients of streams do")
            .with_setting("reader=xread"),
        Grant::load(
            "xreadgroup",
            "GROUP reader-0 redprobe BLOCK 1 STREAMS {key} >",
            "read entries as readers of a group do",
        )
        .with_setting(GROUPS),
        Grant::load("xgroup|create", "{key} reader-0 $ MKSTREAM", "give each reader a group of its own")
            .with_setting(GROUPS),
        Grant::load("client|list", "", "count blocked clients").optional("INFO's count stands alone"),
        SERVER_INFO,
    ];
    const METRICS: &'static [&'static MetricDef] = figures::METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = figures::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        settings.numbers().check(&mut errors);
        errors.check_range(settings.agents, 1..=1_000, "agents");
        let rates = 0.01..=10_000.0;
        errors.check(
            rates.contains(&settings.agent_rate),
            "agent_rate",
            "expected 0.01 to 10000 entries per second and agent",
        );
        errors.check(
            rates.contains(&settings.stop_check_rate),
            "stop_check_rate",
            "expected 0.01 to 10000 checks per second and agent",
        );
        errors.check(
            settings.entries_per_agent() * settings.agents as f64 <= MOST_ENTRIES,
            "duration",
            "expected at most 1000000 entries (agents x agent_rate x duration)",
        );
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.duration = settings.duration.quick();
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        let Settings { agents, .. } = self.settings;
        Needs {
            connections: self.connections() + OTHER_CONNECTIONS,
            keys: TRAFFIC_KEYS + 2 * agents,
            bytes: TRAFFIC_KEYS * VALUE_SIZE as u64 + agents * self.settings.bytes_per_stream() as u64,
        }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let Settings { duration, block, pool_timeout, op_timeout, .. } = self.settings;
        let mut phases = Phases::new(cx);
        let lasts = duration.0 + block.0 * 2 + pool_timeout.0 + op_timeout.0;
        if phases.admit(PHASE, Effect::Load, self.needs(Effect::Load), lasts).await? {
            self.mixed(&mut phases, cx).await?;
        }
        phases.measured()?;
        Ok(phases.finish(&[]))
    }
}

impl MixedWorkload {
    async fn mixed(&self, phases: &mut Phases<'_>, cx: &ProbeCx) -> Result<(), ProbeError> {
        let numbers = self.settings.numbers();
        let keys = cx.keys.range("traffic", TRAFFIC_KEYS, VALUE_SIZE)?;
        let signals = cx.keys.range("signals", self.settings.agents, 0)?;
        let streams = cx.keys.range("streams", self.settings.agents, self.settings.bytes_per_stream())?;
        let agents = usize::try_from(self.settings.agents).unwrap_or(usize::MAX);
        let deliveries = Deliveries::new(agents, numbers.readers());
        let readers = Readers::new(numbers, &streams, &deliveries);
        readers.prepare(cx).await?;

        let pool = numbers.pool("mixed", numbers.pool_size);
        let names = ["pool_size", "pool_in_use", "pool_waiting"];
        let set = PoolSet::new(cx, &pool, numbers.processes(), names);
        let load = PoolLoad::new(PHASE).traffic(&numbers, &set, &keys);
        let load = roles::stop_checks(load, &self.settings, &set, &signals);
        let load = roles::agents(load, &self.settings, &set, &streams, &deliveries);
        let result = phases.load_pools(readers.join(load, &set), &[&set]).await?;
        let looked = if phases.interrupted() {
            Err(Failure::new(Reason::Cancelled, "the run was stopped before all was read"))
        } else {
            readers.last_look(cx).await
        };
        if let Err(Failure { reason, message }) = &looked {
            let message = format!("what readers had not seen stays unknown: {message}");
            phases.report.errors.push(ReportedError { phase: PHASE, reason: *reason, message, count: 1 });
        }
        let kinds = [("stop_check", "get"), ("xadd", "xadd"), ("get", "get"), ("set", "set")];
        phases.report.attribution = phases.attribute_pools(&kinds, &result);
        let outcome = deliveries.outcome();
        for line in findings::readers_in_words(&outcome) {
            cx.log.note(line);
        }
        let seen = Seen { result: &result, set: &set, outcome: &outcome, complete: looked.is_ok() };
        findings::add(&mut phases.report, &self.settings, &seen);
        Ok(())
    }

    /// Pools open no more connections than there are operations at a time.
    fn connections(&self) -> u64 {
        let Settings { pool_size, processes, .. } = self.settings;
        (pool_size * processes).min(self.settings.operations_at_a_time())
    }
}

impl Settings {
    fn entries_per_second(&self) -> f64 {
        self.agents as f64 * self.agent_rate
    }

    fn stop_checks_per_second(&self) -> f64 {
        self.agents as f64 * self.stop_check_rate
    }

    fn entries_per_agent(&self) -> f64 {
        (self.agent_rate * self.duration.0.as_secs_f64()).ceil()
    }

    fn bytes_per_stream(&self) -> usize {
        (self.entries_per_agent() * ENTRY_BYTES) as usize
    }

    /// Workers of all kinds.
    fn operations_at_a_time(&self) -> u64 {
        let numbers = self.numbers();
        (numbers.workers() + self.stop_checkers()) as u64 + self.agents + self.readers
    }

    /// Workers of the stop checks: enough that one which waits delays no other.
    fn stop_checkers(&self) -> usize {
        let rate = self.stop_checks_per_second();
        Numbers { rate, workers: None, ..self.numbers() }.workers()
    }

    /// Operations per second that do not block, all kinds.
    fn rate_beside_readers(&self) -> f64 {
        self.rate + self.entries_per_second() + self.stop_checks_per_second()
    }
}
