//! What a run holds on its target while it goes on, the lease and the watch, and what of it ends the run.
//!
//! What is looked for on the server is the measuring core's; what becomes of a run that has to end, `run`'s.

use std::time::Duration;

use measure::{
    Canary, Effect, Failure, ProbeError, Reason, Watch, clock, facts::ServerFacts, lease::Lease,
    redis::aio::MultiplexedConnection, report::Report,
};

use crate::probe::ProbeCx;

/// How often the lease is renewed, and how long it holds without that.
const RENEW: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(30);
/// As often looks a run that disrupts, which has to stop within a second and a half of its loss.
const RENEW_DISRUPTING: Duration = Duration::from_millis(500);

/// What the guard took and found out, kept apart from the probe so that it outlives it.
#[derive(Default)]
pub(super) struct Guarded {
    pub(super) conn: Option<MultiplexedConnection>,
    pub(super) lease: Option<Lease>,
    /// Over a run that disrupts.
    pub(super) watch: Option<Watch>,
    pub(super) server: Option<ServerFacts>,
    /// What the probe had found when it was stopped half-way.
    pub(super) partial: Option<Report>,
}

impl Guarded {
    /// Takes the lease of the server behind `conn`, and begins the watch over a run that disrupts: before any pressure.
    pub(super) async fn begin(
        &mut self,
        cx: &ProbeCx,
        mut conn: MultiplexedConnection,
    ) -> Result<(), ProbeError> {
        let holder = format!("{} on {}", cx.client_name, host_name());
        self.lease = Some(Lease::acquire(&mut conn, &cx.lease, &holder, LEASE).await?);
        self.conn = Some(conn);
        cx.log.note("the target's lease is taken");
        if cx.allowed >= Effect::Disrupt {
            let watch = Watch::begin(&cx.endpoint, &cx.client_name).await?;
            if let blind @ [_, ..] = &watch.blind()[..] {
                cx.log.note(format!("not watched, since the server does not tell: {}", blind.join("; ")));
            }
            self.watch = Some(watch);
        }
        Ok(())
    }

    /// Returns when a run under a lease may not go on: the server does not answer, others suffer from a run that
    /// disrupts, or the lease is lost.
    pub(super) async fn endangered(&mut self, cx: &ProbeCx) -> ProbeError {
        let Guarded { conn: Some(conn), lease: Some(lease), watch, .. } = self else {
            return std::future::pending().await;
        };
        let watching = async {
            match watch {
                Some(watch) => watch.run(&cx.own_errors, &cx.keys).await,
                None => Canary::watch(&cx.endpoint, &cx.client_name).await,
            }
        };
        let failure = tokio::select! {
            failure = watching => failure,
            failure = keep_lease(cx, conn, lease) => failure,
        };
        // The next run finds the right place by itself: nothing is wrong that should keep it out.
        if is_elsewhere(&failure) && cx.allowed < Effect::Disrupt {
            ProbeError::Failed(failure)
        } else {
            ProbeError::Halted(failure)
        }
    }
}

/// Renews the lease, and with each phase that begins, until it is lost: it may have been evicted meanwhile.
async fn keep_lease(cx: &ProbeCx, conn: &mut MultiplexedConnection, lease: &mut Lease) -> Failure {
    let mut held_until = clock::now() + LEASE;
    let mut progress = cx.control.progress.subscribe();
    let renew = if cx.allowed >= Effect::Disrupt { RENEW_DISRUPTING } else { RENEW };
    loop {
        let phase = progress.borrow_and_update().phase;
        tokio::select! {
            () = tokio::time::sleep(renew) => {}
            _ = progress.wait_for(|now| now.phase != phase) => {}
        }
        match lease.renew(conn).await {
            Ok(()) => held_until = clock::now() + LEASE,
            Err(failure)
                if failure.reason == Reason::Lease
                    || is_elsewhere(&failure)
                    || clock::now() >= held_until =>
            {
                return failure;
            }
            // A server too busy to answer in time is the canary's matter; a connection that ended is not the lease's end.
            Err(failure) => {
                cx.log.note(format!("the lease could not be renewed, trying again: {failure}"));
                if let Ok((fresh, _)) = cx.connect().await {
                    *conn = fresh;
                }
            }
        }
    }
}

/// Whether the server is not the one any more that the run was to be on: a failover, or a moved slot.
fn is_elsewhere(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::Moved | Reason::Readonly)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
