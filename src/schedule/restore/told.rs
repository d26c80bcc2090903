//! What is said of entries that were put back, or were not: in the log, and to people.

use measure::journal::{Damaged, Entry};

use super::{Attempt, EntryFate, Outcome};

/// Says in the log what became of entries; failures only where `all`, since they come again with each attempt.
pub(super) fn tell(outcome: &Outcome, all: bool) {
    for Attempt { entry, fate, .. } in &outcome.attempts {
        let Entry { target, address, run, .. } = entry;
        match fate {
            EntryFate::Done(done) => {
                for fate in &done.restored {
                    let (setting, value) = (&fate.setting.parameter, &fate.now);
                    tracing::info!(
                        target,
                        address,
                        run,
                        setting,
                        value,
                        "a setting is as it was before a run that died"
                    );
                }
                for fate in &done.conflicts {
                    let (setting, value) = (&fate.setting.parameter, &fate.now);
                    let (was, ours) = (&fate.setting.original, &fate.setting.ours);
                    tracing::warn!(
                        target,
                        address,
                        run,
                        setting,
                        value,
                        was,
                        ours,
                        reason = "restore_conflict",
                        "somebody has changed a setting after a run that died had; it is left alone"
                    );
                }
            }
            EntryFate::Failed(failure) if all => {
                tracing::error!(target, address, run, settings = names(entry), %failure, "settings are not put back yet");
            }
            EntryFate::NoTarget if all => {
                tracing::error!(
                    target,
                    address,
                    run,
                    settings = names(entry),
                    "settings of a server that is not in the configuration are not put back; \
                     `redprobe restore --target URL` does it"
                );
            }
            EntryFate::Failed(_) | EntryFate::NoTarget | EntryFate::UnderWay => {}
        }
    }
    for damaged in outcome.damaged.iter().filter(|_| all) {
        tracing::error!("{}", said_of_damaged(damaged));
    }
    if let Some(error) = outcome.unreadable.as_ref().filter(|_| all) {
        tracing::error!(%error, "the journal may name settings that are still to be put back");
    }
}

/// What it is and how to mend it.
pub(crate) fn said_of_damaged(Damaged { path, why }: &Damaged) -> String {
    format!(
        "the journal file {} is damaged ({why}): settings that a dead run changed may not be put back. Read it, set what \
         it names to its \"original\" by CONFIG SET where the server still has \"ours\", then remove the file",
        path.display()
    )
}

/// "maxmemory, maxmemory-policy".
pub(crate) fn names(entry: &Entry) -> String {
    let names: Vec<_> = entry.settings.iter().map(|setting| setting.parameter.as_str()).collect();
    names.join(", ")
}
