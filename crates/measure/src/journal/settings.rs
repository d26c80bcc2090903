//! The settings that may be changed, how their values compare, and the commands that read and set them: the only place
//! that sends CONFIG SET.

use redis::aio::MultiplexedConnection;

use crate::{
    error::{Failure, ProbeError, Reason},
    facts::{Flavour, Info},
};

/// How two wordings of a value are told to mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A number of bytes, in units of redis.conf: `1gb` is 1073741824, `1g` is 1000000000.
    Bytes,
    /// A whole number.
    Number,
    /// One of some words, in any case.
    Word,
    /// Words with spaces between them.
    Words,
}

/// What may be changed: only that of which it is known how to compare it, and that has no secret in it.
const KNOWN: &[(&str, Kind)] = &[
    ("appendfsync", Kind::Word),
    ("appendonly", Kind::Word),
    ("auto-aof-rewrite-min-size", Kind::Bytes),
    ("auto-aof-rewrite-percentage", Kind::Number),
    ("lazyfree-lazy-eviction", Kind::Word),
    ("lazyfree-lazy-expire", Kind::Word),
    ("maxmemory", Kind::Bytes),
    ("maxmemory-eviction-tenacity", Kind::Number),
    ("maxmemory-policy", Kind::Word),
    ("maxmemory-samples", Kind::Number),
    ("no-appendfsync-on-rewrite", Kind::Word),
    ("save", Kind::Words),
    ("stop-writes-on-bgsave-error", Kind::Word),
];

fn kind(parameter: &str) -> Option<Kind> {
    KNOWN.iter().find(|(name, _)| *name == parameter).map(|(_, kind)| *kind)
}

/// Whether it may be changed.
pub(super) fn is_known(parameter: &str) -> bool {
    kind(parameter).is_some()
}

/// Whether two values of the parameter mean the same.
pub(super) fn same(parameter: &str, one: &str, other: &str) -> bool {
    match kind(parameter) {
        Some(Kind::Bytes | Kind::Number) => match (bytes(one), bytes(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
        Some(Kind::Word) => one.trim().eq_ignore_ascii_case(other.trim()),
        Some(Kind::Words) => one.split_whitespace().eq(other.split_whitespace()),
        None => one == other,
    }
}

/// A size as redis.conf words it.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The value in force; `None` where the server does not have the setting.
pub(super) async fn read(
    conn: &mut MultiplexedConnection,
    parameter: &str,
) -> Result<Option<String>, Failure> {
    let pairs: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(parameter).query_async(conn).await?;
    Ok(pairs.chunks_exact(2).find(|pair| pair[0].eq_ignore_ascii_case(parameter)).map(|pair| pair[1].clone()))
}

/// Sets all: in one command where the server takes several (all or none of them then), else one by one in this order.
pub(super) async fn set(
    conn: &mut MultiplexedConnection,
    values: &[(&str, &str)],
    several: bool,
) -> Result<(), Failure> {
    let at_once = if several { values.len().max(1) } else { 1 };
    for group in values.chunks(at_once) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET");
        for (parameter, value) in group {
            command.arg(*parameter).arg(*value);
        }
        command.query_async::<()>(conn).await.map_err(Failure::from)?;
        super::crash_point("a CONFIG SET answered");
    }
    Ok(())
}

/// Whether CONFIG SET takes several settings, and sets all or none: Redis from 7.0, and every Valkey.
pub(super) fn takes_several(info: &Info) -> bool {
    info.server().is_some_and(|server| {
        let major = server.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        matches!(server.flavour, Flavour::Redis | Flavour::Valkey) && major.is_some_and(|major| major >= 7)
    })
}

/// What the server calls this connection; `None` where it does not say.
pub(super) async fn client_id(conn: &mut MultiplexedConnection) -> Result<Option<u64>, Failure> {
    or_refused(redis::cmd("CLIENT").arg("ID").query_async(conn).await)
}

/// Ends another connection, so that nothing that was sent over it and not yet read is carried out any more. A server
/// that does not let us is no error: it reads what came first first.
pub(super) async fn end_client(conn: &mut MultiplexedConnection, id: u64) -> Result<(), Failure> {
    let ended: Option<u64> =
        or_refused(redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(conn).await)?;
    if ended == Some(1) {
        tracing::info!(id, "ended the connection of a run that is over");
    }
    Ok(())
}

fn or_refused<T>(answer: redis::RedisResult<T>) -> Result<Option<T>, Failure> {
    match answer.map_err(Failure::from) {
        Ok(value) => Ok(Some(value)),
        Err(failure) if matches!(failure.reason, Reason::Denied | Reason::Unsupported | Reason::Other) => {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// For a parameter that may not be changed.
pub(super) fn unknown(parameter: &str) -> ProbeError {
    ProbeError::failed(
        Reason::Other,
        format!(
            "a defect of redprobe: it does not know how to put {parameter} back, so it does not change it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_compare_by_what_they_mean() {
        for (parameter, one, other, equal) in [
            ("maxmemory", "2gb", "2147483648", true),
            ("maxmemory", "2g", "2gb", false),
            ("maxmemory", "2G", "2000000000", true),
            ("maxmemory", "0", "0b", true),
            ("maxmemory", "x", "x", true),
            ("maxmemory", "x", "y", false),
            ("maxmemory-policy", "NoEviction", "noeviction", true),
            ("maxmemory-policy", "allkeys-lru", "allkeys-lfu", false),
            ("maxmemory-samples", "05", "5", true),
            ("save", "3600 1  300 100", "3600 1 300 100", true),
            ("save", "", " ", true),
            ("save", "3600 1", "", false),
        ] {
            assert_eq!(same(parameter, one, other), equal, "{parameter}: {one:?} {other:?}");
        }
        assert_eq!(bytes("99999999999gb"), None);
    }

    #[test]
    fn no_parameter_holds_a_secret() {
        for (name, _) in KNOWN {
            assert!(!name.contains("pass") && !name.contains("auth") && !name.contains("user"), "{name}");
        }
    }

    proptest! {
        #[test]
        fn sizes_never_panic(text in "\\PC*", number in any::<u64>()) {
            let _ = bytes(&text);
            prop_assert_eq!(bytes(&number.to_string()), Some(number));
        }
    }
}
