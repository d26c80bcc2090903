//! Times SET, GET and DEL one by one, by several workers, and at a steady rate.

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
    /// Settings of `latency_baseline`.
    pub struct Settings {
    }
}

/// The probe.
#[derive(Debug)]
pub struct LatencyBaseline;

impl Probe for LatencyBaseline {
    const NAME: &'static str = "latency_baseline";
    const SUMMARY: &'static str =
        "Times SET, GET and DEL one by one, by several workers, and at a steady rate.";
    const EFFECT: Effect = Effect::Touch;
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
