//! The settings that one run changes: put back by its clean-up, and what became of them in its record.
//!
//! What a run leaves all the same, and what dead runs have left, is `restore`'s.

use std::{sync::Arc, time::SystemTime};

use measure::{
    Failure, ProbeError, Reason,
    conn::Endpoint,
    journal::{Changes, Journal, Origin, OwnKeys, Restored, Setting},
    keys::KeySpace,
    redis::aio::MultiplexedConnection,
    report::Report,
};

use crate::{
    config::{Job, Target},
    probe::ProbeCx,
};

/// The changes of a run that ends by `deadline`.
pub(super) fn none_yet(
    journal: &Journal,
    run: &str,
    (target, endpoint): (&Target, &Endpoint),
    keys: &KeySpace,
    deadline: SystemTime,
) -> Changes {
    let origin = Origin {
        target: target.id.clone(),
        address: endpoint.address.to_string(),
        run: run.to_owned(),
        // No key is written after the deadline.
        keys_gone_at: deadline + keys.ttl(),
    };
    Changes::new(journal.clone(), origin)
}

/// Tries once to put everything back. Where own keys could not be removed, the journal waits for their TTL.
pub(super) async fn restore(
    cx: &ProbeCx,
    conn: &mut MultiplexedConnection,
    keys_are_gone: bool,
) -> Result<(), Failure> {
    let keys = if keys_are_gone { OwnKeys::Gone } else { OwnKeys::MayBeThere };
    let done = cx.settings.restore(conn, keys).await?;
    for fate in &done.restored {
        cx.log.note(format!("{} is {:?} again", fate.setting.parameter, fate.now));
    }
    for fate in &done.conflicts {
        cx.log.note(fate.to_string());
    }
    Ok(())
}

/// What became of the settings that the run has changed, and those that are not put back. Where somebody else changed
/// one, too, the figures are of a server that was not the one meant: shown, and not judged.
pub(super) fn account(
    cx: &ProbeCx,
    job: &Arc<Job>,
    result: &mut Result<Report, ProbeError>,
    partial: &mut Option<Report>,
) -> (Restored, Vec<Setting>) {
    let (done, pending) = (cx.settings.done(), cx.settings.pending());
    let (run, (probe, target, _)) = (&cx.run_id, job.key());
    if !done.conflicts.is_empty() {
        let said = done.conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::warn!(probe, target, run, reason = "restore_conflict", "{said}");
        if result.is_ok() {
            let conflict = ProbeError::failed(Reason::RestoreConflict, said);
            *partial = std::mem::replace(result, Err(conflict)).ok();
        }
    }
    if !pending.is_empty() {
        let settings =
            pending.iter().map(|setting| setting.parameter.as_str()).collect::<Vec<_>>().join(", ");
        tracing::error!(
            probe,
            target,
            run,
            settings,
            "settings are not put back; their first values are in the journal"
        );
    }
    (done, pending)
}
