//! Measures operations per second: baseline, sustained, concurrent, pipelined, and a mixed benchmark.

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
    /// Settings of `throughput`.
    pub struct Settings {
    }
}

/// The probe.
#[derive(Debug)]
pub struct Throughput;

impl Probe for Throughput {
    const NAME: &'static str = "throughput";
    const SUMMARY: &'static str =
        "Measures operations per second: baseline, sustained, concurrent, pipelined, and a mixed benchmark.";
    const EFFECT: Effect = Effect::Load;
    const REACH: Effect = Effect::Load;
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
