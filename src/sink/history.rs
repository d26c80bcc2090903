//! The bounded memory of runs behind `/api/v1/runs`: failures outlive successes, and the last run of every job stays.
//!
//! Memory only: it starts empty with the process. What a run looks like to a reader is in `json`.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Record;
use crate::{config::Plan, verdict::Outcome};

/// Estimated bytes of reports kept, whatever the number of runs: long timelines must not fill the daemon's memory.
const MAX_BYTES: usize = 16 << 20;

/// The runs kept.
#[derive(Debug)]
pub struct History {
    runs_kept: AtomicUsize,
    runs: Mutex<Runs>,
}

/// Which runs to list; `None` is any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By probe.
    pub probe: Option<String>,
    /// By target: its name, which is all of its nodes, or the id of one.
    pub target: Option<String>,
    /// By the name of the node.
    pub node: Option<String>,
    /// By outcome.
    pub outcome: Option<Outcome>,
    /// At most this many, the newest.
    pub limit: usize,
}

/// Probe, target, variant.
type JobKey = (&'static str, String, String);

#[derive(Debug, Default)]
struct Runs {
    failures: Ring,
    others: Ring,
    /// The last run of each job that was not skipped.
    last: HashMap<JobKey, Arc<Record>>,
}

#[derive(Debug, Default)]
struct Ring {
    runs: VecDeque<Arc<Record>>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, record: Arc<Record>, max_runs: usize, max_bytes: usize) {
        self.bytes += estimated_bytes(&record);
        self.runs.push_back(record);
        while self.runs.len() > max_runs || self.bytes > max_bytes {
            match self.runs.pop_front() {
                Some(oldest) => self.bytes -= estimated_bytes(&oldest),
                None => break,
            }
        }
    }
}

impl History {
    /// An empty memory of this many runs: half of it for those that failed, were not measured or were halted, half for
    /// the others. On top of that it keeps the last run of each job.
    #[must_use]
    pub fn new(runs_kept: usize) -> Self {
        Self { runs_kept: AtomicUsize::new(runs_kept), runs: Mutex::default() }
    }

    /// Takes on the plan's number of runs, and forgets the last runs of jobs that are not in it.
    pub fn apply(&self, plan: &Plan) {
        self.runs_kept.store(plan.limits.runs_kept, Ordering::Relaxed);
        let planned: HashSet<_> = plan.jobs.iter().map(|job| job.key()).collect();
        self.runs().last.retain(|(probe, target, variant), _| planned.contains(&(*probe, target, variant)));
    }

    /// Keeps a run, forgetting the oldest of its kind where there are too many.
    pub fn push(&self, record: Arc<Record>) {
        let mut runs = self.runs();
        if record.outcome != Outcome::Skipped {
            let (probe, target, variant) = record.job.key();
            runs.last.insert((probe, target.to_owned(), variant.to_owned()), Arc::clone(&record));
        }
        let ring = match record.outcome {
            Outcome::Failed | Outcome::Error | Outcome::Halted => &mut runs.failures,
            Outcome::Passed | Outcome::Skipped => &mut runs.others,
        };
        ring.push(record, self.runs_kept.load(Ordering::Relaxed).div_ceil(2), MAX_BYTES / 2);
    }

    /// The run with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Record>> {
        self.runs().all().find(|record| record.id == id).cloned()
    }

    /// The last run of this job that was not skipped.
    #[must_use]
    pub fn last(&self, (probe, target, variant): (&'static str, &str, &str)) -> Option<Arc<Record>> {
        self.runs().last.get(&(probe, target.to_owned(), variant.to_owned())).cloned()
    }

    /// The newest runs that match, newest first.
    #[must_use]
    pub fn list(&self, filter: &Filter) -> Vec<Arc<Record>> {
        let runs = self.runs();
        // By id, which sorts by time, and in which a run that is both kept and the last of its job is one.
        let matching: BTreeMap<_, _> =
            runs.all().filter(|record| filter.matches(record)).map(|record| (&record.id, record)).collect();
        matching.into_values().rev().take(filter.limit).cloned().collect()
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.failures.runs.iter().chain(&self.others.runs).chain(self.last.values())
    }
}

impl Filter {
    fn matches(&self, record: &Record) -> bool {
        let job = &record.job;
        self.probe.as_ref().is_none_or(|wanted| wanted == job.kind().name)
            && self.target.as_ref().is_none_or(|wanted| job.target.is_called(wanted))
            && self.node.as_ref().is_none_or(|wanted| *wanted == job.target.node)
            && self.outcome.is_none_or(|wanted| wanted == record.outcome)
    }
}

/// The parts of a record that can be many, at what they take on a 64-bit machine.
fn estimated_bytes(record: &Record) -> usize {
    let report = &record.report;
    let log: usize = record.log.iter().map(|line| line.len() + size_of::<String>()).sum();
    let timeline: usize = report.timeline.iter().map(|point| 48 + point.values.len().max(11) * 24).sum();
    1_024
        + log
        + timeline
        + report.samples.len() * 96
        + report.measurements.len() * 64
        + report.operations.len() * 768
        + report.checks.len() * 512
}
