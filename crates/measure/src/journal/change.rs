//! What one run has changed: the only way for it to change settings, and its way to put them back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::SystemTime,
};

use redis::aio::MultiplexedConnection;

use super::{
    crash_point,
    entry::{Entry, Setting},
    file::{Journal, JournalError, Open},
    restore::{OwnKeys, Restored},
    settings::{client_id, is_known, read, same, set, takes_several, unknown},
};
use crate::{
    clock,
    error::{Failure, ProbeError, Reason},
    facts::Info,
};

/// Who changes settings, and where.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The target's name.
    pub target: String,
    /// Where it listens. Never a URL, which may hold a password.
    pub address: String,
    /// The run's id.
    pub run: String,
    /// When the TTL has removed the last of the run's keys.
    pub keys_gone_at: SystemTime,
}

/// The settings that one run has changed and not yet put back. Dropped with some left, they are there in the journal for
/// whoever looks next.
#[derive(Debug)]
pub struct Changes {
    journal: Journal,
    origin: Origin,
    open: Mutex<Vec<Arc<Open>>>,
    done: Mutex<Restored>,
}

impl Changes {
    /// None yet.
    #[must_use]
    pub fn new(journal: Journal, origin: Origin) -> Self {
        Self { journal, origin, open: Mutex::default(), done: Mutex::default() }
    }

    /// Changes settings, in this order where the server cannot take them at once. Those that have the value already are
    /// left out. What they were is on the disk before the first is changed; they are read back after.
    ///
    /// # Errors
    /// Skipped (`precondition`) where they cannot be written down, or the server does not have one: nothing was changed.
    /// Failed where the server refuses, or says another value than it took: what was changed then is put back at once
    /// where that can be, and else stays among those to put back.
    pub async fn change(
        &self,
        conn: &mut MultiplexedConnection,
        wanted: &[(&str, String)],
    ) -> Result<(), ProbeError> {
        let settings = compare(conn, wanted).await?;
        if settings.is_empty() {
            return Ok(());
        }
        let info = Info::ask(conn, &["server"]).await?;
        let entry = self.entry(&info, client_id(conn).await?, settings);
        crash_point("before an entry");
        let open = Arc::new(self.journal.write(entry).map_err(not_written)?);
        lock(&self.open).push(Arc::clone(&open));
        crash_point("after an entry");
        let changed = put(conn, &open.entry.settings, takes_several(&info)).await;
        let indeterminate = |failure: &Failure| failure.reason.is_indeterminate();
        open.answered.store(!changed.as_ref().is_err_and(indeterminate), Ordering::Relaxed);
        match changed {
            Ok(()) => Ok(()),
            Err(failure) => {
                // Where this fails, too, it is tried again after the run. The first reason is the one to tell.
                let undone = self.restore_one(conn, &open, OwnKeys::MayBeThere).await;
                if let Err(later) = undone {
                    tracing::warn!(%failure, %later, "a change failed and could not be taken back at once");
                }
                Err(failure.into())
            }
        }
    }

    /// Tries once to put everything back, the last change first.
    ///
    /// # Errors
    /// As [`Open::restore`]; what was put back before that stays so.
    pub async fn restore(
        &self,
        conn: &mut MultiplexedConnection,
        keys: OwnKeys,
    ) -> Result<Restored, Failure> {
        let mut done = Restored::default();
        loop {
            let Some(open) = lock(&self.open).last().cloned() else { return Ok(done) };
            done.extend(self.restore_one(conn, &open, keys).await?);
        }
    }

    async fn restore_one(
        &self,
        conn: &mut MultiplexedConnection,
        open: &Arc<Open>,
        keys: OwnKeys,
    ) -> Result<Restored, Failure> {
        let restored = open.restore(conn, keys).await?;
        lock(&self.open).retain(|other| !Arc::ptr_eq(other, open));
        lock(&self.done).extend(restored.clone());
        Ok(restored)
    }

    /// What became of the settings that are not among those to put back any more.
    #[must_use]
    pub fn done(&self) -> Restored {
        lock(&self.done).clone()
    }

    /// The settings that are still to be put back, each once.
    #[must_use]
    pub fn pending(&self) -> Vec<Setting> {
        let open = lock(&self.open);
        let mut pending: Vec<Setting> = Vec::new();
        for setting in open.iter().flat_map(|open| &open.entry.settings) {
            if pending.iter().all(|other| other.parameter != setting.parameter) {
                pending.push(setting.clone());
            }
        }
        pending
    }

    fn entry(&self, info: &Info, client: Option<u64>, settings: Vec<Setting>) -> Entry {
        let Origin { target, address, run, keys_gone_at } = &self.origin;
        let server = info.text("run_id").unwrap_or_default();
        let keys_gone_at = clock::unix_seconds(*keys_gone_at) as u64;
        Entry::new([target, address, server, run], client, keys_gone_at, settings)
    }
}

/// The settings that have another value now than the one wanted.
async fn compare(
    conn: &mut MultiplexedConnection,
    wanted: &[(&str, String)],
) -> Result<Vec<Setting>, ProbeError> {
    let mut settings = Vec::new();
    for (parameter, ours) in wanted {
        if !is_known(parameter) {
            return Err(unknown(parameter));
        }
        let Some(original) = read(conn, parameter).await? else {
            let message = format!("the server has no setting {parameter}, so it cannot be changed");
            return Err(ProbeError::skipped(Reason::Precondition, message));
        };
        if !same(parameter, &original, ours) {
            let (parameter, ours) = ((*parameter).to_owned(), ours.clone());
            settings.push(Setting { parameter, original, ours });
        }
    }
    Ok(settings)
}

async fn put(conn: &mut MultiplexedConnection, settings: &[Setting], several: bool) -> Result<(), Failure> {
    let values: Vec<_> =
        settings.iter().map(|setting| (setting.parameter.as_str(), setting.ours.as_str())).collect();
    set(conn, &values, several).await?;
    for Setting { parameter, ours, .. } in settings {
        let now = read(conn, parameter).await?.unwrap_or_default();
        if !same(parameter, &now, ours) {
            let message = format!("the server took {ours:?} for {parameter}, and says {now:?}");
            return Err(Failure::new(Reason::Other, message));
        }
    }
    crash_point("settings changed and read back");
    Ok(())
}

fn not_written(error: JournalError) -> ProbeError {
    ProbeError::skipped(
        Reason::Precondition,
        format!(
            "{error}; a setting is changed only once its first value is on the disk: give state_dir a directory with \
             room that can be written"
        ),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
