//! One run from its permit to what it came to: guard, deadline, panic, clean-up.
//!
//! Who may run at all is decided in `admit`; the record is `record`'s; when runs begin, the scheduler's and the callers'.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use measure::{
    Effect, Failure, OwnErrors, Preflight, ProbeError, Reason,
    clock::{self, Instant},
    conn::{self, Tls},
    journal::Journal,
    keys::{CleanUp, KeyBudget, KeySpace},
    load::{Control, Progress},
    redis::aio::MultiplexedConnection,
    report::{Doubt, Report},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    admit::Admission,
    changed,
    guarded::Guarded,
    halts::Halts,
    kept::ask,
    record::{Finished, panicked},
    runlog::RunLog,
    whereabouts::{self, Peers, Spot},
};
use crate::{config::Job, probe::ProbeCx, selfwatch::SelfWatch};

/// How long clean-up may take: outside the run's own deadline, which may be what ended the run.
const CLEAN_UP: Duration = Duration::from_secs(10);
/// The same once somebody has told the process twice to stop.
const CLEAN_UP_IN_HURRY: Duration = Duration::from_secs(2);
/// Until clean-up is tried again where the server could not be reached.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How long a probe that is stopped gets to say what it has found so far.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the watch takes at the most to see that a server is gone.
const WATCH_TELLS: Duration = Duration::from_millis(1_500);
/// How much longer than the run its keys may live: clean-up and a slow server included.
const KEYS_OUTLIVE: Duration = Duration::from_secs(300);
/// Why a run is cancelled.
const STOPPING: &str = "redprobe is stopping, or the target left the configuration";

/// What one run needs to know.
pub(super) struct Run<'a> {
    pub(super) id: &'a str,
    pub(super) job: &'a Arc<Job>,
    pub(super) log: &'a RunLog,
    pub(super) admission: &'a Admission,
    /// Bound of the run, clean-up apart.
    pub(super) timeout: Duration,
    /// Where its progress goes.
    pub(super) progress: watch::Sender<Progress>,
    pub(super) hurry: &'a CancellationToken,
    /// Where it writes down what it changes.
    pub(super) journal: &'a Journal,
    /// What may end it from outside, and where it says that it must not begin again.
    pub(super) halts: &'a Halts,
    /// Which nodes of their clusters targets have.
    pub(super) peers: &'a Peers,
}

impl Run<'_> {
    /// Runs the probe to whatever end it comes to, and cleans up after it.
    pub(super) async fn carry_out(self, watch: &SelfWatch) -> Finished {
        let (started_at, began) = (clock::wall(), clock::now());
        let window = watch.begin();
        let cx = match self.find().await {
            Ok(spot) => self.context(spot, began + self.timeout),
            Err(error) => {
                let error = self.admission.place.grants.explain(self.job, error);
                self.log.note(format!("did not begin: {error}"));
                return Finished { took: began.elapsed(), ..Finished::without_run(started_at, error) };
            }
        };
        let mut guarded = Guarded::default();
        let mut result = self.bounded(&cx, &mut guarded).await;
        let took = began.elapsed();
        result = result.map_err(|error| self.admission.place.grants.explain(self.job, error));
        if let Err(error) = &result {
            self.log.note(format!("ended after {:.3} s: {error}", took.as_secs_f64()));
        }
        let disrupted = guarded.watch.take().is_some();
        // Before the clean-up, which may be cut short; and after it, which may have found a restart.
        let stays_off = disrupted && self.stays_off(&result).await;
        let mut doubts = window.doubts();
        let clean_up = self.clean_up(&cx, &mut guarded, &mut result).await;
        let (restored, unrestored) = changed::account(&cx, self.job, &mut result, &mut guarded.partial);
        if disrupted && !stays_off {
            self.stays_off(&result).await;
        }
        if self.admission.stay.was_disturbed() {
            doubts.push(Doubt::SharedTarget);
        }
        let kept = &self.admission.place.kept;
        let server = guarded.server.or_else(|| kept.server());
        if matches!(result, Err(ProbeError::Failed(_) | ProbeError::Halted(_))) {
            kept.close();
        }
        let partial = guarded.partial.unwrap_or_default();
        let tls = cx.endpoint.tls.as_ref().map(Tls::expiry);
        Finished { started_at, took, result, partial, doubts, clean_up, restored, unrestored, server, tls }
    }

    /// Sees to it that a run that was halted is not begun again by itself; whether it was.
    async fn stays_off(&self, result: &Result<Report, ProbeError>) -> bool {
        let Err(ProbeError::Halted(failure)) = result else { return false };
        self.halts.stays_off(self.job, self.id, failure).await;
        true
    }

    /// Where the server is now, and whether the probe can do with what is possible there.
    async fn find(&self) -> Result<Spot, ProbeError> {
        let (target, place) = (&self.job.target, &self.admission.place);
        let finding = tokio::time::timeout(self.timeout, whereabouts::find(target, &place.kept, self.peers));
        let found = tokio::select! {
            biased;
            () = place.cancel.cancelled() => return Err(ProbeError::failed(Reason::Cancelled, STOPPING)),
            found = finding => found,
        };
        let late =
            |_| Failure::new(Reason::Deadline, format!("{} is not found yet", target.endpoint.address));
        let spot = found.map_err(late).flatten()?;
        place.debts.found(&target.endpoint, &spot.endpoint);
        match &spot.only_looks {
            Some(failure) if self.job.kind().effect > Effect::Observe => {
                Err(ProbeError::Skipped(failure.clone()))
            }
            _ => Ok(spot),
        }
    }

    fn context(&self, spot: Spot, deadline: Instant) -> ProbeCx {
        let (target, probe) = (&self.job.target, self.job.kind().name);
        let budget = KeyBudget { keys: target.max_keys, bytes: target.max_bytes };
        let allowed = spot.cap(self.admission.allowed);
        let keys = KeySpace::new(spot.tag, probe, self.id, self.timeout + KEYS_OUTLIVE, budget);
        let ends_by = clock::wall() + self.timeout;
        if spot.endpoint.address != target.endpoint.address {
            self.log.note(format!("{} is {}", target.endpoint.address, spot.endpoint.address));
        }
        ProbeCx {
            run_id: self.id.to_owned(),
            target: Arc::clone(target),
            allowed,
            settings: changed::none_yet(self.journal, self.id, (target, &spot.endpoint), &keys, ends_by),
            endpoint: spot.endpoint,
            lease: spot.lease,
            only_looks: spot.only_looks,
            keys,
            control: Control {
                kill: CancellationToken::new(),
                progress: self.progress.clone(),
                threads: TaskTracker::new(),
            },
            deadline,
            log: self.log.clone(),
            own_errors: OwnErrors::default(),
            client_name: format!("redprobe-{probe}-{}", self.id),
            kept: self.admission.place.kept.clone(),
        }
    }

    /// Guard and probe, within the deadline. A panic ends here.
    async fn bounded(&self, cx: &ProbeCx, guarded: &mut Guarded) -> Result<Report, ProbeError> {
        let work = AssertUnwindSafe(self.guard_and_run(cx, guarded)).catch_unwind();
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                let error = panicked(&*panic);
                let (probe, target, _) = self.job.key();
                tracing::error!(probe, target, run = self.id, "{}", error.failure().message);
                Err(error)
            }
            Err(_elapsed) => {
                cx.keys.seal();
                let message = format!("not done after {} s", self.timeout.as_secs_f64());
                let failure = Failure::new(Reason::Deadline, message);
                // Pressure that does not end in its time is no failed measurement but a danger.
                Err(if guarded.watch.is_some() {
                    ProbeError::Halted(failure)
                } else {
                    ProbeError::Failed(failure)
                })
            }
        }
    }

    /// Guard, then the probe until it is done or something stops it. Stopped, it may still say what it has found.
    async fn guard_and_run(&self, cx: &ProbeCx, guarded: &mut Guarded) -> Result<Report, ProbeError> {
        if self.job.kind().is_guarded(cx.allowed) {
            tokio::select! {
                biased;
                error = self.cancelled(cx) => return Err(error),
                done = self.guard(cx, guarded) => done.map_err(loading_is_a_precondition)?,
            }
        }
        let mut probe = std::pin::pin!(self.job.probe.run(cx));
        let stopped = tokio::select! {
            biased;
            error = self.cancelled(cx) => error,
            report = &mut probe => return self.told(cx, guarded, report).await,
            error = guarded.endangered(cx) => error,
        };
        cx.control.kill.cancel();
        cx.keys.seal();
        let last_words = tokio::time::timeout(LAST_WORDS, probe).await;
        guarded.partial = last_words.ok().and_then(Result::ok);
        Err(stopped)
    }

    /// A run that disrupts may lose its connections before the watch has seen that the server is gone, and whether it was
    /// a restart: the watch has the last word.
    async fn told(
        &self,
        cx: &ProbeCx,
        guarded: &mut Guarded,
        report: Result<Report, ProbeError>,
    ) -> Result<Report, ProbeError> {
        match &report {
            Err(ProbeError::Failed(failure)) if guarded.watch.is_some() && is_unreachable(failure) => {
                let halted = tokio::time::timeout(WATCH_TELLS, guarded.endangered(cx)).await;
                halted.map_or(report, Err)
            }
            _ => report,
        }
    }

    /// Returns when the run is told to stop.
    async fn cancelled(&self, cx: &ProbeCx) -> ProbeError {
        tokio::select! {
            () = self.admission.place.cancel.cancelled() => ProbeError::failed(Reason::Cancelled, STOPPING),
            failure = self.halts.stopped(self.job, cx.allowed), if cx.allowed >= Effect::Load => {
                ProbeError::Halted(failure)
            }
        }
    }

    /// The checks before a run that writes, and the lease of one that loads.
    async fn guard(&self, cx: &ProbeCx, guarded: &mut Guarded) -> Result<(), ProbeError> {
        // The least that the probe can do with: a phase that needs more is checked when its turn comes, so that a
        // server too full for load is still timed.
        let effect = self.job.kind().effect.max(Effect::Touch);
        let needs = self.job.probe.needs(effect);
        let preflight = Preflight { effect, connections: needs.connections, bytes: needs.bytes };
        if cx.allowed < Effect::Load {
            preflight.check(&mut cx.observer().await?).await?;
            guarded.server = self.admission.place.kept.server();
            return Ok(());
        }
        let (mut conn, _) = cx.connect().await?;
        preflight.check(&mut conn).await?;
        guarded.server = ask(&mut conn).await;
        self.admission.place.debts.give_back_lease(&mut conn).await;
        guarded.begin(cx, conn).await
    }

    /// Ends the load, removes the keys, gives the lease back: bounded, on a connection of its own, whatever the run
    /// came to.
    async fn clean_up(
        &self,
        cx: &ProbeCx,
        guarded: &mut Guarded,
        result: &mut Result<Report, ProbeError>,
    ) -> CleanUp {
        cx.control.kill.cancel();
        cx.control.threads.close();
        let bound = async {
            tokio::select! {
                () = tokio::time::sleep(CLEAN_UP) => {}
                () = async { self.hurry.cancelled().await; tokio::time::sleep(CLEAN_UP_IN_HURRY).await } => {}
            }
        };
        let work = async {
            cx.control.threads.wait().await;
            loop {
                let done = self.put_back(cx, guarded, result).await;
                match done {
                    // What a load leaves is worth another try; one key is not worth a late record.
                    Err(failure) if cx.allowed >= Effect::Load && is_worth_another_try(cx, &failure) => {
                        self.log.note(format!("clean-up failed, trying again: {failure}"));
                        tokio::time::sleep(TRY_AGAIN).await;
                    }
                    done => return done,
                }
            }
        };
        let done = tokio::select! {
            biased;
            done = work => done,
            () = bound => Err(Failure::new(Reason::Timeout, "clean-up took too long")),
        };
        let done = done.unwrap_or_else(|failure| {
            let done = cx.keys.cleaned_up();
            let left_over = done.left_over;
            self.log
                .note(format!("clean-up failed, {left_over} keys may be left until their TTL: {failure}"));
            let (probe, target, _) = self.job.key();
            tracing::warn!(probe, target, run = self.id, left_over, %failure, "clean-up failed");
            done
        });
        let debts = &self.admission.place.debts;
        debts.add(&cx.target.endpoint, guarded.lease.take(), &cx.keys, done.left_over);
        if cx.target.is_behind_sentinels() && !cx.keys.is_untouched() {
            debts.remember(&cx.endpoint, &cx.keys);
        }
        done
    }

    async fn put_back(
        &self,
        cx: &ProbeCx,
        guarded: &mut Guarded,
        result: &mut Result<Report, ProbeError>,
    ) -> Result<CleanUp, Failure> {
        let debts = &self.admission.place.debts;
        // Who did not get through will not get through with these either.
        let pays = result.is_ok() && debts.any();
        let owes = !cx.keys.is_untouched() || guarded.lease.is_some() || !cx.settings.pending().is_empty();
        if !owes && !pays {
            return Ok(CleanUp::default());
        }
        // The run's connections may hang or be in the middle of a reply.
        let mut conn = conn::connect(&cx.endpoint, &cx.client_name).await.map(|(conn, _)| conn);
        let cleaned = match (&conn, cx.keys.is_untouched()) {
            (Err(_later), _) if !owes => return Ok(CleanUp::default()),
            (_, true) => Ok(CleanUp::default()),
            (_, false) => self.remove_keys(cx, &mut conn, guarded, result).await,
        };
        let mut conn = match conn {
            Ok(conn) => conn,
            // The server is gone, and its successor has been asked instead.
            Err(_gone) if cleaned.is_ok() && cx.settings.pending().is_empty() => return cleaned,
            Err(failure) => return Err(failure),
        };
        if cleaned.as_ref().is_err_and(is_unreachable) {
            return cleaned;
        }
        changed::restore(cx, &mut conn, cleaned.as_ref().is_ok_and(|done| done.left_over == 0)).await?;
        if pays {
            debts.pay(&cx.target, &cx.endpoint, &mut conn, self.log).await;
        }
        // The lease last: who takes it next finds a server that is as it was.
        if let Some(lease) = &guarded.lease {
            match lease.release(&mut conn).await {
                Ok(()) => guarded.lease = None,
                Err(failure) => self.log.note(format!("the lease could not be given back: {failure}")),
            }
        }
        if let Some(before) = guarded.server.as_ref().filter(|_| may_be_a_restart(result))
            && ask(&mut conn).await.is_some_and(|after| after.run_id != before.run_id)
        {
            let failure = Failure::new(Reason::Restarted, "the server restarted during the run");
            let halted = cx.allowed >= Effect::Disrupt || matches!(result, Err(ProbeError::Halted(_)));
            let restarted = if halted { ProbeError::Halted(failure) } else { ProbeError::Failed(failure) };
            void(result, restarted, guarded);
        }
        cleaned
    }

    /// Removes the run's keys, wherever they are by now. Where that is another server, the figures are of two.
    async fn remove_keys(
        &self,
        cx: &ProbeCx,
        conn: &mut Result<MultiplexedConnection, Failure>,
        guarded: &mut Guarded,
        result: &mut Result<Report, ProbeError>,
    ) -> Result<CleanUp, Failure> {
        let cleaned = whereabouts::clean_up(&cx.keys, &cx.target, &cx.endpoint, conn).await;
        if let Some(endpoint) = &cleaned.moved_to {
            let (from, to) = (&cx.endpoint.address, &endpoint.address);
            self.log.note(format!("the run's keys have gone from {from} to {to}, and are removed there"));
            let moved = match cx.keys.slot() {
                Some(slot) => {
                    let message = format!("slot {slot} went from {from} to {to} during the run");
                    ProbeError::failed(Reason::Moved, message)
                }
                None => {
                    let message =
                        format!("a failover during the run: {} is {to} now", cx.target.endpoint.address);
                    ProbeError::failed(Reason::Readonly, message)
                }
            };
            if result.is_ok() {
                void(result, moved, guarded);
            }
        }
        cleaned.result
    }
}

/// The figures are of two servers: shown, and not judged.
fn void(result: &mut Result<Report, ProbeError>, why: ProbeError, guarded: &mut Guarded) {
    if let Ok(report) = std::mem::replace(result, Err(why)) {
        guarded.partial = Some(report);
    }
}

/// Whether trying again may help: the server is away, or settings are not put back yet.
fn is_worth_another_try(cx: &ProbeCx, failure: &Failure) -> bool {
    is_unreachable(failure) || !cx.settings.pending().is_empty()
}

/// A server that loads its data refuses the guard's connection already, before preflight could ask it.
fn loading_is_a_precondition(error: ProbeError) -> ProbeError {
    match error {
        ProbeError::Failed(failure) if failure.reason == Reason::Loading => ProbeError::Skipped(failure),
        other => other,
    }
}

fn is_unreachable(failure: &Failure) -> bool {
    failure.reason.is_broken_connection() || failure.reason == Reason::ConnectTimeout
}

/// Whether a restart would be the better reason: the figures are of two servers, or a connection broke.
fn may_be_a_restart(result: &Result<Report, ProbeError>) -> bool {
    match result {
        Ok(_) => true,
        Err(ProbeError::Failed(failure)) => is_unreachable(failure),
        Err(ProbeError::Halted(failure)) => failure.reason == Reason::Canary,
        Err(_) => false,
    }
}
