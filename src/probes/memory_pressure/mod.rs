//! Squeezes a server's memory: fills it up to a share of its limit, watches what the eviction policy does and what that
//! costs others, deletes, watches it recover, and leaves everything as it was.
//!
//! Settings and the probe are here. Whether it may be done at all is decided in `plan`, before anything is changed; what
//! is done, phase by phase, is in `run`.

use std::time::Duration;

use measure::{
    Effect, Failure, Grant, ProbeError, Reason,
    metric::MetricDef,
    report::{ObjectiveDef, Report},
};

use self::{
    findings::Found,
    look::{Others, state},
    policy::Policy,
    run::{BACK_WITHIN, BEFORE_LASTS, Keys, MONITOR, Pressure, RECOVERY},
};
use crate::{
    config::settings::{Size, Span},
    probe::{
        Needs, Probe, ProbeCx, SettingError, SettingErrors,
        phases::{Phases, SERVER_INFO},
    },
    settings,
    verdict::human,
};

mod fill;
mod findings;
mod look;
mod plan;
mod policy;
mod run;
#[cfg(test)]
mod tests;

settings! {
    /// Settings of `memory_pressure`.
    pub struct Settings {
        /// Used memory to reach, in percent of the limit in force. Above 100, that much is written all the same, so that the policy has to act.
        target_percent: u64 = 80,
        /// The limit for the length of the run; unset: the server's own stays (`"128MB"`).
        temp_maxmemory: Option<Size> = None,
        /// The eviction policy for the length of the run; unset: the server's own stays (`"noeviction"`).
        temp_policy: Option<String> = None,
        /// Keys between two looks at the server's memory.
        batch_size: u64 = 100,
        /// Most bytes to add, whatever the target; 0: as many as it takes (`max_bytes` of the target holds all the same).
        max_fill: Size = Size(0),
        /// How long full memory is watched.
        monitor: Span = Span::secs(15),
        /// Between two points of the watch.
        monitoring_interval: Span = Span::secs(1),
        /// Keys deleted after that, to see memory come back.
        delete_keys: u64 = 1_000,
        /// How long that is watched.
        recovery: Span = Span::secs(5),
        /// Keys of others that may be on the server; with more, nothing is done.
        max_foreign_keys: u64 = 0,
        /// Whether writers may be refused with OOM while the run lasts, where the policy is noeviction.
        accept_foreign_oom: bool = false,
    }
}

/// Where filling further teaches no more about a policy.
const MOST_PERCENT: u64 = 200;
/// What a quick run adds at the most.
const QUICK_FILL: Size = Size(128 << 20);
/// For the fill, the removal and the settings, beside what is watched.
const FILL_TAKES: Duration = Duration::from_secs(10);

/// The probe.
#[derive(Debug)]
pub struct MemoryPressure {
    settings: Settings,
}

impl Probe for MemoryPressure {
    const NAME: &'static str = "memory_pressure";
    const SUMMARY: &'static str = "Fills memory to a share of its limit, watches eviction and latency, deletes, watches recovery, and puts all back.";
    const EFFECT: Effect = Effect::Disrupt;
    const COMMANDS: &'static [Grant] = &[
        Grant::disrupt("info", "all", "watch memory and evictions"),
        Grant::disrupt("set", "{key} x PX 1", "fill memory"),
        Grant::disrupt("get", "{key}", "time a read under pressure"),
        Grant::disrupt("exists", "{key}", "tell own keys that were evicted from others'"),
        Grant::disrupt("unlink", "{key}", "give memory back"),
        Grant::disrupt("pexpire", "{lease} 1", "keep the lease from being evicted"),
        Grant::disrupt("scan", "0 MATCH x COUNT 1", "tell leftovers of its own from keys of others"),
        Grant::disrupt("config|get", "maxmemory", "read a setting back").with_setting("temp_maxmemory"),
        Grant::disrupt("config|set", "maxmemory 0", "set the limit for the run")
            .with_setting("temp_maxmemory"),
        Grant::disrupt("config|get", "maxmemory-policy", "read a setting back").with_setting("temp_policy"),
        Grant::disrupt("config|set", "maxmemory-policy noeviction", "set the policy for the run")
            .with_setting("temp_policy"),
        SERVER_INFO,
    ];
    const METRICS: &'static [&'static MetricDef] = findings::ALL_METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        errors.check_range(settings.target_percent, 1..=MOST_PERCENT, "target_percent");
        errors.check(
            settings.temp_maxmemory.is_none_or(|size| size.0 >= 1 << 20),
            "temp_maxmemory",
            "expected 1MB or more: a server uses about that when it is empty",
        );
        let policies = Policy::ALL.map(Policy::as_str).join(", ");
        errors.check(
            settings.temp_policy.as_deref().is_none_or(|name| Policy::parse(name).is_some()),
            "temp_policy",
            &format!("expected one of {policies}"),
        );
        errors.check_range(settings.batch_size, 1..=10_000, "batch_size");
        errors.check_range(settings.delete_keys, 0..=1_000_000, "delete_keys");
        for (span, name) in [
            (settings.monitor, "monitor"),
            (settings.monitoring_interval, "monitoring_interval"),
            (settings.recovery, "recovery"),
        ] {
            errors.check(span >= Span::millis(10), name, "expected 10ms or more, such as \"5s\"");
        }
        errors.or(Self { settings })
    }

    fn quick(settings: &mut Settings) {
        settings.monitor = settings.monitor.quick();
        settings.monitoring_interval = settings.monitoring_interval.quick();
        settings.recovery = settings.recovery.quick();
        settings.delete_keys = (settings.delete_keys / 10).max(1);
        let whole = settings.max_fill == Size(0);
        settings.max_fill = if whole { QUICK_FILL } else { settings.max_fill.min(QUICK_FILL) };
    }

    /// How much is written depends on what the server uses already: the run itself checks that against the budgets.
    fn needs(&self, _allowed: Effect) -> Needs {
        Needs { connections: 3, keys: 2, bytes: 0 }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let settings = &self.settings;
        self.has_time(cx)?;
        let (mut conn, _) = cx.connect().await?;
        let (state, start) = state(cx, &mut conn).await?;
        let plan = plan::plan(settings, &state)
            .map_err(|message| ProbeError::skipped(Reason::Precondition, message))?;
        if settings.accept_foreign_oom {
            cx.own_errors.accept(Reason::Oom);
        }
        let keys = Keys::new(cx, &plan)?;
        let others = Others::new(&state, &start);
        let mut phases = Phases::new(cx);
        let mut pressure = Pressure::new(cx, conn, (settings, plan), (start, others));
        pressure.before(&mut phases, &keys, self.before()).await?;
        let changes: Vec<_> =
            pressure.plan.changes.iter().map(|(name, value)| (*name, value.clone())).collect();
        if !changes.is_empty() {
            cx.change_settings(&mut pressure.conn, &changes).await?;
        }
        self.press(pressure, phases, &keys).await
    }
}

impl MemoryPressure {
    /// From the changed settings to the restored ones.
    async fn press(
        &self,
        mut pressure: Pressure<'_>,
        mut phases: Phases<'_>,
        keys: &Keys,
    ) -> Result<Report, ProbeError> {
        let settings = &self.settings;
        let interval = settings.monitoring_interval.0;
        let fill = pressure.fill(&keys.fill).await?;
        phases.report.operations.push(fill.operation());
        let watch = (MONITOR, settings.monitor.0, interval);
        let monitored = pressure.watch(&mut phases, keys, watch).await?;
        let to_delete = settings.delete_keys.min(fill.written);
        let mut relief = pressure.delete(keys, &fill, to_delete).await?;
        let watch = (RECOVERY, settings.recovery.0, interval);
        let recovered = pressure.watch(&mut phases, keys, watch).await?;
        let order = pressure.order(keys, &fill, to_delete).await?;
        pressure.release(keys, &fill, &mut relief).await?;
        let restored = pressure.restore().await?;
        let mut report = phases.finish(&[MONITOR]);
        let found = Found {
            plan: &pressure.plan,
            start: &pressure.start,
            fill: &fill,
            monitored,
            recovered,
            relief: &relief,
            own_evicted: pressure.others.lost,
            foreign: pressure.others.most_seen,
            order,
            restored: &restored,
        };
        found.write(&mut report);
        pressure.finish(&mut report);
        Ok(report)
    }

    fn before(&self) -> Duration {
        BEFORE_LASTS.min(self.settings.monitor.0)
    }

    fn has_time(&self, cx: &ProbeCx) -> Result<(), ProbeError> {
        let watches = self.before() + self.settings.monitor.0 + self.settings.recovery.0;
        let (takes, left) = (watches + FILL_TAKES + BACK_WITHIN, cx.time_left());
        if takes <= left {
            return Ok(());
        }
        let [takes, left] =
            [takes, left].map(|time| human::value(time.as_secs_f64(), measure::report::Unit::Seconds));
        let message = format!(
            "the run takes up to {takes}, and {left} of its timeout are left; raise `timeout`, or shorten monitor and recovery"
        );
        Err(ProbeError::Skipped(Failure::new(Reason::Precondition, message)))
    }
}
