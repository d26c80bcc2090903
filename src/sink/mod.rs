//! Where a finished run goes: one [`Record`], published to metrics and to the bounded memory of runs.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use measure::{
    Reason,
    conn::TlsExpiry,
    facts::ServerFacts,
    journal::{Restored, Setting},
    keys::CleanUp,
    report::Report,
};

use crate::{
    config::{Job, Plan},
    verdict::{Grade, Objective, Outcome},
};

/// One finished run, whatever came of it. Every tick makes exactly one.
#[derive(Debug)]
pub struct Record {
    /// A ULID: sorts by time.
    pub id: String,
    /// The job that ran.
    pub job: Arc<Job>,
    /// When it began.
    pub started_at: SystemTime,
    /// How long it took, clean-up apart.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was not measured; `None` for passed and failed.
    pub reason: Option<Reason>,
    /// The grade of a measured run.
    pub grade: Option<Grade>,
    /// One sentence.
    pub conclusion: String,
    /// The job's objectives that were observed.
    pub objectives: Vec<Objective>,
    /// What was found; empty where nothing was measured.
    pub report: Report,
    /// What clean-up did.
    pub clean_up: CleanUp,
    /// What became of the settings that it changed.
    pub restored: Restored,
    /// The settings that are still as it has made them: the journal has what they were.
    pub unrestored: Vec<Setting>,
    /// The server, where it said who it is.
    pub server: Option<ServerFacts>,
    /// When the certificates expire, as far as that is known.
    pub tls: TlsExpiry,
    /// What the run said while it went.
    pub log: Vec<String>,
}

pub mod history;
pub mod json;
pub mod metrics;

/// Every place that a record goes to.
#[derive(Debug)]
pub struct Sinks {
    /// `/metrics`.
    pub metrics: metrics::Metrics,
    /// `/api/v1/runs`.
    pub history: history::History,
}

impl Sinks {
    /// Empty sinks that keep this many runs.
    #[must_use]
    pub fn new(runs_kept: usize) -> Self {
        Self { metrics: metrics::Metrics::new(), history: history::History::new(runs_kept) }
    }

    /// Takes on a plan, at the start and after each reload: see [`metrics::Metrics::apply`].
    pub fn apply(&self, plan: &Plan) {
        self.metrics.apply(plan);
        self.history.apply(plan);
    }

    /// Publishes a finished run everywhere. Never waits for a reader.
    pub fn publish(&self, record: &Arc<Record>) {
        self.metrics.publish(record);
        self.history.push(Arc::clone(record));
    }
}
