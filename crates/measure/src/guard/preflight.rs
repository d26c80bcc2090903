//! The checks before a run: is the server in a state for this effect, and is there room for it?
//!
//! What the configuration allows is decided before anything here is asked; how many foreign keys are too many for a
//! probe, by the probe.

use redis::aio::MultiplexedConnection;

use super::Effect;
use crate::{
    error::{Failure, ProbeError, Reason},
    facts::Info,
    grant::Grant,
};

/// What [`Preflight::check`] sends, from Touch on. (CONFIG GET, for servers whose INFO does not have `maxclients`, is no
/// part of it: every version that rules are written for has it.)
pub const PREFLIGHT: Grant = Grant::observe("info", "", "see that the server is in a state for the run");

/// What a run is about to take from the server, checked against what the server has.
#[derive(Debug, Clone, Copy)]
pub struct Preflight {
    /// The effect.
    pub effect: Effect,
    /// Connections it will open.
    pub connections: u64,
    /// Bytes of values it will keep at a time.
    pub bytes: u64,
}

/// Share of `maxmemory` that used memory and plan together may reach.
const MEMORY_SHARE: f64 = 0.9;
/// Share of the machine's memory that they may reach where there is no `maxmemory`.
const MACHINE_SHARE: f64 = 0.5;
/// Share of `maxclients` that connected clients and plan together may reach.
const CLIENTS_SHARE: f64 = 0.5;

impl Preflight {
    /// Asks the server and decides. Passes for Observe without asking. Touch wants a master that is not loading; Load
    /// and Disrupt also room in memory, free connections, and no save or rewrite under way. (A cache is full all its
    /// life, so that room in memory would keep Touch, with its few small keys, from ever looking at it.)
    ///
    /// Disrupt also wants a server that can persist and whose replicas are all there: on a sick one its settings and
    /// keys could not be put back. Its memory is held against the machine alone, since pressing on `maxmemory` may be
    /// what it is for; how many keys of others may be at stake is each probe's own condition.
    ///
    /// A figure that the server does not give (some managed ones hide a few) is not checked.
    ///
    /// # Errors
    /// Skipped (`precondition`, or `loading`, or for a replica `readonly`) with a sentence that names the figure and
    /// the limit; failed where the server cannot be asked.
    pub async fn check(&self, conn: &mut MultiplexedConnection) -> Result<(), ProbeError> {
        if self.effect == Effect::Observe {
            return Ok(());
        }
        let info = Info::ask(conn, &[]).await?;
        self.role_and_state(&info)?;
        if self.effect < Effect::Load {
            return Ok(());
        }
        self.memory(&info)?;
        let maxclients = match info.integer("maxclients") {
            Some(limit) => Some(limit),
            None => configured_maxclients(conn).await?,
        };
        self.clients(&info, maxclients)?;
        no_save_under_way(&info)?;
        if self.effect < Effect::Disrupt { Ok(()) } else { healthy(&info) }
    }

    fn role_and_state(&self, info: &Info) -> Result<(), ProbeError> {
        if info.flag("loading") == Some(true) {
            let done = info.text("loading_loaded_perc").unwrap_or("some");
            let message = format!("the server is still loading its data ({done} % done)");
            return Err(ProbeError::skipped(Reason::Loading, message));
        }
        match info.text("role") {
            None | Some("master") => Ok(()),
            Some(role) => {
                let message = format!(
                    "the server's role is {role}, and {} needs a master: name the master as the target, or set \
                     `allow = \"observe\"` for this one, which then is only looked at",
                    self.effect
                );
                Err(ProbeError::skipped(Reason::Readonly, message))
            }
        }
    }

    fn memory(&self, info: &Info) -> Result<(), ProbeError> {
        let Some(used) = info.integer("used_memory") else { return Ok(()) };
        let (share, of, whole) = match (info.integer("maxmemory"), info.integer("total_system_memory")) {
            (Some(limit), _) if limit > 0 && self.effect < Effect::Disrupt => {
                (MEMORY_SHARE, "maxmemory", limit)
            }
            (_, Some(machine)) if machine > 0 => (MACHINE_SHARE, "the machine's memory", machine),
            _ => return Ok(()),
        };
        let limit = (whole as f64 * share) as u64;
        let planned = used.saturating_add(self.bytes);
        within(planned <= limit, || {
            format!(
                "used memory {used} B + {} B that the run may write exceed {limit} B, {:.0} % of {of} ({whole} B): \
                 lower the probe's sizes and counts, which then press less, or give the server more memory",
                self.bytes,
                share * 100.0
            )
        })
    }

    fn clients(&self, info: &Info, maxclients: Option<u64>) -> Result<(), ProbeError> {
        let (Some(connected), Some(maxclients)) = (info.integer("connected_clients"), maxclients) else {
            return Ok(());
        };
        let limit = (maxclients as f64 * CLIENTS_SHARE) as u64;
        within(connected.saturating_add(self.connections) <= limit, || {
            format!(
                "{connected} connected clients + {} that the run opens exceed {limit}, half of maxclients \
                 ({maxclients}): lower the probe's connections, which then load less, or raise the server's maxclients, \
                 which takes as many file descriptors",
                self.connections
            )
        })
    }
}

fn no_save_under_way(info: &Info) -> Result<(), ProbeError> {
    for (field, what) in
        [("rdb_bgsave_in_progress", "a background save"), ("aof_rewrite_in_progress", "a rewrite of the AOF")]
    {
        within(info.flag(field) != Some(true), || {
            format!("{what} is under way ({field}:1); the next run after it will do")
        })?;
    }
    Ok(())
}

/// Whether what a disrupting run changes could be put back, and nothing is broken that it would be blamed for.
fn healthy(info: &Info) -> Result<(), ProbeError> {
    for (field, what) in [
        ("rdb_last_bgsave_status", "the last background save"),
        ("aof_last_write_status", "the last write of the AOF"),
    ] {
        within(info.flag(field) != Some(false), || {
            format!(
                "{what} failed ({field}:err): the server may refuse every write, clean-up among them; mend its disk first"
            )
        })?;
    }
    let (known, online) = (info.integer("connected_slaves").unwrap_or(0), info.replicas_online());
    within(online >= known, || {
        format!(
            "{} of {known} replicas are still synchronising; the next run after it will do",
            known - online
        )
    })
}

fn within(holds: bool, message: impl FnOnce() -> String) -> Result<(), ProbeError> {
    if holds { Ok(()) } else { Err(ProbeError::skipped(Reason::Precondition, message())) }
}

/// For servers whose INFO does not have it. `None` where CONFIG is denied or renamed away.
async fn configured_maxclients(conn: &mut MultiplexedConnection) -> Result<Option<u64>, Failure> {
    let answer = redis::cmd("CONFIG").arg("GET").arg("maxclients").query_async::<Vec<String>>(conn).await;
    match answer.map_err(Failure::from) {
        Ok(pair) => Ok(pair.get(1).and_then(|value| value.parse().ok())),
        Err(failure) if failure.reason.is_broken_connection() => Err(failure),
        Err(_denied) => Ok(None),
    }
}
