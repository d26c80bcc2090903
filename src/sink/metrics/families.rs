//! The metrics that every probe has and those of the daemon itself: names, types, labels, help.
//!
//! Each is a line of the contract. A probe's own metrics are declared beside the probe; how samples become text is in
//! `render`.

/// Of one job: each series has the labels `target` and `probe`, and `variant` where the job sets one.
pub(crate) mod job {
    measure::metrics! {
        /// Runs that ended, whatever came of them: measured, failed, skipped or halted.
        counter RUNS = "redprobe_runs_total";
        /// Runs that were not measured, by reason, and measured ones that missed an objective (reason "objective").
        counter RUN_FAILURES = "redprobe_run_failures_total" [reason];
        /// Runs that were not attempted, by reason.
        counter RUNS_SKIPPED = "redprobe_runs_skipped_total" [reason];
        /// Runs that were stopped half-way because going on could have done harm, by reason.
        counter RUNS_HALTED = "redprobe_runs_halted_total" [reason];
        /// Runs of the job that are under way.
        gauge IN_PROGRESS = "redprobe_runs_in_progress";
        /// Scheduled runs that never came, because the daemon did not run at their time.
        counter MISSED_TICKS = "redprobe_schedule_missed_ticks_total";
        /// Due runs in a row that were skipped or never came, since one last began. Two are overdue, and results disappear.
        gauge MISSED_RUNS = "redprobe_missed_runs";
        /// Whether the last run was measured and met its objectives (1) or not (0); skipped and halted runs leave it.
        gauge RUN_SUCCESS = "redprobe_run_success";
        /// 1 for the reason why the last run was not measured; absent where it was.
        gauge UNMEASURED = "redprobe_run_unmeasured" [reason];
        /// How long the last run took, clean-up apart.
        gauge RUN_DURATION = "redprobe_run_duration_seconds";
        /// When the last run began that was neither skipped nor halted; absent until there is one.
        gauge LAST_RUN = "redprobe_last_run_timestamp_seconds";
        /// When the last run began that was measured and met its objectives; absent until there is one.
        gauge LAST_SUCCESS = "redprobe_last_success_timestamp_seconds";
        /// When the next run is due; absent for a job that runs only when asked.
        gauge NEXT_RUN = "redprobe_next_run_timestamp_seconds";
        /// Whether the last run met the objective (1) or not (0).
        gauge OBJECTIVE_MET = "redprobe_objective_met" [objective, severity, direction];
        /// What the last run observed of the objective, in the objective's unit.
        gauge OBJECTIVE_OBSERVED = "redprobe_objective_observed" [objective, severity, direction];
        /// The limit of the objective: observed must be at most (max) or at least (min) this.
        gauge OBJECTIVE_LIMIT = "redprobe_objective_limit" [objective, severity, direction];
        /// Response time of the last run's successes, from the intended start; a quantile is absent where samples are too few.
        gauge RUN_LATENCY = "redprobe_run_latency_seconds" [phase, operation, quantile];
        /// Successful operations per second in a phase of the last run.
        gauge RUN_OPERATIONS = "redprobe_run_operations_per_second" [phase, operation];
        /// Failed share of the operations sent in a phase of the last run.
        gauge RUN_ERROR_RATIO = "redprobe_run_error_ratio" [phase, operation];
        /// Time of successful operations from the intended start to the last byte of the reply.
        histogram OPERATION_RESPONSE = "redprobe_operation_response_seconds" [operation];
        /// Time of successful operations from the send to the last byte of the reply.
        histogram OPERATION_SERVICE = "redprobe_operation_service_seconds" [operation];
        /// Operations sent, those that failed too.
        counter OPERATIONS = "redprobe_operations_total" [operation];
        /// Operations that failed, by reason.
        counter OPERATION_ERRORS = "redprobe_operation_errors_total" [operation, reason];
        /// Time until a pool handed out a connection.
        histogram POOL_WAIT = "redprobe_pool_wait_seconds" [pool];
        /// Waits for a pool's connection that ended without one.
        counter POOL_WAIT_FAILURES = "redprobe_pool_wait_failures_total" [pool];
        /// Checks of the last audit, by severity and status.
        gauge AUDIT_CHECKS = "redprobe_audit_checks" [severity, status];
        /// 1 for each check that the last audit found failing; absent for the others.
        gauge AUDIT_CHECK_FAILING = "redprobe_audit_check_failing" [check, severity];
        /// 1 for each reason to doubt the last run's figures; absent for the others.
        gauge DOUBTS = "redprobe_doubts" [doubt];
    }
}

/// Of one target: each series has the label `target`.
pub(crate) mod target {
    measure::metrics! {
        /// Always 1; the labels tell what the configuration says of the target: for joins in queries and rules.
        gauge INFO = "redprobe_target_info" [environment, profile];
        /// Whether the target answered the last health check (1) or not (0).
        gauge UP = "redprobe_up";
        /// Settings of the target that were changed and could not be put back.
        gauge UNRESTORED_SETTINGS = "redprobe_unrestored_settings";
        /// Own keys that runs could not remove: a later run will, or their TTL.
        gauge LEFTOVER_KEYS = "redprobe_leftover_keys";
        /// Nodes of the cluster, as this one of them sees it, that the target does not name: nobody watches those.
        gauge UNNAMED_NODES = "redprobe_cluster_unnamed_nodes";
        /// Whether anything on the target is halted (1) until somebody allows it again, or nothing (0).
        gauge HALTED = "redprobe_halted";
        /// When the target's certificate expires; absent without TLS, and until it has been seen.
        gauge TLS_EXPIRY = "redprobe_tls_certificate_expiry_timestamp_seconds";
        /// When the certificate expires that redprobe shows to the target; absent where there is none.
        gauge TLS_CLIENT_EXPIRY = "redprobe_tls_client_certificate_expiry_timestamp_seconds";
    }
}

/// Of the daemon.
pub(crate) mod daemon {
    measure::metrics! {
        /// Always 1; the label tells which build this is.
        gauge BUILD_INFO = "redprobe_build_info" [version];
        /// Always 1; the labels tell which part of the targets this daemon has, of how many. Absent where it has all.
        gauge SHARD_INFO = "redprobe_shard_info" [shard, shards];
        /// Whether the last reading of the configuration was successful (1) or the one before stays in force (0).
        gauge RELOAD_SUCCESSFUL = "redprobe_config_last_reload_successful";
        /// When the configuration in force was read.
        gauge RELOAD_SUCCESS_TIME = "redprobe_config_last_reload_success_timestamp_seconds";
        /// Runs that could not be written to the history.
        counter HISTORY_WRITE_ERRORS = "redprobe_history_write_errors_total";
        /// How late the event loop woke up when last asked.
        gauge EVENT_LOOP_LAG = "redprobe_event_loop_lag_seconds";
        /// How late scheduled runs started.
        histogram START_LATENESS = "redprobe_schedule_start_lateness_seconds";
        /// Connections to the HTTP server that are open.
        gauge HTTP_CONNECTIONS = "redprobe_http_connections";
        /// Connections to the HTTP server that were closed, or turned away, because there were too many.
        counter HTTP_CONNECTIONS_SHED = "redprobe_http_connections_shed_total";
        /// Requests that the HTTP server answered, by the class of the status.
        counter HTTP_REQUESTS = "redprobe_http_requests_total" [code];
    }
}

/// All of them, group by group.
pub(super) const ALL: [&[&measure::metric::MetricDef]; 3] = [job::METRICS, target::METRICS, daemon::METRICS];

/// The labels that say whose a series is, before the metric's own. Those that are empty are left out of the series.
pub(super) fn owner_labels(def: &measure::metric::MetricDef) -> &'static [&'static str] {
    let among = |group: &[&measure::metric::MetricDef]| group.iter().any(|one| one.name == def.name);
    if among(daemon::METRICS) {
        &[]
    } else if among(target::METRICS) {
        &["target", "node"]
    } else {
        &["target", "node", "probe", "variant"]
    }
}
