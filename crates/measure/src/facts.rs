//! What a server says of itself, parsed from its text: INFO, its version, flavour, role and statistics of commands; and
//! its clients.
//!
//! Parsers take text and never fail: what is not there is `None`. What a value means for a run belongs to the caller.

use std::{collections::BTreeMap, ops::Range};

use redis::aio::MultiplexedConnection;
use serde::Serialize;

use crate::{error::Failure, grant::Grant};

mod client_list;
pub mod clients;

pub use client_list::{LIST, ask_list, read_list};

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// KeyDB.
    Keydb,
    /// Dragonfly.
    Dragonfly,
}

/// `INFO`, as fields. Sections do not matter: field names are unique, and where one is not, the first counts.
#[derive(Debug, Clone, Default)]
pub struct Info {
    text: Box<str>,
    /// Places of name and value in `text`, sorted by name.
    fields: Box<[(Range<u32>, Range<u32>)]>,
}

/// One line of `INFO commandstats`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CommandStat {
    /// Calls executed.
    pub calls: u64,
    /// Time in them, in microseconds.
    pub usec: u64,
    /// Calls refused before execution (since Redis 6.2).
    pub rejected: u64,
    /// Calls that failed (since Redis 6.2).
    pub failed: u64,
}

/// What is sent for [`ServerFacts`], where nothing else asks for INFO.
pub const WHO: Grant =
    Grant::observe("info", "", "say in reports which server it was").optional("they do not say it");

/// What a report says of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Version of the flavour's own numbering.
    pub version: String,
    /// Which program.
    pub flavour: Flavour,
    /// master or slave, as INFO says.
    pub role: String,
    /// Changes at every start of the server.
    #[serde(skip)]
    pub run_id: String,
}

impl Info {
    /// Asks for the given sections, or for the default ones where none is named. Bytes that are no UTF-8 (a module's,
    /// a path's) cost the field that they stand in, not the answer.
    ///
    /// # Errors
    /// With the server's reason where it denies INFO, or is busy, or goes away.
    pub async fn ask(conn: &mut MultiplexedConnection, sections: &[&str]) -> Result<Self, Failure> {
        match redis::cmd("INFO").arg(sections).query_async(conn).await? {
            redis::Value::BulkString(text) => Ok(Self::parse(&String::from_utf8_lossy(&text))),
            other => {
                let text: String = redis::from_redis_value(other).map_err(redis::RedisError::from)?;
                Ok(Self::parse(&text))
            }
        }
    }

    /// Reads the text of INFO, whole or any section of it. Lines that are not `name:value` are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        // Offsets are 32 bits; a real INFO has a few kilobytes.
        let text: Box<str> = if u32::try_from(text.len()).is_ok() { text.into() } else { Box::default() };
        let mut fields: Vec<(Range<u32>, Range<u32>)> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (place(&text, name), place(&text, value)))
            .collect();
        fields.sort_by(|(a, _), (b, _)| slice(&text, a).cmp(slice(&text, b)));
        Self { fields: fields.into(), text }
    }

    /// A field as it stands.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        let at = self.fields.partition_point(|(name, _)| slice(&self.text, name) < field);
        let (name, value) = self.fields.get(at)?;
        (slice(&self.text, name) == field).then(|| slice(&self.text, value))
    }

    /// A field as a number; `aof_enabled:1`, `used_memory:123`, `mem_fragmentation_ratio:1.2` all are, `1.2M` is not.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<f64> {
        self.text(field)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A field as a whole number.
    #[must_use]
    pub fn integer(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }

    /// `yes`, `1`, `ok`, `up` are true; `no`, `0`, `err`, `down` are false.
    #[must_use]
    pub fn flag(&self, field: &str) -> Option<bool> {
        match self.text(field)? {
            "yes" | "1" | "ok" | "up" => Some(true),
            "no" | "0" | "err" | "down" => Some(false),
            _ => None,
        }
    }

    /// Version, flavour, role; `None` where INFO was denied or is not one. A role that is not there is `unknown`.
    #[must_use]
    pub fn server(&self) -> Option<ServerFacts> {
        let (flavour, version) = self.flavour()?;
        Some(ServerFacts {
            version: version.to_owned(),
            flavour,
            role: self.text("role").unwrap_or("unknown").to_owned(),
            run_id: self.text("run_id").unwrap_or_default().to_owned(),
        })
    }

    /// All others keep `redis_version` for the sake of old clients: their own fields come first.
    fn flavour(&self) -> Option<(Flavour, &str)> {
        if let Some(version) = self.text("dragonfly_version") {
            return Some((Flavour::Dragonfly, version.trim_start_matches("df-").trim_start_matches('v')));
        }
        if let Some(version) = self.text("valkey_version") {
            return Some((Flavour::Valkey, version));
        }
        let version = self.text("redis_version")?;
        let keydb = self.text("mvcc_depth").is_some()
            || self.text("executable").is_some_and(|path| path.rsplit('/').next() == Some("keydb-server"));
        let flavour = match self.text("server_name") {
            Some("valkey") => Flavour::Valkey,
            _ if keydb => Flavour::Keydb,
            _ => Flavour::Redis,
        };
        Some((flavour, version))
    }

    /// `cmdstat_*`, by lower-case command name (`get`, `config|get`).
    #[must_use]
    pub fn commands(&self) -> BTreeMap<String, CommandStat> {
        let stat = |value: &str| {
            Some(CommandStat {
                calls: part(value, "calls")?,
                usec: part(value, "usec")?,
                rejected: part(value, "rejected_calls").unwrap_or(0),
                failed: part(value, "failed_calls").unwrap_or(0),
            })
        };
        self.prefixed("cmdstat_")
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), stat(value)?)))
            .collect()
    }

    /// `errorstat_*` counts by code.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.prefixed("errorstat_")
            .filter_map(|(name, value)| Some((name.to_owned(), part(value, "count")?)))
            .collect()
    }

    /// `db0:keys=1,expires=0`: keys and those with a TTL, by database number.
    #[must_use]
    pub fn keyspace(&self) -> BTreeMap<u32, (u64, u64)> {
        self.prefixed("db")
            .filter_map(|(name, value)| {
                Some((name.parse().ok()?, (part(value, "keys")?, part(value, "expires")?)))
            })
            .collect()
    }

    /// Replicas that have all data and follow: `slaveN:…,state=online,…`.
    #[must_use]
    pub fn replicas_online(&self) -> u64 {
        let online = |(name, value): &(&str, &str)| {
            name.parse::<u32>().is_ok() && value.split(',').any(|part| part == "state=online")
        };
        self.prefixed("slave").filter(online).count() as u64
    }

    /// Fields whose name begins so, with the rest of the name; the first of each name.
    fn prefixed<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let first = self.fields.partition_point(|(name, _)| slice(&self.text, name) < prefix);
        let mut last = None;
        self.fields[first..]
            .iter()
            .map_while(move |(name, value)| {
                Some((slice(&self.text, name).strip_prefix(prefix)?, slice(&self.text, value)))
            })
            .filter(move |(name, _)| last.replace(*name) != Some(*name))
    }
}

/// Where `part` is in `text`, which it is a slice of.
fn place(text: &str, part: &str) -> Range<u32> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    let offset = |at: usize| u32::try_from(at).expect("parse refuses longer texts");
    offset(start)..offset(start + part.len())
}

fn slice<'a>(text: &'a str, at: &Range<u32>) -> &'a str {
    &text[at.start as usize..at.end as usize]
}

/// The whole number `name` in `a=1,b=2`.
fn part(value: &str, name: &str) -> Option<u64> {
    value.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nexecutable:/usr/bin/redis-server\r\n\r\n\
        # Memory\r\nused_memory:1234\r\nused_memory_human:1.2K\r\nmem_fragmentation_ratio:1.50\r\n\
        # Persistence\r\naof_enabled:0\r\nrdb_last_bgsave_status:ok\r\nmaster_link_status:down\r\n\
        # Replication\r\nrole:master\r\nslave0:ip=1.2.3.4,port=1,state=online,offset=1,lag=0\r\n\
        slave1:ip=1.2.3.4,port=2,state=wait_bgsave,offset=0,lag=0\r\nslave_repl_offset:1\r\n\
        # Commandstats\r\ncmdstat_get:calls=3,usec=12,usec_per_call=4.00,rejected_calls=1,failed_calls=2\r\n\
        cmdstat_config|get:calls=1,usec=7,usec_per_call=7.00\r\n\
        # Errorstats\r\nerrorstat_OOM:count=9\r\n\
        # Keyspace\r\ndb0:keys=5,expires=2,avg_ttl=10\r\ndb12:keys=1,expires=0,avg_ttl=0\r\n";

    #[test]
    fn reads_fields_of_every_type() {
        let info = Info::parse(SAMPLE);
        assert_eq!(info.text("run_id"), Some("abc"));
        assert_eq!(info.integer("used_memory"), Some(1234));
        assert_eq!(info.number("mem_fragmentation_ratio"), Some(1.5));
        assert_eq!(info.number("used_memory_human"), None);
        assert_eq!(info.flag("aof_enabled"), Some(false));
        assert_eq!(info.flag("rdb_last_bgsave_status"), Some(true));
        assert_eq!(info.flag("master_link_status"), Some(false));
        assert_eq!(info.flag("role"), None);
        assert_eq!(info.text("used"), None);
    }

    #[test]
    fn reads_statistics_and_keyspace() {
        let info = Info::parse(SAMPLE);
        let commands = info.commands();
        assert_eq!(commands["get"], CommandStat { calls: 3, usec: 12, rejected: 1, failed: 2 });
        assert_eq!(commands["config|get"], CommandStat { calls: 1, usec: 7, rejected: 0, failed: 0 });
        assert_eq!(commands.len(), 2);
        assert_eq!(info.errors(), BTreeMap::from([("OOM".to_owned(), 9)]));
        assert_eq!(info.keyspace(), BTreeMap::from([(0, (5, 2)), (12, (1, 0))]));
        assert_eq!(info.replicas_online(), 1);
    }

    #[test]
    fn tells_the_flavours_apart() {
        let server = |text: &str| Info::parse(text).server().map(|facts| (facts.flavour, facts.version));
        assert_eq!(server(SAMPLE), Some((Flavour::Redis, "7.0.15".into())));
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0";
        assert_eq!(server(valkey), Some((Flavour::Valkey, "8.1.0".into())));
        let keydb = "redis_version:6.3.4\r\nmvcc_depth:0";
        assert_eq!(server(keydb), Some((Flavour::Keydb, "6.3.4".into())));
        let dragonfly = "redis_version:7.4.0\r\ndragonfly_version:df-v1.14.1";
        assert_eq!(server(dragonfly), Some((Flavour::Dragonfly, "1.14.1".into())));
        assert_eq!(server("role:master"), None);
    }

    #[test]
    fn numbers_are_finite() {
        let info = Info::parse("a:inf\nb:NaN\nc:-1");
        assert_eq!((info.number("a"), info.number("b"), info.number("c")), (None, None, Some(-1.0)));
        assert_eq!(info.integer("c"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).*", field in ".*") {
            let info = Info::parse(&text);
            let _ = (info.text(&field), info.number(&field), info.flag(&field), info.server());
            let _ = (info.commands(), info.errors(), info.keyspace());
        }

        #[test]
        fn reads_back_what_is_rendered(
            fields in prop::collection::btree_map("[a-z_0-9]{1,12}", "[^\r\n]{0,20}", 0..30),
        ) {
            let mut text = String::from("# Section\r\n");
            for (name, value) in fields.iter().rev() {
                text += &format!("{name}:{value}\r\n");
            }
            let info = Info::parse(&text);
            for (name, value) in &fields {
                prop_assert_eq!(info.text(name), Some(value.as_str()));
            }
        }

        #[test]
        fn reads_back_command_statistics(
            stats in prop::collection::btree_map("[a-z]{1,8}(\\|[a-z]{1,6})?", any::<[u64; 4]>(), 0..20),
        ) {
            let mut text = String::new();
            for (name, [calls, usec, rejected, failed]) in &stats {
                text += &format!("cmdstat_{name}:calls={calls},usec={usec},usec_per_call=0.10,");
                text += &format!("rejected_calls={rejected},failed_calls={failed}\r\n");
            }
            let read: BTreeMap<_, _> = Info::parse(&text)
                .commands()
                .into_iter()
                .map(|(name, stat)| (name, [stat.calls, stat.usec, stat.rejected, stat.failed]))
                .collect();
            prop_assert_eq!(read, stats);
        }
    }
}
