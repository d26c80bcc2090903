//! `redprobe run`: probes once, through the same runner as the daemon, with progress and a report.
//!
//! What to run is the configuration's to say (`Plan::for_run`), how a run goes the runner's. Here is what a person sees of
//! it: progress, the report, files and the exit code.

use std::{path::Path, sync::Arc};

use anyhow::Context;

use super::{Exit, Format, RunArgs};
use crate::{
    config::{Job, Mistakes, Plan, RunRequest},
    schedule::runner::{Runner, Trigger},
    shutdown::{Signals, Wish},
    sink::{Record, Sinks, json},
    telemetry,
    verdict::{self, Outcome},
};

pub(super) mod checks;
mod files;
mod progress;
pub(super) mod text;

/// Runs the probes and prints the report.
///
/// # Errors
/// Where nothing could be run, or the report could not be written.
pub async fn run(args: RunArgs) -> anyhow::Result<Exit> {
    run_and_print(&args, |records, code| format!("{}{}", text::suite(records), text::verdict(records, code)))
        .await
}

/// As [`run`], for a command with a text of its own.
pub(super) async fn run_and_print(
    args: &RunArgs,
    text: impl Fn(&[Arc<Record>], i32) -> String,
) -> anyhow::Result<Exit> {
    let request = RunRequest {
        probes: args.probes.clone(),
        target: args.target.clone(),
        allow: args.allow.clone(),
        quick: args.quick,
        set: args.set.clone(),
        timeout: args.timeout.clone(),
        access: (&args.access).into(),
    };
    let plan = Plan::for_run(args.config.config.as_deref(), &request).map_err(Mistakes)?;
    if let Some(path) = &args.output {
        files::is_replaceable(path).with_context(|| cannot_write(path))?;
    }
    let name = telemetry::file_name();
    telemetry::start_as(&plan.log, &args.log, &name)?;
    let mut signals = Signals::take().context("cannot listen for signals")?;
    let runner = Runner::new(&plan, Arc::new(Sinks::new(plan.limits.runs_kept)));
    runner.check_grants(&plan).await;
    let mut suite = Suite { runner: &runner, plan: &plan, signals: &mut signals, interrupted: false };
    let mut records = Vec::new();
    for job in &plan.jobs {
        records.push(suite.see(job).await);
        if suite.interrupted {
            break;
        }
    }
    let interrupted = suite.interrupted;
    // What could not be put back is logged, and said by the report.
    runner.stop(plan.limits.stop_timeout).await;
    let restored = records.iter().all(|record| record.unrestored.is_empty());
    let graded = verdict::exit_code(records.iter().map(|record| record.grade), interrupted);
    let code = if restored { graded } else { i32::from(Exit::NotRestored.code()) };
    report(args, &name, &records, code, text)?;
    Ok(exit(code))
}

/// The runs of one command, one after the other.
struct Suite<'a> {
    runner: &'a Arc<Runner>,
    plan: &'a Plan,
    signals: &'a mut Signals,
    interrupted: bool,
}

impl Suite<'_> {
    /// Runs one job and shows how far it is, until it is done or somebody wants it to stop.
    async fn see(&mut self, job: &Arc<Job>) -> Arc<Record> {
        let mut shown = progress::Shown::new(job.to_string());
        let runner = Arc::clone(self.runner);
        let mut record = std::pin::pin!(runner.tick(job, Trigger::Manual));
        let mut refresh = tokio::time::interval(progress::REFRESH);
        let record = loop {
            tokio::select! {
                biased;
                record = &mut record => break record,
                wish = self.signals.next() => self.obey(wish),
                // No other run is under way.
                _ = refresh.tick() => if let Some(running) = runner.running().first() {
                    shown.update(&running.progress.borrow());
                }
            }
        };
        shown.end();
        record
    }

    /// The first wish to stop cancels what runs and lets it clean up; the next ones cut the clean-up short.
    fn obey(&mut self, wish: Wish) {
        if wish != Wish::Stop {
            return;
        }
        if std::mem::replace(&mut self.interrupted, true) {
            self.runner.hurry();
            return;
        }
        tracing::warn!("interrupted; cleaning up, once more to hurry");
        let (runner, patience) = (Arc::clone(self.runner), self.plan.limits.stop_timeout);
        tokio::spawn(async move { runner.stop(patience).await });
    }
}

/// Prints the report, or writes it where it was asked for; `name` is that of the log beside it.
fn report(
    args: &RunArgs,
    name: &str,
    records: &[Arc<Record>],
    code: i32,
    text: impl Fn(&[Arc<Record>], i32) -> String,
) -> anyhow::Result<()> {
    for record in records {
        // The runner itself logs the other outcomes.
        if matches!(record.outcome, Outcome::Passed | Outcome::Skipped) {
            tracing::info!("{}: {}: {}", record.job, record.outcome.as_str(), record.conclusion);
        }
    }
    let mut json =
        serde_json::to_vec_pretty(&json::suite(records, code)).context("the report is plain data")?;
    json.push(b'\n');
    if let Some(directory) = &args.log.log_dir {
        write(&directory.join(format!("{name}.json")), &json)?;
    }
    let text = || text(records, code).into_bytes();
    match &args.output {
        Some(path) if path.extension().is_some_and(|extension| extension == "txt" || extension == "md") => {
            write(path, &text())
        }
        Some(path) => write(path, &json),
        None => super::print(match args.format {
            Format::Json => json,
            Format::Text => text(),
        }),
    }
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    files::replace(path, content).with_context(|| cannot_write(path))
}

fn cannot_write(path: &Path) -> String {
    format!("{}: cannot write the report", path.display())
}

fn exit(code: i32) -> Exit {
    match code {
        0 => Exit::Ok,
        1 => Exit::Fair,
        2 => Exit::Poor,
        4 => Exit::NotRestored,
        130 => Exit::Interrupted,
        _ => Exit::NotMeasured,
    }
}
