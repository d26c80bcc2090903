//! Reads INFO: clients, memory, evictions, hits, persistence, replication, commands.

use measure::{
    Effect, ProbeError,
    metric::MetricDef,
    report::{ObjectiveDef, Report},
};

use crate::{
    probe::{Needs, Probe, ProbeCx, SettingError},
    settings,
};

settings! {
    /// Settings of `server_info`.
    pub struct Settings {
    }
}

/// The probe.
#[derive(Debug)]
pub struct ServerInfo;

impl Probe for ServerInfo {
    const NAME: &'static str = "server_info";
    const SUMMARY: &'static str =
        "Reads INFO: clients, memory, evictions, hits, persistence, replication, commands.";
    const EFFECT: Effect = Effect::Observe;
    const REACH: Effect = Effect::Observe;
    const METRICS: &'static [&'static MetricDef] = &[];
    const OBJECTIVES: &'static [&'static ObjectiveDef] = &[];
    type Settings = Settings;

    fn new(_settings: Settings) -> Result<Self, Vec<SettingError>> {
        Ok(Self)
    }

    fn quick(_settings: &mut Settings) {}

    fn needs(&self, _allowed: Effect) -> Needs {
        Needs::default()
    }

    async fn run(&self, _cx: &ProbeCx) -> Result<Report, ProbeError> {
        unimplemented!()
    }
}
