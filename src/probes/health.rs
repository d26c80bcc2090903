//! Whether the target answers: SET, GET and UNLINK of an own key where writing is allowed, PING and INFO elsewhere.
//!
//! `redprobe_up` is made from its outcome. How fast or how full the server is belongs to the other probes.

use std::time::Duration;

use measure::{
    Effect, Failure, Grant, ProbeError, Reason, clock,
    metric::MetricDef,
    redis::{self, Cmd, FromRedisValue, aio::MultiplexedConnection},
    report::{ObjectiveDef, Report, Unit},
};

use crate::{
    probe::{Needs, Probe, ProbeCx, SettingError},
    settings,
    verdict::human,
};

measure::metrics! {
    /// Round trip of each command of the last health check.
    gauge ROUND_TRIP = "redprobe_health_round_trip_seconds" [command];
}

settings! {
    /// Settings of `health`: it has none.
    pub struct Settings {
    }
}

/// The probe.
#[derive(Debug)]
pub struct Health;

impl Probe for Health {
    const NAME: &'static str = "health";
    const SUMMARY: &'static str = "Whether the target answers: SET, GET and UNLINK of an own key where writing is allowed, PING and INFO elsewhere.";
    const EFFECT: Effect = Effect::Observe;
    const REACH: Effect = Effect::Touch;
    const COMMANDS: &'static [Grant] = &[
        Grant::observe("ping", "", "see whether the server answers").below(Effect::Touch),
        Grant::observe("info", "server", "see whether it answers with more than PONG").below(Effect::Touch),
        Grant::touch("set", "{key} x PX 1", "see whether it takes a write"),
        Grant::touch("get", "{key}", "see whether it gives it back"),
        Grant::touch("unlink", "{key}", "remove what was written"),
    ];
    const METRICS: &'static [&'static MetricDef] = METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] = &[];
    type Settings = Settings;

    fn new(_settings: Settings) -> Result<Self, Vec<SettingError>> {
        Ok(Self)
    }

    fn quick(_settings: &mut Settings) {}

    fn needs(&self, allowed: Effect) -> Needs {
        let writes = u64::from(allowed >= Effect::Touch);
        Needs { connections: 1, keys: writes, bytes: writes * VALUE_SIZE as u64 }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut check =
            Check { conn: cx.observer().await?, report: Report::default(), total: Duration::ZERO };
        let said = if cx.allows(Effect::Touch) { check.write(cx).await? } else { check.ask().await? };
        let total = check.total.as_secs_f64();
        let mut report = check.report;
        report.measure("round_trips", total, Unit::Seconds);
        report.conclusion = format!("Answered {said} in {}.", human::value(total, Unit::Seconds));
        Ok(report)
    }
}

/// Enough to tell values apart, too little to matter anywhere.
const VALUE_SIZE: usize = 32;

struct Check {
    conn: MultiplexedConnection,
    report: Report,
    total: Duration,
}

impl Check {
    /// SET, GET and UNLINK. PING proves little: a server out of memory or without its replicas still answers it.
    async fn write(&mut self, cx: &ProbeCx) -> Result<&'static str, ProbeError> {
        let keys = cx.keys.range("health", 1, VALUE_SIZE)?;
        // Unlike any earlier run's, so that a stale answer shows.
        let written = format!("{:.VALUE_SIZE$}", cx.run_id);
        let set = self.time::<String>("set", keys.set_one(0, written.as_bytes())).await;
        if set.as_ref().is_err_and(|failure| failure.reason.is_refusal()) {
            keys.settle();
        }
        set?;
        let read: Option<String> = self.time("get", keys.get_one(0)).await?;
        let _: u64 = self.time("unlink", keys.unlink_one(0)).await?;
        keys.settle();
        match read {
            Some(read) if read == written => Ok("SET, GET and UNLINK"),
            Some(_) => Err(ProbeError::failed(
                Reason::Protocol,
                "GET answered another value than SET had just written",
            )),
            None => Err(ProbeError::failed(
                Reason::Other,
                "a key that SET had just written was gone at GET: evicted at once, or read from another server",
            )),
        }
    }

    async fn ask(&mut self) -> Result<&'static str, ProbeError> {
        let _: String = self.time("ping", redis::cmd("PING")).await?;
        let info: String = self.time("info", redis::cmd("INFO").arg("server").to_owned()).await?;
        if info.is_empty() {
            return Err(ProbeError::failed(Reason::Protocol, "INFO answered with nothing"));
        }
        Ok("PING and INFO")
    }

    async fn time<T: FromRedisValue>(&mut self, name: &'static str, command: Cmd) -> Result<T, Failure> {
        let start = clock::now();
        let answer = command.query_async(&mut self.conn).await;
        let took = clock::now() - start;
        self.total += took;
        self.report.set_with(&ROUND_TRIP, [name.into()], took.as_secs_f64());
        self.report.measure(name, took.as_secs_f64(), Unit::Seconds);
        Ok(answer?)
    }
}
