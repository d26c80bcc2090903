//! The objectives and metrics of `mixed_workload`.
//!
//! Declarations alone; what they are set to, and what it means, is `findings`'.

use measure::report::{Direction, ObjectiveDef, Severity, Unit};

use crate::probe::pools::figures::{BLOCKED_SHARE, POOL_UTILISATION, POOL_WAIT_P99, REJECTED_CONNECTIONS};

measure::metrics! {
    /// Share of the operations of a kind that found no connection, or got no answer, in time; `operation` is stop_check, xadd, get, set, and xread or xreadgroup.
    gauge TIMEOUT_RATIO = "redprobe_mixed_workload_timeout_ratio" [operation];
    /// Stop checks of the last run that timed out.
    gauge STOP_TIMEOUTS = "redprobe_mixed_workload_stop_check_timeouts";
    /// Entries that agents wrote in the last run.
    gauge WRITTEN = "redprobe_mixed_workload_entries_written";
    /// Entries that readers did not get as they should, over all readers; `fault` is lost, duplicated or out_of_order.
    gauge FAULTS = "redprobe_mixed_workload_entry_faults" [fault];
    /// From the send of an entry to a reader's having it; absent where samples are too few.
    gauge DELIVERY = "redprobe_mixed_workload_delivery_seconds" [quantile];
    /// Reads that lost their connection.
    gauge CUTS = "redprobe_mixed_workload_reads_cut_off";
    /// 99th percentile of the waits for a connection.
    gauge WAIT = "redprobe_mixed_workload_wait_p99_seconds";
    /// Share of the pool's connections that were on loan, on average.
    gauge UTILISATION = "redprobe_mixed_workload_utilisation_ratio";
    /// Share of the mean time of an operation, by where it went; all parts together are 1.
    gauge TIME_SHARE = "redprobe_mixed_workload_time_share_ratio" [operation, part];
}

/// The critical ones.
pub(super) static STOP_CHECK_TIMEOUTS: ObjectiveDef = ObjectiveDef {
    name: "stop_check_timeouts",
    phrase: "graceful shutdown broken: the number of stop checks that timed out",
    help: "GETs of stop signals that found no free connection, or got no answer, in time. An agent that cannot ask whether to stop is killed instead, in the middle of its work.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

/// Of everything that does not block.
pub(super) static TIMEOUT_RATE: ObjectiveDef = ObjectiveDef {
    name: "timeout_rate",
    phrase: "the timeout rate",
    help: "Share of the attempted XADDs, stop checks, GETs and SETs that found no free connection, or got no answer, in time. An application whose pool is large enough has none.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 0.0,
};

/// What never came.
pub(super) static ENTRIES_LOST: ObjectiveDef = ObjectiveDef {
    name: "entries_lost",
    phrase: "the number of lost entries",
    help: "Entries that are in a stream and that one of its readers never got, over all readers. Redis loses none; a reader that asks from the wrong id does.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

/// What came too late for its place.
pub(super) static ENTRIES_OUT_OF_ORDER: ObjectiveDef = ObjectiveDef {
    name: "entries_out_of_order",
    phrase: "the number of entries out of order",
    help: "Entries that came to a reader after one that its agent wrote later, over all readers. None do unless an agent goes on after a write that timed out.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

/// What came again.
pub(super) static ENTRIES_DUPLICATED: ObjectiveDef = ObjectiveDef {
    name: "entries_duplicated",
    phrase: "the number of entries that came twice",
    help: "Entries that came to a reader once more, over all readers.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

/// How long entries were on their way.
pub(super) static DELIVERY_P99: ObjectiveDef = ObjectiveDef {
    name: "delivery_p99",
    phrase: "p99 of an entry's way to its readers",
    help: "99th percentile of the times from an entry's send until a reader has it. People who watch an agent's words appear notice half a second.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.5,
};

/// Readers that had to come back.
pub(super) static READS_CUT_OFF: ObjectiveDef = ObjectiveDef {
    name: "reads_cut_off",
    phrase: "the number of reads that lost their connection",
    help: "Blocking reads whose connection was closed, or never answered, before their time was over. Somebody kills clients, or a time-out on the way is shorter than `block`.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Warning,
    limit: 0.0,
};

/// Every objective.
pub(super) const OBJECTIVES: &[&ObjectiveDef] = &[
    &STOP_CHECK_TIMEOUTS,
    &TIMEOUT_RATE,
    &ENTRIES_LOST,
    &ENTRIES_OUT_OF_ORDER,
    &ENTRIES_DUPLICATED,
    &DELIVERY_P99,
    &READS_CUT_OFF,
    &POOL_WAIT_P99,
    &POOL_UTILISATION,
    &BLOCKED_SHARE,
    &REJECTED_CONNECTIONS,
];
