//! Compare and restore: what is still ours goes back to what it was, what somebody else has set meanwhile stays.
//!
//! One attempt over one connection. Who tries again, and when, is the caller's matter.

use std::{fmt, sync::atomic::Ordering};

use redis::aio::MultiplexedConnection;

use super::{
    crash_point,
    entry::{Entry, Setting},
    file::Open,
    settings::{bytes, end_client, read, same, set, takes_several},
};
use crate::{
    clock,
    error::{Failure, Reason, one_line},
    facts::Info,
    lease,
};

/// What became of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The setting, as it was changed.
    pub setting: Setting,
    /// The value now; empty where the server does not have the setting any more.
    pub now: String,
}

/// A sentence on one that somebody else has changed.
impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { parameter, original, ours } = &self.setting;
        let now = one_line(&self.now);
        write!(
            f,
            "{parameter} was {original:?}, redprobe made it {ours:?}, and somebody else has made it {now:?} since: it is \
             left alone"
        )
    }
}

/// What became of the settings of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Those that have their first value again, whoever gave it to them.
    pub restored: Vec<Fate>,
    /// Those that somebody else has changed meanwhile: left alone.
    pub conflicts: Vec<Fate>,
}

impl Restored {
    /// Adds what became of others.
    pub fn extend(&mut self, other: Restored) {
        self.restored.extend(other.restored);
        self.conflicts.extend(other.conflicts);
    }
}

/// Whether keys of the run may still be in the server: with them in it, a limit that is lowered again, or a policy that
/// evicts again, would cost others their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKeys {
    /// Every key was seen to be gone, or none was written.
    Gone,
    /// Nobody has looked.
    MayBeThere,
}

impl Open {
    /// Tries once to put everything back that is still as the run has left it. Once all is, and was read back, the entry
    /// is dropped. Calling it again does no harm.
    ///
    /// # Errors
    /// Where the server refuses, is away, or has another value than the one that it took; nothing is lost then, and the
    /// next attempt begins by looking. With `precondition` where used memory is above the limit that would be in force
    /// again, for as long as that can be by keys of ours.
    pub async fn restore(
        &self,
        conn: &mut MultiplexedConnection,
        keys: OwnKeys,
    ) -> Result<Restored, Failure> {
        if !self.answered.load(Ordering::Relaxed) {
            end_writer(conn, &self.entry).await?;
        }
        let restored = restore(conn, &self.entry, keys).await?;
        crash_point("settings read back, entry not dropped");
        if let Err(error) = self.close() {
            // Harmless: whoever reads it next finds that there is nothing to do.
            tracing::warn!(%error, "the settings are put back, but their note in the journal stays");
        }
        crash_point("entry dropped");
        Ok(restored)
    }
}

/// A change that nobody has seen answered may still be in the server's or the network's hands. It must not be carried
/// out after we have looked.
async fn end_writer(conn: &mut MultiplexedConnection, entry: &Entry) -> Result<(), Failure> {
    let Some(id) = entry.client_id else { return Ok(()) };
    let info = Info::ask(conn, &["server"]).await?;
    if info.text("run_id") == Some(&entry.server_run_id) {
        end_client(conn, id).await?;
    }
    Ok(())
}

async fn restore(
    conn: &mut MultiplexedConnection,
    entry: &Entry,
    keys: OwnKeys,
) -> Result<Restored, Failure> {
    let mut done = Restored::default();
    let mut ours = Vec::new();
    for setting in &entry.settings {
        let now = read(conn, &setting.parameter).await?.unwrap_or_default();
        let fate = Fate { setting: setting.clone(), now };
        if same(&setting.parameter, &fate.now, &setting.original) {
            done.restored.push(fate);
        } else if same(&setting.parameter, &fate.now, &setting.ours) {
            ours.push(fate);
        } else {
            done.conflicts.push(fate);
        }
    }
    if !done.conflicts.is_empty() {
        nobody_else_runs(conn, entry).await?;
    }
    if ours.is_empty() {
        return Ok(done);
    }
    let info = Info::ask(conn, &[]).await?;
    let gone = keys == OwnKeys::Gone || clock::unix_seconds(clock::wall()) > entry.keys_gone_at as f64;
    let [limit, policy] = in_force_after(conn, &info, &ours).await?;
    spare_foreign_keys(&info, &limit, &policy, gone)?;
    // Against the order of the change: the last thing that was changed goes back first.
    let values: Vec<_> = ours
        .iter()
        .rev()
        .map(|fate| (fate.setting.parameter.as_str(), fate.setting.original.as_str()))
        .collect();
    crash_point("before a restore");
    set(conn, &values, takes_several(&info)).await?;
    crash_point("after a restore");
    for mut fate in ours {
        let Setting { parameter, original, .. } = &fate.setting;
        fate.now = read(conn, parameter).await?.unwrap_or_default();
        if !same(parameter, &fate.now, original) {
            let message = format!("the server took {original:?} for {parameter}, and says {:?}", fate.now);
            return Err(Failure::new(Reason::Other, message));
        }
        done.restored.push(fate);
    }
    Ok(done)
}

/// A redprobe on another machine that has changed these settings since takes what our dead run made of them for their
/// first values, and gives them back as such: then they are still ours to put back.
async fn nobody_else_runs(conn: &mut MultiplexedConnection, entry: &Entry) -> Result<(), Failure> {
    let holder = match lease::holder_anywhere(conn).await {
        Err(failure) if failure.reason == Reason::Denied => None,
        holder => holder?,
    };
    match holder {
        Some(name) if !name.contains(&entry.run) => {
            let name = one_line(&name);
            let message =
                format!("{name} holds the lease, and may be who has changed them; again when it is done");
            Err(Failure::new(Reason::Lease, message))
        }
        _ => Ok(()),
    }
}

/// The limit and the policy that will be in force once these are put back.
async fn in_force_after(
    conn: &mut MultiplexedConnection,
    info: &Info,
    ours: &[Fate],
) -> Result<[String; 2], Failure> {
    let mut values = [String::new(), String::new()];
    for (value, (parameter, field)) in
        values.iter_mut().zip([("maxmemory", "maxmemory"), ("maxmemory-policy", "maxmemory_policy")])
    {
        let back = ours.iter().find(|fate| fate.setting.parameter == parameter);
        *value = match (back, info.text(field)) {
            (Some(fate), _) => fate.setting.original.clone(),
            (None, Some(now)) => now.to_owned(),
            (None, None) => read(conn, parameter).await?.unwrap_or_default(),
        };
    }
    Ok(values)
}

/// Refuses what would evict foreign keys in favour of our own.
fn spare_foreign_keys(info: &Info, limit: &str, policy: &str, gone: bool) -> Result<(), Failure> {
    let limit = bytes(limit).unwrap_or(0);
    let used = info.integer("used_memory").unwrap_or(0);
    let counted = used.saturating_sub(info.integer("mem_not_counted_for_evict").unwrap_or(0));
    if limit == 0 || counted <= limit || same("maxmemory-policy", policy, "noeviction") {
        return Ok(());
    }
    // What is freed beside the main thread is still counted until it is done.
    let freeing = info.integer("lazyfree_pending_objects").unwrap_or(0);
    if gone && freeing == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Reason::Precondition,
        format!(
            "used memory ({counted} B) is above the limit that would be in force again ({limit} B under {policy}), \
             and own keys may be a part of it: waiting until they are gone"
        ),
    ))
}
