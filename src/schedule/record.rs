//! From what a run came to, to its record: judged, worded, scrubbed.
//!
//! How a run comes to something is `run`'s; what a grade is, `verdict`'s.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, SystemTime},
};

use measure::{
    Failure, ProbeError, Reason,
    conn::{Tls, TlsExpiry},
    facts::ServerFacts,
    journal::{Restored, Setting},
    keys::CleanUp,
    report::{Doubt, Report, ReportedError},
};

use super::runlog::{RunLog, Scrub};
use crate::{
    config::Job,
    sink::Record,
    verdict::{self, Outcome},
};

/// What a run came to.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) started_at: SystemTime,
    pub(super) took: Duration,
    pub(super) result: Result<Report, ProbeError>,
    /// What a run that was stopped half-way had found; empty for all others.
    pub(super) partial: Report,
    pub(super) doubts: Vec<Doubt>,
    pub(super) clean_up: CleanUp,
    pub(super) restored: Restored,
    /// Settings that are still as the run has made them.
    pub(super) unrestored: Vec<Setting>,
    pub(super) server: Option<ServerFacts>,
    /// When the certificates of the server that it was on expire.
    pub(super) tls: Option<TlsExpiry>,
}

impl Finished {
    /// A run that never began.
    pub(super) fn without_run(started_at: SystemTime, error: ProbeError) -> Self {
        Self {
            started_at,
            took: Duration::ZERO,
            result: Err(error),
            partial: Report::default(),
            doubts: Vec::new(),
            clean_up: CleanUp::default(),
            restored: Restored::default(),
            unrestored: Vec::new(),
            server: None,
            tls: None,
        }
    }
}

/// The error of a run that panicked. The text is the panic's own.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> ProbeError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    ProbeError::failed(Reason::Panic, format!("a defect of redprobe: {text}"))
}

/// The record of a finished run.
pub(super) fn record(id: &str, job: &Arc<Job>, log: &RunLog, finished: Finished) -> Record {
    let scrub = Scrub::new(job.target.endpoint.passwords());
    let mut record = Record {
        id: id.to_owned(),
        job: Arc::clone(job),
        started_at: finished.started_at,
        took: finished.took,
        outcome: Outcome::Error,
        reason: None,
        grade: None,
        conclusion: String::new(),
        objectives: Vec::new(),
        report: Report::default(),
        clean_up: finished.clean_up,
        restored: finished.restored,
        unrestored: finished.unrestored,
        server: finished.server,
        tls: finished.tls.or(job.target.endpoint.tls.as_ref().map(Tls::expiry)).unwrap_or_default(),
        log: Vec::new(),
    };
    match finished.result {
        Ok(mut report) => {
            report.doubts.extend(finished.doubts);
            scrub_report(&scrub, &mut report);
            let judged = verdict::judge(&job.limits, &report);
            record.outcome = judged.outcome;
            record.grade = Some(judged.grade);
            record.conclusion = judged.conclusion;
            record.objectives = judged.objectives;
            record.report = report;
        }
        Err(error) => {
            record.outcome = match error {
                ProbeError::Failed(_) => Outcome::Error,
                ProbeError::Skipped(_) => Outcome::Skipped,
                ProbeError::Halted(_) => Outcome::Halted,
            };
            let Failure { reason, message } = error.failure();
            let message = scrub.clean(message.clone());
            record.reason = Some(*reason);
            // It is reported and its operations count, but half a run is neither judged nor a probe's latest result.
            record.report = Report { observed: Vec::new(), samples: Vec::new(), ..finished.partial };
            record.report.doubts.extend(finished.doubts);
            scrub_report(&scrub, &mut record.report);
            record.conclusion = conclusion(record.outcome, *reason, &message);
            record.report.conclusion.clone_from(&record.conclusion);
            record.report.errors.push(ReportedError { phase: "run", reason: *reason, message, count: 1 });
        }
    }
    log.note(format!("{}: {}", record.outcome.as_str(), record.conclusion));
    record.log = log.lines();
    // It is kept for long, thousands of them where there are many targets.
    record.report.samples.shrink_to_fit();
    record.report.timeline.shrink_to_fit();
    record.log.shrink_to_fit();
    record
}

fn conclusion(outcome: Outcome, reason: Reason, message: &str) -> String {
    let what = match outcome {
        Outcome::Skipped => "Skipped",
        Outcome::Halted => "Halted",
        _ => "Not measured",
    };
    format!("{what} ({reason}): {message}")
}

/// Server replies can be part of a report too.
fn scrub_report(scrub: &Scrub, report: &mut Report) {
    let errors = report.errors.iter_mut().map(|error| &mut error.message);
    let skipped = report.skipped_phases.iter_mut().map(|phase| &mut phase.message);
    let checks = report.checks.iter_mut().map(|check| &mut check.actual);
    for message in errors.chain(skipped).chain(checks).chain([&mut report.conclusion]) {
        *message = scrub.clean(std::mem::take(message));
    }
}

#[cfg(test)]
mod tests {
    use measure::Effect;

    use super::*;
    use crate::{config::Schedule, schedule::testing, verdict::Grade};

    fn made(result: Result<Report, ProbeError>, doubts: Vec<Doubt>) -> Record {
        let job = testing::job("cache", Effect::Observe, Schedule::Manual);
        let finished =
            Finished { doubts, result, ..Finished::without_run(SystemTime::UNIX_EPOCH, panicked(&"")) };
        record("01RUN", &job, &RunLog::default(), finished)
    }

    #[test]
    fn errors_keep_their_outcome_reason_and_text() {
        for (error, outcome) in [
            (ProbeError::failed(Reason::Deadline, "late"), Outcome::Error),
            (ProbeError::skipped(Reason::Lease, "late"), Outcome::Skipped),
            (ProbeError::halted(Reason::Canary, "late"), Outcome::Halted),
        ] {
            let reason = error.failure().reason;
            let record = made(Err(error), vec![Doubt::EventLoopLag]);
            assert_eq!((record.outcome, record.reason, record.grade), (outcome, Some(reason), None));
            assert!(record.conclusion.ends_with(": late"), "{}", record.conclusion);
            assert_eq!(record.report.errors[0].reason, reason);
            assert_eq!(record.log.len(), 1);
        }
    }

    #[test]
    fn doubts_lower_the_grade() {
        let report = |doubts| made(Ok(Report::default()), doubts);
        assert_eq!(report(vec![]).grade, Some(Grade::Excellent));
        assert_eq!(report(vec![Doubt::SharedTarget]).grade, Some(Grade::Good));
    }

    #[test]
    fn a_panic_says_what_it_said() {
        let text = |panic: Box<dyn Any + Send>| panicked(&*panic).failure().message.clone();
        assert!(text(Box::new("static")).contains("static"));
        assert!(text(Box::new("owned".to_owned())).contains("owned"));
        assert!(text(Box::new(7)).contains("no message"));
    }
}
