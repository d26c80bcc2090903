//! Jobs for the unit tests of this folder: a probe that finds nothing, on a target that nobody connects to.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use measure::{Effect, ProbeError, conn::Endpoint, report::Report};

use crate::{
    config::{Job, Profile, Schedule, Target},
    probe::{DynProbe, Needs, ProbeCx, ProbeKind},
};

struct Nothing;

static NOTHING: ProbeKind = ProbeKind {
    name: "nothing",
    summary: "Finds nothing.",
    effect: Effect::Observe,
    reach: Effect::Load,
    as_configured: false,
    commands: &[],
    metrics: &[],
    objectives: &[],
    settings: &[],
    defaults: || serde_json::Value::Null,
    build: |_, _| Err(Vec::new()),
};

impl DynProbe for Nothing {
    fn kind(&self) -> &'static ProbeKind {
        &NOTHING
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        Needs::default()
    }

    fn run<'a>(&'a self, _cx: &'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>> {
        Box::pin(async { Ok(Report::default()) })
    }
}

/// A target of this name.
pub(crate) fn target(name: &str, allow: Effect) -> Arc<Target> {
    Arc::new(Target {
        id: name.to_owned(),
        name: name.to_owned(),
        node: String::new(),
        endpoint: Endpoint::parse("redis://127.0.0.1:1").expect("a URL"),
        cluster: None,
        environment: String::new(),
        allow,
        profile: Profile::default(),
        max_keys: 1_000,
        max_bytes: 1_000_000,
        max_connections: 10,
        pools: Vec::new(),
    })
}

/// A job on a target of this name.
pub(crate) fn job(target_name: &str, allow: Effect, schedule: Schedule) -> Arc<Job> {
    Arc::new(Job {
        name: "job".to_owned(),
        probe: Arc::new(Nothing),
        target: target(target_name, allow),
        schedule,
        timeout: Duration::from_secs(5),
        variant: String::new(),
        limits: Vec::new(),
        settings: serde_json::Value::Null,
    })
}
