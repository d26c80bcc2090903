//! Plans, jobs and finished runs made up for the tests of what happens to a run afterwards.
//!
//! Nothing here connects to anything. Tests of what a run finds use a real server.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use measure::{
    Effect, ProbeError, Reason,
    conn::{Endpoint, TlsExpiry},
    facts::{Flavour, ServerFacts},
    journal::Restored,
    keys::CleanUp,
    latency::{BucketCounts, Latency, Recorder},
    report::{LoopKind, ObjectiveDef, Operation, Report},
};
use redprobe::{
    config::{Http, Job, Limit, Limits, Log, LogFormat, Plan, Profile, Schedule, Target},
    probe::{DynProbe, Needs, ProbeCx, ProbeKind},
    sink::Record,
    verdict::{self, Outcome},
};

/// A probe that is never run.
struct Idle(&'static ProbeKind);

impl DynProbe for Idle {
    fn kind(&self) -> &'static ProbeKind {
        self.0
    }

    fn needs(&self, _allowed: Effect) -> Needs {
        Needs::default()
    }

    fn run<'a>(&'a self, _cx: &'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>> {
        unreachable!("the tests that use it start no run")
    }
}

/// A kind of probe with this name and these objectives.
pub(crate) const fn kind(
    name: &'static str,
    reach: Effect,
    objectives: &'static [&'static ObjectiveDef],
) -> ProbeKind {
    ProbeKind {
        name,
        summary: "Made up for a test.",
        effect: Effect::Observe,
        reach,
        as_configured: false,
        commands: &[],
        metrics: &[],
        objectives,
        settings: &[],
        defaults: || serde_json::json!({}),
        build: |_, _| Err(Vec::new()),
    }
}

pub(crate) static HEALTH: ProbeKind = kind("health", Effect::Observe, &[]);

/// A target that allows everything, or one node of it: `name/node`.
pub(crate) fn target(id: &str) -> Arc<Target> {
    let (name, node) = id.split_once('/').unwrap_or((id, ""));
    Arc::new(Target {
        id: id.into(),
        name: name.into(),
        node: node.into(),
        endpoint: Endpoint::parse("redis://127.0.0.1:1").expect("a URL"),
        cluster: None,
        environment: "test".into(),
        allow: Effect::Load,
        profile: Profile::Mixed,
        max_keys: 0,
        max_bytes: 0,
        max_connections: 0,
        pools: Vec::new(),
    })
}

/// The job of `kind` on `target`, every 30 s.
pub(crate) fn job(kind: &'static ProbeKind, target: &Arc<Target>, variant: &str) -> Arc<Job> {
    scheduled(kind, target, variant, Schedule::Every(Duration::from_secs(30)))
}

/// The same, with a schedule.
pub(crate) fn scheduled(
    kind: &'static ProbeKind,
    target: &Arc<Target>,
    variant: &str,
    schedule: Schedule,
) -> Arc<Job> {
    Arc::new(Job {
        name: kind.name.into(),
        probe: Arc::new(Idle(kind)),
        target: Arc::clone(target),
        schedule,
        timeout: Duration::from_secs(10),
        variant: variant.into(),
        limits: kind.objectives.iter().map(|objective| Limit { objective, limit: objective.limit }).collect(),
        settings: serde_json::json!({ "pool_size": 15 }),
    })
}

/// A plan of exactly these jobs, and their targets.
pub(crate) fn plan(jobs: &[&Arc<Job>]) -> Plan {
    Plan {
        file: None,
        notes: Vec::new(),
        state_dir: std::env::temp_dir(),
        http: Http {
            listen: ([127, 0, 0, 1], 0).into(),
            web_config_file: None,
            api_token: None,
            max_connections: 64,
            read_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
        },
        log: Log { level: "info".into(), format: LogFormat::Text },
        limits: Limits {
            concurrent_load: 1,
            load_threads: 1,
            runs_kept: 100,
            stop_timeout: Duration::from_secs(5),
        },
        shard: None,
        elsewhere: BTreeMap::new(),
        targets: jobs.iter().map(|job| (job.target.id.clone(), Arc::clone(&job.target))).collect(),
        apps: BTreeMap::new(),
        jobs: jobs.iter().map(|job| Arc::clone(job)).collect(),
        shown: "{}".into(),
    }
}

/// Seconds after a moment in 2027 at which the made-up runs take place.
pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// The record of a measured run, judged as the runner would.
pub(crate) fn measured(job: &Arc<Job>, seconds: u64, report: Report) -> Arc<Record> {
    let judged = verdict::judge(&job.limits, &report);
    Arc::new(Record {
        outcome: judged.outcome,
        reason: None,
        grade: Some(judged.grade),
        conclusion: judged.conclusion,
        objectives: judged.objectives,
        report,
        ..unmeasured_record(job, seconds, Outcome::Passed, Reason::Other)
    })
}

/// The record of a run that was not measured.
pub(crate) fn unmeasured(job: &Arc<Job>, seconds: u64, outcome: Outcome, reason: Reason) -> Arc<Record> {
    Arc::new(unmeasured_record(job, seconds, outcome, reason))
}

fn unmeasured_record(job: &Arc<Job>, seconds: u64, outcome: Outcome, reason: Reason) -> Record {
    Record {
        id: format!("{seconds:09}-{}", job.name),
        job: Arc::clone(job),
        started_at: at(seconds) + Duration::from_millis(123),
        took: Duration::from_millis(1_500),
        outcome,
        reason: Some(reason),
        grade: None,
        conclusion: format!("Not measured: {reason}."),
        objectives: Vec::new(),
        report: Report::default(),
        clean_up: CleanUp::default(),
        restored: Restored::default(),
        unrestored: Vec::new(),
        server: Some(ServerFacts {
            version: "7.0.15".into(),
            flavour: Flavour::Redis,
            role: "master".into(),
            run_id: "0".into(),
        }),
        tls: TlsExpiry::default(),
        log: vec!["began".into()],
    }
}

/// An operation that took `micros` each time, and failed `errors` times.
pub(crate) fn operation(
    phase: &'static str,
    operation: &'static str,
    micros: u64,
    ok: u64,
    errors: &[(Reason, u64)],
) -> Operation {
    let mut latency = Recorder::default();
    latency.record_n(Duration::from_micros(micros), ok);
    let (summary, buckets): (Latency, BucketCounts) = (latency.summary(), latency.buckets());
    let failed: u64 = errors.iter().map(|(_, count)| count).sum();
    Operation {
        phase,
        operation,
        loop_kind: LoopKind::Open,
        duration_seconds: 10.0,
        offered: ok + failed,
        attempts: ok + failed,
        ok,
        errors: errors.iter().copied().collect(),
        indeterminate: 0,
        missed: 0,
        response: summary.clone(),
        service: summary,
        response_buckets: buckets,
        service_buckets: buckets,
    }
}
