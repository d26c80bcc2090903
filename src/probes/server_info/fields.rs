//! The fields of INFO that become metrics as they stand: each metric beside the field that it comes from.
//!
//! What takes more than a factor (one-hot states, commands, databases, replicas) is in the other files of this probe.

use measure::{facts::Info, metric::MetricDef, report::Report};

measure::metrics! {
    /// Time since the server started.
    gauge UPTIME = "redprobe_server_info_uptime_seconds";

    /// Client connections, replicas apart.
    gauge CLIENTS = "redprobe_server_info_connected_clients";
    /// Connections that the server accepts at the most.
    gauge CLIENTS_MAX = "redprobe_server_info_max_clients";
    /// Clients waiting in a blocking call, such as BLPOP or XREAD BLOCK.
    gauge CLIENTS_BLOCKED = "redprobe_server_info_blocked_clients";
    /// Clients with client-side caching on.
    gauge CLIENTS_TRACKING = "redprobe_server_info_tracking_clients";
    /// Largest query buffer among the clients of late.
    gauge CLIENT_INPUT = "redprobe_server_info_client_max_input_buffer_bytes";
    /// Largest output buffer among the clients of late.
    gauge CLIENT_OUTPUT = "redprobe_server_info_client_max_output_buffer_bytes";
    /// Channels that somebody is subscribed to.
    gauge CHANNELS = "redprobe_server_info_pubsub_channels";
    /// Patterns that somebody is subscribed to.
    gauge PATTERNS = "redprobe_server_info_pubsub_patterns";

    /// Bytes that the server has allocated.
    gauge MEMORY_USED = "redprobe_server_info_memory_used_bytes";
    /// Bytes that the server occupies, as the operating system sees it.
    gauge MEMORY_RSS = "redprobe_server_info_memory_rss_bytes";
    /// The most bytes that the server has ever had allocated.
    gauge MEMORY_PEAK = "redprobe_server_info_memory_peak_bytes";
    /// The limit set by maxmemory; 0 where there is none.
    gauge MEMORY_MAX = "redprobe_server_info_memory_max_bytes";
    /// Memory of the machine.
    gauge MEMORY_SYSTEM = "redprobe_server_info_memory_system_bytes";
    /// Bytes used to manage the data: dictionaries, buffers, backlog.
    gauge MEMORY_OVERHEAD = "redprobe_server_info_memory_overhead_bytes";
    /// Bytes used by the data itself.
    gauge MEMORY_DATASET = "redprobe_server_info_memory_dataset_bytes";
    /// Bytes used right after the start.
    gauge MEMORY_STARTUP = "redprobe_server_info_memory_startup_bytes";
    /// Bytes used by the Lua engine.
    gauge MEMORY_LUA = "redprobe_server_info_memory_lua_bytes";
    /// Bytes used for connections of clients.
    gauge MEMORY_CLIENTS = "redprobe_server_info_memory_clients_bytes";
    /// Bytes used for connections of replicas.
    gauge MEMORY_REPLICAS = "redprobe_server_info_memory_replicas_bytes";
    /// Bytes used for the replication backlog.
    gauge MEMORY_BACKLOG = "redprobe_server_info_memory_replication_backlog_bytes";
    /// Bytes used for what waits to be written to the AOF.
    gauge MEMORY_AOF = "redprobe_server_info_memory_aof_buffer_bytes";
    /// Resident memory over allocated memory.
    gauge FRAGMENTATION = "redprobe_server_info_memory_fragmentation_ratio";
    /// Resident memory beyond what is allocated; below 0 where memory is swapped out.
    gauge FRAGMENTATION_BYTES = "redprobe_server_info_memory_fragmentation_bytes";
    /// Objects that wait to be freed in the background.
    gauge LAZYFREE = "redprobe_server_info_lazyfree_pending_objects";
    /// Whether defragmentation is at work.
    gauge DEFRAG = "redprobe_server_info_active_defrag_running";

    /// Whether the server is loading its data from disk.
    gauge LOADING = "redprobe_server_info_loading";
    /// Writes since the last successful RDB save.
    gauge RDB_CHANGES = "redprobe_server_info_rdb_changes_since_save";
    /// When the last successful RDB save was.
    gauge RDB_SAVED = "redprobe_server_info_rdb_last_save_timestamp_seconds";
    /// Whether the last RDB save in the background succeeded.
    gauge RDB_OK = "redprobe_server_info_rdb_last_save_successful";
    /// How long the last RDB save in the background took; absent until there is one.
    gauge RDB_TOOK = "redprobe_server_info_rdb_last_save_duration_seconds";
    /// Whether an RDB save is under way.
    gauge RDB_BUSY = "redprobe_server_info_rdb_save_in_progress";
    /// Memory that the last RDB save copied because it was written to meanwhile.
    gauge RDB_COW = "redprobe_server_info_rdb_last_copy_on_write_bytes";
    /// Whether the AOF is on.
    gauge AOF_ENABLED = "redprobe_server_info_aof_enabled";
    /// Whether the last write to the AOF succeeded.
    gauge AOF_WRITE_OK = "redprobe_server_info_aof_last_write_successful";
    /// Whether the last AOF rewrite succeeded.
    gauge AOF_REWRITE_OK = "redprobe_server_info_aof_last_rewrite_successful";
    /// How long the last AOF rewrite took; absent until there is one.
    gauge AOF_TOOK = "redprobe_server_info_aof_last_rewrite_duration_seconds";
    /// Whether an AOF rewrite is under way.
    gauge AOF_BUSY = "redprobe_server_info_aof_rewrite_in_progress";
    /// Whether an AOF rewrite waits for an RDB save to end.
    gauge AOF_SCHEDULED = "redprobe_server_info_aof_rewrite_scheduled";
    /// Memory that the last AOF rewrite copied because it was written to meanwhile.
    gauge AOF_COW = "redprobe_server_info_aof_last_copy_on_write_bytes";
    /// Size of the AOF.
    gauge AOF_SIZE = "redprobe_server_info_aof_size_bytes";
    /// Size of the AOF after the last rewrite or start.
    gauge AOF_BASE = "redprobe_server_info_aof_base_size_bytes";
    /// Syncs of the AOF that wait in the background.
    gauge AOF_PENDING = "redprobe_server_info_aof_pending_fsyncs";
    /// Writes that waited for a sync of the AOF: a sign of a slow disk.
    counter AOF_DELAYED = "redprobe_server_info_aof_delayed_fsyncs_total";
    /// How long the last fork stopped the server.
    gauge FORK = "redprobe_server_info_last_fork_seconds";

    /// Connections accepted.
    counter CONNECTIONS = "redprobe_server_info_connections_received_total";
    /// Connections turned away because of maxclients.
    counter REJECTED = "redprobe_server_info_connections_rejected_total";
    /// Commands executed.
    counter COMMANDS = "redprobe_server_info_commands_processed_total";
    /// Commands executed per second, as the server estimates it over the last moments.
    gauge OPS = "redprobe_server_info_operations_per_second";
    /// Bytes read from the network.
    counter NET_IN = "redprobe_server_info_net_input_bytes_total";
    /// Bytes written to the network.
    counter NET_OUT = "redprobe_server_info_net_output_bytes_total";
    /// Keys removed because their time was over.
    counter EXPIRED = "redprobe_server_info_expired_keys_total";
    /// Keys evicted because of maxmemory.
    counter EVICTED = "redprobe_server_info_evicted_keys_total";
    /// Clients closed because of maxmemory-clients.
    counter EVICTED_CLIENTS = "redprobe_server_info_evicted_clients_total";
    /// Lookups of keys that were there.
    counter HITS = "redprobe_server_info_keyspace_hits_total";
    /// Lookups of keys that were not there.
    counter MISSES = "redprobe_server_info_keyspace_misses_total";
    /// Replies that were errors.
    counter ERROR_REPLIES = "redprobe_server_info_error_replies_total";

    /// Replicas connected to the server.
    gauge REPLICAS = "redprobe_server_info_connected_replicas";
    /// Bytes of the replication stream so far.
    gauge OFFSET = "redprobe_server_info_replication_offset_bytes";
    /// Size of the replication backlog.
    gauge BACKLOG = "redprobe_server_info_replication_backlog_size_bytes";
    /// Full resynchronisations with replicas.
    counter SYNC_FULL = "redprobe_server_info_sync_full_total";
    /// Partial resynchronisations with replicas that were accepted.
    counter SYNC_PARTIAL = "redprobe_server_info_sync_partial_accepted_total";
    /// Partial resynchronisations with replicas that were refused.
    counter SYNC_REFUSED = "redprobe_server_info_sync_partial_refused_total";
    /// Whether the server is part of a cluster.
    gauge CLUSTER = "redprobe_server_info_cluster_enabled";
}

/// One metric, the field it comes from, and how that is read.
struct Field {
    def: &'static MetricDef,
    name: &'static str,
    read: fn(&Info, &str) -> Option<f64>,
}

const fn field(def: &'static MetricDef, name: &'static str) -> Field {
    Field { def, name, read: number }
}

const fn flag(def: &'static MetricDef, name: &'static str) -> Field {
    Field { def, name, read: truth }
}

fn number(info: &Info, name: &str) -> Option<f64> {
    info.number(name)
}

fn truth(info: &Info, name: &str) -> Option<f64> {
    info.flag(name).map(f64::from)
}

/// The server writes −1 for "never".
fn unless_never(info: &Info, name: &str) -> Option<f64> {
    info.number(name).filter(|value| *value >= 0.0)
}

fn micros(info: &Info, name: &str) -> Option<f64> {
    info.number(name).map(|value| value / 1e6)
}

static FIELDS: &[Field] = &[
    field(&UPTIME, "uptime_in_seconds"),
    field(&CLIENTS, "connected_clients"),
    field(&CLIENTS_MAX, "maxclients"),
    field(&CLIENTS_BLOCKED, "blocked_clients"),
    field(&CLIENTS_TRACKING, "tracking_clients"),
    field(&CLIENT_INPUT, "client_recent_max_input_buffer"),
    field(&CLIENT_OUTPUT, "client_recent_max_output_buffer"),
    field(&CHANNELS, "pubsub_channels"),
    field(&PATTERNS, "pubsub_patterns"),
    field(&MEMORY_USED, "used_memory"),
    field(&MEMORY_RSS, "used_memory_rss"),
    field(&MEMORY_PEAK, "used_memory_peak"),
    field(&MEMORY_MAX, "maxmemory"),
    field(&MEMORY_SYSTEM, "total_system_memory"),
    field(&MEMORY_OVERHEAD, "used_memory_overhead"),
    field(&MEMORY_DATASET, "used_memory_dataset"),
    field(&MEMORY_STARTUP, "used_memory_startup"),
    field(&MEMORY_LUA, "used_memory_lua"),
    field(&MEMORY_CLIENTS, "mem_clients_normal"),
    field(&MEMORY_REPLICAS, "mem_clients_slaves"),
    field(&MEMORY_BACKLOG, "mem_replication_backlog"),
    field(&MEMORY_AOF, "mem_aof_buffer"),
    field(&FRAGMENTATION, "mem_fragmentation_ratio"),
    field(&FRAGMENTATION_BYTES, "mem_fragmentation_bytes"),
    field(&LAZYFREE, "lazyfree_pending_objects"),
    field(&DEFRAG, "active_defrag_running"),
    field(&LOADING, "loading"),
    field(&RDB_CHANGES, "rdb_changes_since_last_save"),
    field(&RDB_SAVED, "rdb_last_save_time"),
    flag(&RDB_OK, "rdb_last_bgsave_status"),
    Field { def: &RDB_TOOK, name: "rdb_last_bgsave_time_sec", read: unless_never },
    field(&RDB_BUSY, "rdb_bgsave_in_progress"),
    field(&RDB_COW, "rdb_last_cow_size"),
    field(&AOF_ENABLED, "aof_enabled"),
    flag(&AOF_WRITE_OK, "aof_last_write_status"),
    flag(&AOF_REWRITE_OK, "aof_last_bgrewrite_status"),
    Field { def: &AOF_TOOK, name: "aof_last_rewrite_time_sec", read: unless_never },
    field(&AOF_BUSY, "aof_rewrite_in_progress"),
    field(&AOF_SCHEDULED, "aof_rewrite_scheduled"),
    field(&AOF_COW, "aof_last_cow_size"),
    field(&AOF_SIZE, "aof_current_size"),
    field(&AOF_BASE, "aof_base_size"),
    field(&AOF_PENDING, "aof_pending_bio_fsync"),
    field(&AOF_DELAYED, "aof_delayed_fsync"),
    Field { def: &FORK, name: "latest_fork_usec", read: micros },
    field(&CONNECTIONS, "total_connections_received"),
    field(&REJECTED, "rejected_connections"),
    field(&COMMANDS, "total_commands_processed"),
    field(&OPS, "instantaneous_ops_per_sec"),
    field(&NET_IN, "total_net_input_bytes"),
    field(&NET_OUT, "total_net_output_bytes"),
    field(&EXPIRED, "expired_keys"),
    field(&EVICTED, "evicted_keys"),
    field(&EVICTED_CLIENTS, "evicted_clients"),
    field(&HITS, "keyspace_hits"),
    field(&MISSES, "keyspace_misses"),
    field(&ERROR_REPLIES, "total_error_replies"),
    field(&REPLICAS, "connected_slaves"),
    field(&OFFSET, "master_repl_offset"),
    field(&BACKLOG, "repl_backlog_size"),
    field(&SYNC_FULL, "sync_full"),
    field(&SYNC_PARTIAL, "sync_partial_ok"),
    field(&SYNC_REFUSED, "sync_partial_err"),
    field(&CLUSTER, "cluster_enabled"),
];

/// Sets every metric whose field is there. What a server does not say, by its version or flavour, stays absent.
pub(super) fn read(info: &Info, report: &mut Report) {
    for field in FIELDS {
        if let Some(value) = (field.read)(info, field.name) {
            report.set(field.def, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_has_a_field_of_its_own() {
        let fields: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
        let defs: BTreeSet<_> = FIELDS.iter().map(|field| field.def.name).collect();
        let declared: BTreeSet<_> = METRICS.iter().map(|def| def.name).collect();
        assert_eq!(fields.len(), FIELDS.len(), "a field feeds two metrics");
        assert_eq!(defs, declared, "a metric is declared and never set");
    }
}
