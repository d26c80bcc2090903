//! Faults of the server itself: what it refuses, and when it is stopped or gone.

use testkit::{RedisServer, poll_until};

use super::{
    bed::PATIENCE,
    check::Comes::{Error, Never, Passed, Skipped, Unmet},
    faults,
};

faults! {
    refused {
        cause: |bed| bed.server.kill(),
        lift: |bed| bed.server.restart(),
        comes: &[
            ("ping", Error("connect_refused")),
            ("info", Error("connect_refused")),
            ("health", Error("connect_refused")),
            ("latency", Error("connect_refused")),
            ("throughput", Error("connect_refused")),
        ],
    }

    /// Between two runs, which is no concern of theirs.
    restarted {
        cause: |bed| bed.server.restart(),
        comes: &[("ping", Passed), ("info", Passed), ("health", Passed), ("latency", Passed), ("throughput", Passed)],
    }

    /// SIGSTOP: the kernel still accepts connections, and nothing is answered.
    stopped {
        cause: |bed| bed.server.pause(),
        lift: |bed| bed.server.resume(),
        comes: &[
            ("ping", Error("timeout")),
            ("health", Error("timeout")),
            ("latency", Error("timeout")),
            ("throughput", Error("timeout")),
        ],
    }

    writes_paused {
        cause: |bed| bed.server.ok(&["CLIENT", "PAUSE", "60000", "WRITE"]),
        lift: |bed| bed.server.ok(&["CLIENT", "UNPAUSE"]),
        comes: &[
            ("ping", Passed),
            ("health", Error("timeout")),
            ("throughput", Error("timeout")),
        ],
    }

    noauth {
        arguments: &["--requirepass", "hunter2"],
        login: ":hunter2@",
        cause: |bed| bed.redirect(&bed.server.url()),
        lift: |bed| bed.direct(),
        comes: &[
            ("ping", Error("auth_required")),
            ("health", Error("auth_required")),
            ("latency", Error("auth_required")),
            ("throughput", Error("auth_required")),
        ],
    }

    /// The password is changed under way, and the connections of the user are ended.
    wrongpass {
        prepare: |server| server.ok(&["ACL", "SETUSER", "prober", "on", ">hunter2", "~*", "&*", "+@all"]),
        login: "prober:hunter2@",
        cause: |bed| {
            bed.server.ok(&["ACL", "SETUSER", "prober", "resetpass", ">other"]);
            bed.disconnect_all();
        },
        lift: |bed| bed.server.ok(&["ACL", "SETUSER", "prober", "resetpass", ">hunter2"]),
        comes: &[
            ("ping", Error("auth_rejected")),
            ("health", Error("auth_rejected")),
            ("latency", Error("auth_rejected")),
            ("throughput", Error("auth_rejected")),
        ],
    }

    noperm {
        prepare: |server| server.ok(&["ACL", "SETUSER", "prober", "on", ">hunter2", "~*", "&*", "+@all"]),
        login: "prober:hunter2@",
        cause: |bed| bed.server.ok(&["ACL", "SETUSER", "prober", "-set"]),
        lift: |bed| bed.server.ok(&["ACL", "SETUSER", "prober", "+set"]),
        comes: &[
            ("info", Passed),
            ("health", Error("denied")),
            ("latency", Never("set", "denied")),
            ("throughput", Error("denied")),
        ],
    }

    loading {
        cause: |bed| {
            let fill = "for i = 1, 20000 do redis.call('SET', i, string.rep('x', 100)) end";
            assert_eq!(bed.server.cli(&["EVAL", fill, "0"]), "");
            bed.server.ok(&["SAVE"]);
            let slow = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
            bed.server.restart_with(&slow);
        },
        lift: |bed| {
            bed.server.ok(&["CONFIG", "SET", "key-load-delay", "0"]);
            await_field(&bed.server, "loading", "0");
        },
        comes: &[
            ("ping", Error("loading")),
            ("health", Error("loading")),
            ("latency", Skipped("loading")),
            ("throughput", Skipped("loading")),
        ],
    }

    busy {
        arguments: &["--busy-reply-threshold", "50"],
        cause: |bed| {
            bed.held.push(bed.server.send("EVAL 'while true do end' 0"));
            assert!(poll_until(PATIENCE, || bed.server.cli(&["PING"]).starts_with("BUSY")));
        },
        lift: |bed| {
            bed.server.ok(&["SCRIPT", "KILL"]);
            bed.held.clear();
        },
        comes: &[
            ("ping", Error("busy")),
            ("info", Error("busy")),
            ("health", Error("busy")),
            ("latency", Error("busy")),
            ("throughput", Error("busy")),
        ],
    }

    /// A background save failed, as it does on a full disk.
    misconf {
        arguments: &["--enable-protected-configs", "yes", "--save", "3600 1000000"],
        cause: |bed| {
            bed.server.ok(&["CONFIG", "SET", "dir", "/proc"]);
            save(&bed.server, "err");
        },
        lift: |bed| {
            let directory = bed.server.directory();
            bed.server.ok(&["CONFIG", "SET", "dir", directory.to_str().expect("a plain path")]);
            save(&bed.server, "ok");
        },
        comes: &[
            ("info", Unmet("persistence_failures")),
            ("health", Error("misconf")),
            ("latency", Never("set", "misconf")),
            ("throughput", Error("misconf")),
        ],
    }

    oom {
        cause: |bed| bed.server.ok(&["CONFIG", "SET", "maxmemory", "1"]),
        lift: |bed| bed.server.ok(&["CONFIG", "SET", "maxmemory", "0"]),
        comes: &[
            ("ping", Passed),
            ("info", Unmet("memory_ratio")),
            ("health", Error("oom")),
            ("latency", Never("set", "oom")),
            ("throughput", Skipped("precondition")),
        ],
    }

    /// A failover has made the master a replica.
    readonly {
        cause: |bed| bed.server.ok(&["REPLICAOF", "127.0.0.1", "1"]),
        lift: |bed| bed.server.ok(&["REPLICAOF", "NO", "ONE"]),
        comes: &[
            ("ping", Passed),
            ("info", Unmet("master_link_down")),
            ("health", Error("readonly")),
            ("latency", Skipped("readonly")),
            ("throughput", Skipped("readonly")),
        ],
    }

    masterdown {
        arguments: &["--replica-serve-stale-data", "no"],
        cause: |bed| bed.server.ok(&["REPLICAOF", "127.0.0.1", "1"]),
        lift: |bed| bed.server.ok(&["REPLICAOF", "NO", "ONE"]),
        comes: &[
            ("ping", Error("masterdown")),
            ("info", Unmet("master_link_down")),
            ("health", Error("readonly")),
        ],
    }

    noreplicas {
        cause: |bed| bed.server.ok(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
        lift: |bed| bed.server.ok(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
        comes: &[
            ("ping", Passed),
            ("health", Error("noreplicas")),
            ("latency", Never("set", "noreplicas")),
            ("throughput", Error("noreplicas")),
        ],
    }

    clusterdown {
        arguments: &["--cluster-enabled", "yes"],
        prepare: |server| {
            server.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
            await_cluster(server, "ok");
        },
        cause: |bed| {
            bed.server.ok(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
            await_cluster(&bed.server, "fail");
        },
        lift: |bed| {
            bed.server.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
            await_cluster(&bed.server, "ok");
        },
        comes: &[
            ("ping", Passed),
            ("health", Error("clusterdown")),
            ("latency", Never("set", "clusterdown")),
            ("throughput", Error("clusterdown")),
        ],
    }

    maxclients {
        arguments: &["--maxclients", "20"],
        cause: |bed| {
            bed.disconnect_all();
            bed.take_all_connections();
        },
        lift: |bed| {
            bed.held.clear();
            assert!(poll_until(PATIENCE, || bed.server.cli(&["PING"]) == "PONG"));
        },
        comes: &[
            ("ping", Error("rejected")),
            ("info", Error("rejected")),
            ("health", Error("rejected")),
            ("latency", Error("rejected")),
            ("throughput", Error("rejected")),
        ],
    }
}

fn await_field(server: &RedisServer, field: &str, wanted: &str) {
    let came = poll_until(PATIENCE, || server.info(field) == wanted);
    assert!(came, "{field} stays {}", server.info(field));
}

fn await_cluster(server: &RedisServer, state: &str) {
    let wanted = format!("cluster_state:{state}");
    assert!(poll_until(PATIENCE, || server.cli(&["CLUSTER", "INFO"]).contains(&wanted)), "not {state}");
}

/// Saves in the background and waits for it to end in this status.
fn save(server: &RedisServer, status: &str) {
    let came = poll_until(PATIENCE, || {
        let _started = server.cli(&["BGSAVE"]);
        server.info("rdb_last_bgsave_status") == status
    });
    assert!(came, "the save does not end {status}:\n{}", server.log());
    await_field(server, "rdb_bgsave_in_progress", "0");
}
