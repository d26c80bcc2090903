//! The process's one tokio-cron-scheduler.
//!
//! When an expression comes round is arithmetic and belongs to `config::CronTimes`. The library is used for one thing:
//! to say that an expression's time has come. What then happens, what overlaps, and which times were missed is decided
//! elsewhere, because the library starts a job over its own running copy, polls twice a second, and says nothing of
//! what it skipped. Traps that shape this file, all seen in version 0.15:
//! `new_repeated` stops for ever after one late tick (so cron only); a closure that panics before its async block
//! poisons its lock (so it only clones and sends); every scheduler leaks tasks (so one per process, made when the
//! first cron job comes); its queues hold a fixed number of jobs (so one job per expression, however many targets).

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_cron_scheduler::{JobScheduler, JobSchedulerError, job::JobLocked};
use tracing::{
    instrument::{WithDispatch, WithSubscriber},
    subscriber::NoSubscriber,
};

/// How often the library looks at the clock: a job is told this much late at the most.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// The process's one cron scheduler. Says through a channel which expression's time has come.
pub(super) struct Clockwork {
    scheduler: Option<JobScheduler>,
    jobs: HashMap<String, JobLocked>,
    fired: mpsc::Sender<String>,
}

impl Clockwork {
    /// One with no expression; `fired` is told each expression when its time comes.
    pub(super) fn new(fired: mpsc::Sender<String>) -> Self {
        Self { scheduler: None, jobs: HashMap::new(), fired }
    }

    /// Makes these the expressions: those that stay are not touched.
    ///
    /// # Errors
    /// Where the library refuses one; the others are set all the same.
    pub(super) async fn set(&mut self, expressions: &BTreeSet<String>) -> Result<(), JobSchedulerError> {
        if self.scheduler.is_none() && expressions.is_empty() {
            return Ok(());
        }
        let scheduler = match &self.scheduler {
            Some(scheduler) => scheduler.clone(),
            None => {
                let scheduler = JobScheduler::new().await?;
                quiet(scheduler.start()).await?;
                self.scheduler.insert(scheduler).clone()
            }
        };
        let mut result = Ok(());
        let gone: Vec<_> = self.jobs.keys().filter(|known| !expressions.contains(*known)).cloned().collect();
        for expression in gone {
            if let Some(job) = self.jobs.remove(&expression) {
                result = result.and(scheduler.remove(&job.guid()).await);
            }
        }
        for expression in expressions {
            if self.jobs.contains_key(expression) {
                continue;
            }
            match self.add(&scheduler, expression).await {
                Ok(job) => drop(self.jobs.insert(expression.clone(), job)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    async fn add(&self, scheduler: &JobScheduler, expression: &str) -> Result<JobLocked, JobSchedulerError> {
        let (fired, told) = (self.fired.clone(), expression.to_owned());
        let job = JobLocked::new_async(expression, move |_, _| {
            let (fired, told) = (fired.clone(), told.clone());
            Box::pin(async move {
                // Nobody listens any more once the daemon stops.
                fired.send(told).await.ok();
            })
        })?;
        quiet(scheduler.add(job.clone())).await?;
        Ok(job)
    }
}

/// The library tells the log of every job that is added; what goes wrong it returns.
fn quiet<F: Future>(work: F) -> WithDispatch<F> {
    work.with_subscriber(NoSubscriber::default())
}

impl std::fmt::Debug for Clockwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clockwork").field("expressions", &self.jobs.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn expressions_are_told_once_each_and_no_longer_when_removed() {
        let (fired, mut told) = mpsc::channel(16);
        let mut clockwork = Clockwork::new(fired);
        let every_second = "* * * * * *".to_owned();
        clockwork.set(&BTreeSet::from([every_second.clone(), "0 0 0 1 1 *".to_owned()])).await.unwrap();
        for _ in 0..2 {
            assert_eq!(told.recv().await, Some(every_second.clone()));
        }
        clockwork.set(&BTreeSet::new()).await.unwrap();
        // One that was already on its way may still come; then there is silence.
        let quiet = async {
            loop {
                if tokio::time::timeout(Duration::from_millis(1_600), told.recv()).await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), quiet).await.unwrap();
    }
}
