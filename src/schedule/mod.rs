//! When jobs run: one task that starts what is due, on intervals and by cron expressions.
//!
//! What a tick does is the runner's; the arithmetic of due times is `timetable`'s; this file has the clocks.

use std::sync::Arc;

use measure::clock;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Job, Plan};
use timetable::{Now, Timetable};

pub mod cron;
pub mod halted;
pub mod halts;
pub mod janitor;
pub mod runner;

mod admit;
mod changed;
mod debts;
mod grants;
mod guarded;
mod kept;
pub(crate) mod lock_file;
mod locks;
mod record;
pub mod restore;
mod run;
mod runlog;
#[cfg(test)]
mod testing;
mod timetable;
mod whereabouts;

/// Fired cron expressions that may wait to be seen.
const FIRED: usize = 256;

/// Starts the jobs of the plan in force when they are due. Dropping it stops the scheduling; runs go on.
#[derive(Debug)]
pub struct Scheduler {
    plans: mpsc::Sender<(Arc<Plan>, oneshot::Sender<()>)>,
    task: AbortOnDropHandle<()>,
}

impl Scheduler {
    /// One without jobs.
    #[must_use]
    pub fn start(runner: Arc<runner::Runner>) -> Self {
        let (plans, planned) = mpsc::channel(1);
        let task = tokio::spawn(keep_time(runner, planned));
        Self { plans, task: AbortOnDropHandle::new(task) }
    }

    /// Starts nothing any more. Runs go on.
    pub fn stop(&self) {
        self.task.abort();
    }

    /// Makes the plan's jobs the scheduled ones. A job that was there before with the same schedule keeps its times.
    pub async fn apply(&self, plan: Arc<Plan>) {
        let (done, applied) = oneshot::channel();
        if self.plans.send((plan, done)).await.is_ok() {
            // An error means that the task is gone, and with it all scheduling.
            applied.await.ok();
        }
    }
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: clock::wall() }
}

async fn keep_time(
    runner: Arc<runner::Runner>,
    mut planned: mpsc::Receiver<(Arc<Plan>, oneshot::Sender<()>)>,
) {
    let (fired, mut told) = mpsc::channel(FIRED);
    let mut clockwork = cron::Clockwork::new(fired);
    let mut timetable = Timetable::default();
    loop {
        let due = timetable.next_due();
        let next_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            plan = planned.recv() => {
                let Some((plan, done)) = plan else { return };
                for (job, next) in timetable.set(&plan.jobs, now()) {
                    runner.sinks().metrics.next_run(&job, next.at, next.slack);
                }
                if let Err(error) = clockwork.set(&timetable.expressions()).await {
                    tracing::error!(%error, "a cron schedule was refused; its jobs will not run");
                }
                done.send(()).ok();
            }
            () = next_due => start_due(&runner, &mut timetable),
            Some(expression) = told.recv() => {
                let missed = timetable.fired(&expression, now());
                report_missed(&runner, &missed);
            }
        }
    }
}

fn start_due(runner: &Arc<runner::Runner>, timetable: &mut Timetable) {
    let mut missed = Vec::new();
    while let Some(due) = timetable.pop(now()) {
        if let Some(planned) = due.start {
            runner.start_scheduled(&due.job, planned);
        }
        runner.sinks().metrics.next_run(&due.job, due.next.at, due.next.slack);
        if due.missed > 0 {
            missed.push((due.job, due.missed));
        }
    }
    report_missed(runner, &missed);
}

/// One line for all of them: a daemon that was suspended misses ticks of every job at once.
fn report_missed(runner: &runner::Runner, missed: &[(Arc<Job>, u64)]) {
    for (job, count) in missed {
        runner.sinks().metrics.missed_ticks(job, *count);
    }
    if !missed.is_empty() {
        let ticks: u64 = missed.iter().map(|(_, count)| count).sum();
        tracing::warn!(ticks, jobs = missed.len(), "redprobe did not run at the time of some ticks");
    }
}
