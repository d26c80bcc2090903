//! The server's side while load runs on it: its clients, once a second, on a connection of its own.
//!
//! What the clients are, by name or address, is not looked at here, and what the server spends on commands is
//! [`crate::CommandCosts`].

use std::{collections::BTreeMap, future::Future, time::Duration};

use redis::aio::MultiplexedConnection;

use crate::{clock, error::Failure, facts::Info, report::TimelinePoint};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clients up to which CLIENT LIST is asked for: it costs the server some 4 µs for each.
const MOST_LISTED: u64 = 1_000;

/// What was seen of the server, and of whatever else was asked for, over time.
#[derive(Debug, Clone, Default)]
pub struct ServerSide {
    /// Once a second: `connected_clients`, `blocked_clients`, `flagged_blocked` (clients with the flag `b` in CLIENT
    /// LIST, where that may be asked and is not too long), `rejected_connections` (since the first look), and what the
    /// caller added.
    pub points: Vec<TimelinePoint>,
    /// Why there are fewer points than seconds, where there are.
    pub refused: Option<Failure>,
}

impl ServerSide {
    /// The greatest value of `name` at any time.
    #[must_use]
    pub fn max(&self, name: &str) -> Option<f64> {
        self.values(name).reduce(f64::max)
    }

    /// The mean of `name` over the looks.
    #[must_use]
    pub fn mean(&self, name: &str) -> Option<f64> {
        let (count, sum) =
            self.values(name).fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
        (count > 0).then(|| sum / f64::from(count))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(move |point| point.values.get(name).copied())
    }
}

/// Looks at the server over `conn` until `work` is done: at once, then once a second, and at the end. `more` adds values
/// of the caller's own, such as those of its pools. What the server does not tell is left out; nothing here fails.
pub async fn watch_while<T>(
    conn: &mut MultiplexedConnection,
    phase: &'static str,
    mut more: impl FnMut(&mut BTreeMap<&'static str, f64>),
    work: impl Future<Output = T>,
) -> (T, ServerSide) {
    let mut side = ServerSide::default();
    let mut rejected_before = None;
    let begun = clock::now();
    let mut work = std::pin::pin!(work);
    let mut done = None;
    while done.is_none() {
        let mut values = BTreeMap::new();
        more(&mut values);
        let looked = begun.elapsed();
        tokio::select! {
            biased;
            result = &mut work => done = Some(result),
            seen = look(conn, &mut values) => {
                if let Err(failure) = seen {
                    side.refused.get_or_insert(failure);
                }
            }
        }
        if let Some(rejected) = values.get_mut("rejected_connections") {
            *rejected -= *rejected_before.get_or_insert(*rejected);
        }
        side.points.push(TimelinePoint { phase, at_seconds: looked.as_secs_f64(), values });
        if done.is_none() {
            let next = begun + looked + INTERVAL;
            done = tokio::time::timeout_at(next.into(), &mut work).await.ok();
        }
    }
    let mut last = BTreeMap::new();
    // One that did not answer before would only be waited for.
    if side.refused.is_none()
        && look(conn, &mut last).await.is_ok()
        && let (Some(now), Some(before)) = (last.get("rejected_connections"), rejected_before)
        && let Some(point) = side.points.last_mut()
    {
        point.values.insert("rejected_connections", now - before);
    }
    (done.expect("the loop ends with a result"), side)
}

async fn look(
    conn: &mut MultiplexedConnection,
    values: &mut BTreeMap<&'static str, f64>,
) -> Result<(), Failure> {
    let info = Info::ask(conn, &[]).await?;
    for name in ["connected_clients", "blocked_clients", "rejected_connections"] {
        if let Some(value) = info.number(name) {
            values.insert(name, value);
        }
    }
    if info.integer("connected_clients").is_some_and(|clients| clients <= MOST_LISTED) {
        let list: String = redis::cmd("CLIENT").arg("LIST").query_async(conn).await?;
        values.insert("flagged_blocked", list.lines().filter(|line| is_blocked(line)).count() as f64);
    }
    Ok(())
}

/// Whether a line of CLIENT LIST has the flag `b`.
fn is_blocked(line: &str) -> bool {
    line.split(' ').any(|field| field.strip_prefix("flags=").is_some_and(|flags| flags.contains('b')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flags_say_blocked() {
        assert!(is_blocked("id=3 addr=127.0.0.1:1 name=abc age=1 flags=b db=0 cmd=xread"));
        assert!(is_blocked("id=3 flags=Pb db=0"));
        assert!(!is_blocked("id=3 name=b flags=N db=0 cmd=brpop"));
        assert!(!is_blocked(""));
    }
}
