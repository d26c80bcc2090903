//! May this effect run here, now? The checks before a run, and the canary that watches while load runs.
//!
//! The rules are those of the safety contract; the numbers come from the caller. What the configuration allows is
//! decided before anything here is asked.

use std::{fmt, time::Duration};

use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep_until, timeout_at};

use crate::{
    conn::{self, Endpoint},
    error::{Failure, ProbeError, Reason},
    facts::Info,
};

/// What a probe does to its target. Each step includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads what the server says of itself: INFO, CONFIG GET, PING.
    #[default]
    Observe,
    /// Own keys at a bounded rate.
    Touch,
    /// Many keys, many connections, full speed.
    Load,
    /// Changes settings, rewrites, restarts.
    Disrupt,
}

impl Effect {
    /// As the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Effect::Observe => "observe",
            Effect::Touch => "touch",
            Effect::Load => "load",
            Effect::Disrupt => "disrupt",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
        no_save_under_way(&info)
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
                     `allow = \"observe\"`",
                    self.effect
                );
                Err(ProbeError::skipped(Reason::Readonly, message))
            }
        }
    }

    fn memory(&self, info: &Info) -> Result<(), ProbeError> {
        let Some(used) = info.integer("used_memory") else { return Ok(()) };
        let (share, of, whole) = match (info.integer("maxmemory"), info.integer("total_system_memory")) {
            (Some(limit), _) if limit > 0 => (MEMORY_SHARE, "maxmemory", limit),
            (_, Some(machine)) if machine > 0 => {
                (MACHINE_SHARE, "the machine's memory (no maxmemory is set)", machine)
            }
            _ => return Ok(()),
        };
        let limit = (whole as f64 * share) as u64;
        let planned = used.saturating_add(self.bytes);
        within(planned <= limit, || {
            format!(
                "used memory {used} B + {} B that the run may write exceed {limit} B, {:.0} % of {of} ({whole} B)",
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
                 ({maxclients})",
                self.connections
            )
        })
    }
}

fn no_save_under_way(info: &Info) -> Result<(), ProbeError> {
    for (field, what) in
        [("rdb_bgsave_in_progress", "a background save"), ("aof_rewrite_in_progress", "a rewrite of the AOF")]
    {
        within(info.flag(field) != Some(true), || format!("{what} is under way ({field}:1)"))?;
    }
    Ok(())
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

/// A connection of its own that asks once a second whether the server still answers, while load runs on others.
#[derive(Debug)]
pub struct Canary;

impl Canary {
    /// Longest time without an answer before load must stop.
    pub const PATIENCE: Duration = Duration::from_secs(5);
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Runs until the server has not answered for [`Canary::PATIENCE`], and returns why. Never returns while it does:
    /// a late answer and an error are answers too. A lost connection is opened again within that time.
    pub async fn watch(endpoint: &Endpoint, name: &str) -> Failure {
        // The patience is the only limit: an answer that is late, but comes, is one.
        let mut endpoint = endpoint.clone();
        endpoint.connect_timeout = Self::PATIENCE;
        endpoint.response_timeout = Self::PATIENCE;

        let mut conn = None;
        let mut last = Failure::new(Reason::Timeout, "no answer to PING");
        let mut answered = tokio::time::Instant::now();
        loop {
            let asked = tokio::time::Instant::now();
            let end = answered + Self::PATIENCE;
            match timeout_at(end, ask(&mut conn, &endpoint, name)).await {
                Ok(Ok(())) => answered = tokio::time::Instant::now(),
                Ok(Err(failure)) if is_answer(failure.reason) => answered = tokio::time::Instant::now(),
                Ok(Err(failure)) => {
                    conn = None;
                    last = failure;
                }
                Err(_elapsed) => {}
            }
            let end = answered + Self::PATIENCE;
            if tokio::time::Instant::now() >= end {
                let message = format!("the server did not answer PING for {:?}: {last}", Self::PATIENCE);
                return Failure::new(Reason::Canary, message);
            }
            sleep_until((asked + Self::INTERVAL).min(end)).await;
        }
    }
}

/// One PING, over a new connection where there is none.
async fn ask(
    conn: &mut Option<MultiplexedConnection>,
    endpoint: &Endpoint,
    name: &str,
) -> Result<(), Failure> {
    match conn {
        Some(conn) => Ok(redis::cmd("PING").query_async::<()>(conn).await?),
        // Connecting ends with a PING.
        None => {
            *conn = Some(conn::connect(endpoint, name).await?.0);
            Ok(())
        }
    }
}

/// Whether it was the server that said so.
fn is_answer(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Dns
            | Reason::ConnectRefused
            | Reason::ConnectTimeout
            | Reason::TlsExpired
            | Reason::TlsName
            | Reason::TlsUntrusted
            | Reason::TlsProtocol
            | Reason::Timeout
            | Reason::Reset
            | Reason::Protocol
            | Reason::Other
    )
}
