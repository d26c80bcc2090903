//! The rules of `layers.rs`: what each forbids, where, why, and an example that breaks it.

use super::source::Source;

/// Line and what is wrong there.
type Finding = (usize, String);

/// One rule.
pub(super) struct Rule {
    /// In a few words.
    pub(super) name: &'static str,
    /// The reason: what goes wrong without it, and where the thing belongs instead.
    pub(super) why: &'static str,
    /// The files that it speaks of.
    pub(super) applies: fn(&str) -> bool,
    /// What breaks it.
    pub(super) finds: fn(&Source) -> Vec<Finding>,
    /// A path and a text that break it: proof that the rule is awake.
    pub(super) breach: (&'static str, fn() -> String),
}

/// Files of the daemon and of the core; not their tests.
fn shipped(path: &str) -> bool {
    (path.starts_with("src/") || path.starts_with("crates/measure/src/")) && !path.ends_with("/tests.rs")
}

fn is_probe(path: &str) -> bool {
    path.starts_with("src/probes/") && path != "src/probes/mod.rs"
}

/// Uses of the crate's own modules `names`, by `use` or by path.
fn uses(source: &Source, names: &[&str]) -> Vec<Finding> {
    source
        .crate_paths()
        .into_iter()
        .filter(|(_, path)| {
            names.iter().any(|name| {
                path.strip_prefix("crate::")
                    .and_then(|rest| rest.strip_prefix(name))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })
        })
        .collect()
}

fn words(source: &Source, words: &[&str]) -> Vec<Finding> {
    words.iter().flat_map(|word| source.find(word)).collect()
}

/// A command as the words of the code say it: a string literal of its own, or within an encoded request.
fn commands(source: &Source, names: &[&str]) -> Vec<Finding> {
    names
        .iter()
        .flat_map(|name| {
            [format!("\"{name}\""), format!("\\r\\n{name}\\r\\n")]
                .into_iter()
                .flat_map(|form| source.find(&form))
                .collect::<Vec<_>>()
        })
        .collect()
}

const WRITING: &[&str] = &[
    "SET", "MSET", "SETEX", "PSETEX", "SETNX", "GETSET", "GETDEL", "GETEX", "APPEND", "INCR", "INCRBY",
    "DECR", "DEL", "UNLINK", "EXPIRE", "PEXPIRE", "PERSIST", "RENAME", "COPY", "RESTORE", "HSET", "HDEL",
    "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "SREM", "ZADD", "ZREM", "XADD", "XDEL", "XTRIM", "XGROUP",
    "XACK", "SETBIT", "PFADD", "GEOADD", "EVAL", "EVALSHA", "FCALL", "PUBLISH",
];

/// The one file that sends CONFIG SET.
const CHANGES_SETTINGS: &str = "crates/measure/src/journal/settings.rs";

const NEVER: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "KEYS",
    "RESETSTAT",
    "REWRITE",
    "SWAPDB",
    "MIGRATE",
    "SHUTDOWN",
    "REPLICAOF",
    "SLAVEOF",
    "FAILOVER",
    "MONITOR",
];

/// All of them.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "files open with their purpose",
        why: "the first lines say what a file is, what does not belong in it and where that goes instead (`//! …`)",
        applies: |_| true,
        finds: |source| {
            if source.whole.starts_with("//! ") {
                Vec::new()
            } else {
                vec![(1, "does not begin with `//! `".into())]
            }
        },
        breach: ("src/a.rs", || "use std::fs;\n".into()),
    },
    Rule {
        name: "files are short",
        why: "what does not fit into 450 lines is more than one thing: split it by what it is about",
        applies: |_| true,
        finds: |source| {
            let lines = source.whole.lines().count();
            if lines > 450 { vec![(451, format!("has {lines} lines"))] } else { Vec::new() }
        },
        breach: ("src/a.rs", || "//! a\n".repeat(451)),
    },
    Rule {
        name: "one place talks to Prometheus",
        why: "names, labels and the life of a series are decided once, in sink/metrics; everyone else passes a MetricDef",
        applies: |path| shipped(path) && !path.starts_with("src/sink/metrics"),
        finds: |source| words(source, &["prometheus::", "use prometheus"]),
        breach: ("src/http/metrics.rs", || "//! a\nfn f(_: prometheus::Gauge) {}\n".into()),
    },
    Rule {
        name: "one place talks to the cron library",
        why: "it has traps (local time, silent overlap, lost jobs) that schedule/cron.rs walls in",
        applies: |path| shipped(path) && path != "src/schedule/cron.rs",
        finds: |source| words(source, &["tokio_cron_scheduler"]),
        breach: ("src/schedule/mod.rs", || "//! a\nuse tokio_cron_scheduler::Job;\n".into()),
    },
    Rule {
        name: "probes reach only what ProbeCx gives",
        why: "a probe returns data; publishing, scheduling, judging and HTTP are done by others with what it returns",
        applies: is_probe,
        finds: |source| {
            const OTHERS: &[&str] = &[
                "sink",
                "http",
                "schedule",
                "daemon",
                "cli",
                "verdict",
                "selfwatch",
                "telemetry",
                "shutdown",
            ];
            // Formats numbers for a conclusion; judges nothing.
            uses(source, OTHERS)
                .into_iter()
                .filter(|(_, path)| !path.starts_with("crate::verdict::human"))
                .collect()
        },
        breach: ("src/probes/a.rs", || "//! a\nuse crate::{probe::Probe, sink::metrics::Metrics};\n".into()),
    },
    Rule {
        name: "probes see settings, not the configuration",
        why: "a probe gets its settings checked and its target through ProbeCx; only config::settings is for probes",
        applies: is_probe,
        finds: |source| {
            uses(source, &["config"])
                .into_iter()
                .filter(|(_, path)| !path.starts_with("crate::config::settings"))
                .collect()
        },
        breach: ("src/probes/a.rs", || "//! a\nuse crate::config::{Plan, settings::Span};\n".into()),
    },
    Rule {
        name: "probes start nothing that outlives them",
        why: "the runner drops a probe at its deadline; a task, thread or process of its own would go on and miss clean-up",
        applies: is_probe,
        finds: |source| {
            words(
                source,
                &[
                    "tokio::spawn",
                    "tokio::task",
                    "std::thread",
                    "thread::spawn",
                    "std::process",
                    "tokio::process",
                ],
            )
        },
        breach: ("src/probes/a.rs", || "//! a\nfn f() { tokio::spawn(async {}); }\n".into()),
    },
    Rule {
        name: "probes read time through measure::clock",
        why: "one clock for every figure; the deadline is the runner's, so a probe has no time-out of its own either",
        applies: is_probe,
        finds: |source| {
            words(
                source,
                &[
                    "Instant::now",
                    "SystemTime",
                    "std::time::Instant",
                    "tokio::time::Instant",
                    "tokio::time::timeout",
                    "time::timeout",
                ],
            )
        },
        breach: ("src/probes/a.rs", || {
            "//! a\nuse std::time::{Instant};\nfn f() { Instant::now(); }\n".into()
        }),
    },
    Rule {
        name: "probes do not log",
        why: "the runner logs a failure once, with its run; what a person should read later goes to cx.log",
        applies: is_probe,
        finds: |source| words(source, &["tracing", "println!", "eprintln!", "print!", "eprint!"]),
        breach: ("src/probes/a.rs", || "//! a\nfn f() { tracing::error!(\"no\"); }\n".into()),
    },
    Rule {
        name: "HTTP starts nothing itself",
        why: "every run goes through the daemon's runner; a route that reached a probe would pass by permits and deadlines",
        applies: |path| path.starts_with("src/http/"),
        finds: |source| {
            let mut found = uses(source, &["cli"]);
            found.extend(words(
                source,
                &["ProbeCx", "KeySpace", "DynProbe", "measure::load", "measure::conn"],
            ));
            found
        },
        breach: ("src/http/runs.rs", || "//! a\nuse crate::probe::ProbeCx;\n".into()),
    },
    Rule {
        name: "sinks take records and ask nobody",
        why: "/metrics only reads memory: a sink that knew the scheduler or HTTP could wait for them",
        applies: |path| path.starts_with("src/sink/"),
        finds: |source| uses(source, &["http", "schedule", "daemon", "cli", "selfwatch", "shutdown"]),
        breach: ("src/sink/history.rs", || "//! a\nuse crate::schedule::runner::Runner;\n".into()),
    },
    Rule {
        name: "verdicts come from data",
        why: "a grade follows from a report and its limits alone, so that it can be had again from history",
        applies: |path| path.starts_with("src/verdict/"),
        finds: |source| uses(source, &["http", "schedule", "daemon", "cli", "sink", "selfwatch", "shutdown"]),
        breach: ("src/verdict/mod.rs", || "//! a\nuse crate::sink::Record;\n".into()),
    },
    Rule {
        name: "the configuration knows nothing that runs",
        why: "`redprobe check` opens no socket, so what reads the configuration may not reach what does",
        applies: |path| path.starts_with("src/config/"),
        finds: |source| {
            uses(source, &["http", "schedule", "daemon", "cli", "sink", "verdict", "selfwatch", "shutdown"])
        },
        breach: ("src/config/raw.rs", || "//! a\nuse crate::{daemon::Daemon, probe};\n".into()),
    },
    Rule {
        name: "what a user must be allowed is gathered, not run",
        why: "a rule follows from declarations and a version; when a server is asked, and who is told, is the runner's",
        applies: |path| path.starts_with("src/acl/"),
        finds: |source| {
            uses(source, &["http", "schedule", "daemon", "cli", "sink", "verdict", "selfwatch", "shutdown"])
        },
        breach: ("src/acl/mod.rs", || "//! a\nuse crate::schedule::runner::Runner;\n".into()),
    },
    Rule {
        name: "the runner does not know its callers",
        why: "scheduler, command line and HTTP all call the runner; were it to know one, the others would run differently",
        applies: |path| path.starts_with("src/schedule/"),
        finds: |source| uses(source, &["http", "daemon", "cli", "telemetry"]),
        breach: ("src/schedule/runner.rs", || "//! a\nuse crate::http::page;\n".into()),
    },
    Rule {
        name: "one place writes keys",
        why: "every write needs the own prefix and a TTL in the same command; measure::keys and measure::lease give both",
        applies: |path| {
            shipped(path)
                && !["keys", "lease"]
                    .iter()
                    .any(|name| path.starts_with(&format!("crates/measure/src/{name}")))
        },
        finds: |source| {
            let mut found = commands(source, WRITING);
            // The SET of CONFIG SET, which the next rule is about.
            found.retain(|(_, line)| source.path != CHANGES_SETTINGS || line != r#"command.arg("SET");"#);
            found.extend(words(
                source,
                &["AsyncCommands", "AsyncTypedCommands", "TypedCommands", "redis::Commands", "Script::new"],
            ));
            found
        },
        breach: ("src/probes/a.rs", || "//! a\nfn f() { redis::cmd(\"SET\").arg(\"x\"); }\n".into()),
    },
    Rule {
        name: "one place changes settings",
        why: "what a setting was must be on the disk before it is changed; measure::journal sees to that, and puts it back",
        applies: |path| shipped(path) && path != CHANGES_SETTINGS,
        finds: |source| {
            let config = commands(source, &["CONFIG"]);
            let mut found = if config.is_empty() { Vec::new() } else { commands(source, &["SET", "set"]) };
            found.extend(commands(source, &["CONFIG SET", "config set"]));
            found
        },
        breach: ("crates/measure/src/keys/a.rs", || {
            "//! a\nfn f() { redis::cmd(\"CONFIG\").arg(\"SET\").arg(\"maxmemory\"); }\n".into()
        }),
    },
    Rule {
        name: "some commands are never sent",
        why: "they take other people's data or evidence, or stop the server: work on own keys and on differences instead",
        applies: shipped,
        finds: |source| commands(source, NEVER),
        breach: ("crates/measure/src/keys.rs", || "//! a\nfn f() { redis::cmd(\"FLUSHDB\"); }\n".into()),
    },
    Rule {
        name: "only the command line prints",
        why: "stdout is the report's and stderr the log's; everything else is logged or returned",
        applies: |path| shipped(path) && !path.starts_with("src/cli") && path != "src/main.rs",
        finds: |source| words(source, &["println!", "eprintln!", "print!", "eprint!"]),
        breach: ("src/daemon.rs", || "//! a\nfn f() { println!(\"no\"); }\n".into()),
    },
    Rule {
        name: "the core knows no daemon",
        why: "crates/measure is measured, tested and reused without one",
        applies: |path| path.starts_with("crates/measure/"),
        finds: |source| words(source, &["redprobe::", "axum", "hyper", "clap", "prometheus"]),
        breach: ("crates/measure/src/report.rs", || "//! a\nuse prometheus::Gauge;\n".into()),
    },
];
