//! Whether the target answers: SET, GET and UNLINK of an own key where writing is allowed, PING and INFO elsewhere.

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
    /// Settings of `health`.
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
