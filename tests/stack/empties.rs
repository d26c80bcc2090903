//! Expressions of dashboards that have no data in the demo, each with its reason.
//!
//! Leave that is not needed any more fails the test, so that this table does not outlive what it says.

use crate::monitoring::dashboards::Expression;

/// When an expression is empty in the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Whatever happens.
    Always,
    /// Where the machine is as it should be, or busy: nothing that the demo can decide.
    Perhaps,
}

use When::{Always, Perhaps};

/// A part of `panel: expression` of each expression that is meant, when it is empty, and why.
const EMPTY: &[(&str, When, &str)] = &[
    ("redprobe_config_audit_last_change_", Always, "nobody changes a setting"),
    ("redprobe_runs_skipped_total", Perhaps, "a run is skipped only where a busy machine makes two meet"),
    ("redprobe_runs_halted_total", Perhaps, "a run is halted only where the server does not answer"),
    ("redprobe_server_info_errors_total", Perhaps, "a server that is well answers with no errors"),
    ("redprobe_server_info_aof_size_", Always, "the private server keeps nothing on disk"),
    ("redprobe_server_info_aof_base_size_", Always, "the private server keeps nothing on disk"),
    ("redprobe_server_info_aof_delayed_fsyncs_", Always, "the private server keeps nothing on disk"),
    ("redprobe_server_info_aof_pending_fsyncs", Always, "the private server keeps nothing on disk"),
    ("redprobe_server_info_aof_last_rewrite_duration_", Always, "the private server keeps nothing on disk"),
    ("redprobe_server_info_rdb_last_save_duration_", Always, "the private server keeps nothing on disk"),
    ("Link to the master: ", Always, "it has no master"),
    ("redprobe_server_info_master_last_io_", Always, "it has no master"),
    ("redprobe_server_info_replica_lag_", Always, "it has no replica"),
    ("objective=\"fragmentation_ratio", Perhaps, "it is judged only where more than 64 MB are lost"),
    ("objective=\"replica_lag\"", Always, "it has no replica"),
    ("redprobe_tls_certificate_expiry_", Always, "it speaks no TLS"),
    ("redprobe_tls_client_certificate_expiry_", Always, "it speaks no TLS"),
];

/// Whether it may be empty.
pub(super) fn allowed(expression: &Expression) -> bool {
    EMPTY.iter().any(|(part, _, _)| is_meant(part, expression))
}

/// Leave that nothing needs: no expression is meant, or one that is meant has data.
pub(super) fn stale(all: &[Expression], empty: &[&Expression]) -> Vec<String> {
    let needless = |(part, when, _): &&(&str, When, &str)| {
        let meant = all.iter().filter(|expression| is_meant(part, expression)).count();
        let empty = empty.iter().filter(|expression| is_meant(part, expression)).count();
        meant == 0 || (*when == Always && empty < meant)
    };
    EMPTY
        .iter()
        .filter(needless)
        .map(|(part, _, _)| format!("{part:?} need not be allowed to be empty"))
        .collect()
}

fn is_meant(part: &str, expression: &Expression) -> bool {
    format!("{}: {}", expression.place, expression.text).contains(part)
}
