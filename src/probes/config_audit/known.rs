//! The settings that may be read: their names in every version, what kind of value each has, and whether it can be
//! changed while the server runs. What is not here is never asked for, so nothing here may hold a secret.
//!
//! How a value of a kind is read is in `normal`; what a value should be, in the catalogue.

/// What a setting's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number; may be negative.
    Number,
    /// Bytes, written with or without a unit of redis.conf.
    Size,
    /// Bytes, or a share of maxmemory such as `5%`.
    SizeOrShare,
    /// yes or no.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text as it stands.
    Text,
    /// Words whose order does not matter.
    Words,
    /// Letters whose order does not matter.
    Letters,
    /// `save`: pairs of seconds and changes.
    SavePoints,
    /// `client-output-buffer-limit`: class, hard limit, soft limit, seconds.
    BufferLimits,
    /// A file mode, such as 700.
    Octal,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Its newest name.
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
    /// Its names in older versions or other flavours.
    pub(super) others: &'static [&'static str],
    /// Whether CONFIG SET refuses it: it changes with a restart.
    pub(super) fixed: bool,
}

impl Setting {
    const fn of(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, others: &[], fixed: false }
    }

    const fn or(self, others: &'static [&'static str]) -> Self {
        Self { others, ..self }
    }

    const fn fixed(self) -> Self {
        Self { fixed: true, ..self }
    }

    /// The newest name, then the others.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.others.iter().copied())
    }
}

/// The setting that has this name in any version; `_` counts as `-`, since the names of environment variables have no
/// dash.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    let plain = name.replace('_', "-");
    let called = |name: &str| KNOWN.iter().find(|setting| setting.names().any(|known| known == name));
    called(name).or_else(|| called(&plain))
}

/// Whether a setting of this name may hold what nobody should read. Generous: what is not known at all and sounds like
/// one, counts.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    find(&name).is_none()
        && ["pass", "auth", "secret", "user", "token"].iter().any(|part| name.contains(part))
}

use Kind::{BufferLimits, Flag, Letters, Number, Octal, SavePoints, Size, SizeOrShare, Text, Word, Words};

const fn s(name: &'static str, kind: Kind) -> Setting {
    Setting::of(name, kind)
}

const POLICIES: &[&str] = &[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-lrm",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-lrm",
    "volatile-random",
    "volatile-ttl",
];

const LOG_LEVELS: &[&str] = &["debug", "verbose", "notice", "warning", "nothing"];
const LOCAL_OR: &[&str] = &["no", "yes", "local"];

/// All of them.
pub(super) static KNOWN: &[Setting] = &[
    // Memory.
    s("maxmemory", Size),
    s("maxmemory-policy", Word(POLICIES)),
    s("maxmemory-samples", Number),
    s("maxmemory-eviction-tenacity", Number),
    s("maxmemory-clients", SizeOrShare),
    s("replica-ignore-maxmemory", Flag).or(&["slave-ignore-maxmemory"]),
    s("active-expire-effort", Number),
    s("lfu-log-factor", Number),
    s("lfu-decay-time", Number),
    s("lazyfree-lazy-eviction", Flag),
    s("lazyfree-lazy-expire", Flag),
    s("lazyfree-lazy-server-del", Flag),
    s("lazyfree-lazy-user-del", Flag),
    s("lazyfree-lazy-user-flush", Flag),
    s("replica-lazy-flush", Flag).or(&["slave-lazy-flush"]),
    s("activedefrag", Flag),
    s("active-defrag-ignore-bytes", Size),
    s("active-defrag-threshold-lower", Number),
    s("active-defrag-threshold-upper", Number),
    s("active-defrag-cycle-min", Number),
    s("active-defrag-cycle-max", Number),
    s("active-defrag-max-scan-fields", Number),
    s("jemalloc-bg-thread", Flag),
    s("activerehashing", Flag),
    s("disable-thp", Flag).fixed(),
    s("oom-score-adj", Word(&["no", "yes", "relative", "absolute"])),
    s("oom-score-adj-values", Text),
    s("hash-max-listpack-entries", Number).or(&["hash-max-ziplist-entries"]),
    s("hash-max-listpack-value", Number).or(&["hash-max-ziplist-value"]),
    s("list-max-listpack-size", Number).or(&["list-max-ziplist-size"]),
    s("list-compress-depth", Number),
    s("set-max-intset-entries", Number),
    s("set-max-listpack-entries", Number),
    s("set-max-listpack-value", Number),
    s("zset-max-listpack-entries", Number).or(&["zset-max-ziplist-entries"]),
    s("zset-max-listpack-value", Number).or(&["zset-max-ziplist-value"]),
    s("hll-sparse-max-bytes", Size),
    s("stream-node-max-bytes", Size),
    s("stream-node-max-entries", Number),
    s("tracking-table-max-keys", Number),
    // Persistence.
    s("save", SavePoints),
    s("appendonly", Flag),
    s("appendfsync", Word(&["everysec", "always", "no"])),
    s("appendfilename", Text).fixed(),
    s("appenddirname", Text).fixed(),
    s("no-appendfsync-on-rewrite", Flag),
    s("auto-aof-rewrite-percentage", Number),
    s("auto-aof-rewrite-min-size", Size),
    s("aof-load-truncated", Flag),
    s("aof-use-rdb-preamble", Flag),
    s("aof-timestamp-enabled", Flag),
    s("aof-rewrite-incremental-fsync", Flag),
    s("aof-disable-auto-gc", Flag),
    s("rdb-save-incremental-fsync", Flag),
    s("rdbcompression", Flag),
    s("rdbchecksum", Flag).fixed(),
    s("rdb-del-sync-files", Flag),
    s("stop-writes-on-bgsave-error", Flag),
    s("sanitize-dump-payload", Word(&["no", "yes", "clients"])),
    s("shutdown-timeout", Number),
    s("shutdown-on-sigint", Text),
    s("shutdown-on-sigterm", Text),
    s("dir", Text),
    s("dbfilename", Text),
    // Clients and network.
    s("bind", Words),
    s("port", Number),
    s("protected-mode", Flag),
    s("unixsocket", Text).fixed(),
    s("unixsocketperm", Octal).fixed(),
    s("tcp-backlog", Number).fixed(),
    s("tcp-keepalive", Number),
    s("timeout", Number),
    s("maxclients", Number),
    s("databases", Number).fixed(),
    s("client-output-buffer-limit", BufferLimits),
    s("client-query-buffer-limit", Size),
    s("proto-max-bulk-len", Size),
    s("max-new-connections-per-cycle", Number),
    s("max-new-tls-connections-per-cycle", Number),
    s("io-threads", Number).fixed(),
    s("io-threads-do-reads", Flag).fixed(),
    s("hz", Number),
    s("dynamic-hz", Flag),
    s("notify-keyspace-events", Letters),
    s("busy-reply-threshold", Number).or(&["lua-time-limit"]),
    s("daemonize", Flag).fixed(),
    s("supervised", Word(&["no", "upstart", "systemd", "auto"])).fixed(),
    s("socket-mark-id", Number).fixed(),
    // Latency and logging.
    s("slowlog-log-slower-than", Number).or(&["commandlog-execution-slower-than"]),
    s("slowlog-max-len", Number).or(&["commandlog-slow-execution-max-len"]),
    s("commandlog-request-larger-than", Number),
    s("commandlog-large-request-max-len", Number),
    s("commandlog-reply-larger-than", Number),
    s("commandlog-large-reply-max-len", Number),
    s("latency-monitor-threshold", Number),
    s("latency-tracking", Flag),
    s("latency-tracking-info-percentiles", Words),
    s("watchdog-period", Number),
    s("loglevel", Word(LOG_LEVELS)),
    s("logfile", Text).fixed(),
    s("syslog-enabled", Flag).fixed(),
    s("crash-log-enabled", Flag),
    s("crash-memcheck-enabled", Flag),
    s("ignore-warnings", Text),
    // Replication and cluster.
    s("replicaof", Text).or(&["slaveof"]),
    s("replica-read-only", Flag).or(&["slave-read-only"]),
    s("replica-serve-stale-data", Flag).or(&["slave-serve-stale-data"]),
    s("replica-priority", Number).or(&["slave-priority"]),
    s("replica-announced", Flag),
    s("repl-backlog-size", Size),
    s("repl-backlog-ttl", Number),
    s("repl-diskless-sync", Flag),
    s("repl-diskless-sync-delay", Number),
    s("repl-diskless-sync-max-replicas", Number),
    s("repl-diskless-load", Word(&["disabled", "on-empty-db", "swapdb", "flush-before-load", "always"])),
    s("repl-disable-tcp-nodelay", Flag),
    s("repl-timeout", Number),
    s("repl-ping-replica-period", Number).or(&["repl-ping-slave-period"]),
    s("min-replicas-to-write", Number).or(&["min-slaves-to-write"]),
    s("min-replicas-max-lag", Number).or(&["min-slaves-max-lag"]),
    s("propagation-error-behavior", Word(&["ignore", "panic", "panic-on-replicas"])),
    s("replica-ignore-disk-write-errors", Flag),
    s("replica-full-sync-buffer-limit", Size),
    s("dual-channel-replication-enabled", Flag),
    s("cluster-enabled", Flag).fixed(),
    s("cluster-node-timeout", Number),
    s("cluster-require-full-coverage", Flag),
    s("cluster-allow-reads-when-down", Flag),
    s("cluster-allow-pubsubshard-when-down", Flag),
    s("cluster-allow-replica-migration", Flag),
    s("cluster-migration-barrier", Number),
    s("cluster-replica-no-failover", Flag).or(&["cluster-slave-no-failover"]),
    s("cluster-replica-validity-factor", Number).or(&["cluster-slave-validity-factor"]),
    s("cluster-link-sendbuf-limit", Size),
    s("cluster-preferred-endpoint-type", Text),
    // Security. The names of users, passwords and keys stay out.
    s("tls-port", Number),
    s("tls-auth-clients", Word(&["no", "yes", "optional"])),
    s("tls-protocols", Words),
    s("tls-ciphers", Text),
    s("tls-ciphersuites", Text),
    s("tls-prefer-server-ciphers", Flag),
    s("tls-session-caching", Flag),
    s("tls-replication", Flag),
    s("tls-cluster", Flag),
    s("tls-cert-file", Text),
    s("tls-ca-cert-file", Text),
    s("tls-ca-cert-dir", Text),
    s("tls-dh-params-file", Text),
    s("aclfile", Text).fixed(),
    s("acl-pubsub-default", Word(&["allchannels", "resetchannels"])),
    s("acllog-max-len", Number),
    s("enable-debug-command", Word(LOCAL_OR)).fixed(),
    s("enable-module-command", Word(LOCAL_OR)).fixed(),
    s("enable-protected-configs", Word(LOCAL_OR)).fixed(),
    s("hide-user-data-from-log", Flag),
    s("set-proc-title", Flag),
    s("extended-redis-compatibility", Flag),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_belongs_to_one_setting() {
        let names: Vec<_> = KNOWN.iter().flat_map(Setting::names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(find("slave-priority").unwrap().name, "replica-priority");
        assert_eq!(find("maxmemory_policy").unwrap().name, "maxmemory-policy");
    }

    /// Those that sound like secrets and are none. Whoever adds one has looked at what CONFIG GET answers for it.
    const HARMLESS: &[&str] = &[
        "tls-auth-clients",
        "lazyfree-lazy-user-del",
        "lazyfree-lazy-user-flush",
        "hide-user-data-from-log",
    ];

    #[test]
    fn no_secret_can_be_asked_for() {
        for name in KNOWN.iter().flat_map(Setting::names).filter(|name| !HARMLESS.contains(name)) {
            for part in ["pass", "auth", "secret", "user", "token", "key-file"] {
                assert!(!name.contains(part), "{name} may hold a secret");
            }
        }
        for secret in ["requirepass", "masterauth", "primaryauth", "masteruser", "tls-key-file-pass"] {
            assert!(is_secret(secret) && find(secret).is_none(), "{secret}");
        }
        assert!(!is_secret("maxmemory") && !is_secret("lazyfree-lazy-user-del"));
    }
}
