//! What holds for every fault: one record with the right reason, in time; nothing left; others unaffected; recovery.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{RedisServer, poll_until};
use tokio::time::Instant;

use super::bed::{Bed, HEALTHY, JOBS, Job, PATIENCE, job};

/// A way to break a server, what comes of it, and how it ends.
pub(super) struct Fault {
    /// Further arguments of the server.
    pub(super) arguments: &'static [&'static str],
    /// What to do to it before the daemon starts.
    pub(super) prepare: fn(&RedisServer),
    /// `user:password@` of its URL.
    pub(super) login: &'static str,
    /// Whether the daemon comes to it through the fault proxy.
    pub(super) proxied: bool,
    /// How long the jobs `latency` and `throughput` measure.
    pub(super) lasts: &'static str,
    /// Whether it strikes while the (then only) job runs, and not before.
    pub(super) midrun: bool,
    /// Brings it about. Returns when it is so.
    pub(super) cause: fn(&mut Bed),
    /// Ends it. Returns when all is well again.
    pub(super) lift: fn(&mut Bed),
    /// What runs of these jobs come to meanwhile.
    pub(super) comes: &'static [(&'static str, Comes)],
}

impl Fault {
    pub(super) const NONE: Self = Self {
        arguments: &[],
        prepare: |_| {},
        login: "",
        proxied: false,
        lasts: "500ms",
        midrun: false,
        cause: |_| {},
        lift: |_| {},
        comes: &[],
    };
}

/// What a run comes to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Comes {
    Passed,
    /// Not measured, for this reason.
    Error(&'static str),
    /// Not attempted, for this reason.
    Skipped(&'static str),
    /// Stopped, for this reason.
    Halted(&'static str),
    /// Measured; this objective is unmet.
    Unmet(&'static str),
    /// Measured; some operations failed for this reason.
    Failing(&'static str),
    /// Measured; every one of this kind of operation failed, for this reason.
    Never(&'static str, &'static str),
}

impl Comes {
    fn outcome(self) -> &'static str {
        match self {
            Comes::Passed => "passed",
            Comes::Error(_) => "error",
            Comes::Skipped(_) => "skipped",
            Comes::Halted(_) => "halted",
            Comes::Unmet(_) | Comes::Failing(_) | Comes::Never(..) => "failed",
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Comes::Error(reason) | Comes::Skipped(reason) | Comes::Halted(reason) => Some(reason),
            Comes::Passed | Comes::Unmet(_) | Comes::Failing(_) | Comes::Never(..) => None,
        }
    }

    /// The counter that it adds one to, and the reason there.
    fn counter(self) -> Option<(&'static str, &'static str)> {
        match self {
            Comes::Passed => None,
            Comes::Error(reason) => Some(("redprobe_run_failures_total", reason)),
            Comes::Skipped(reason) => Some(("redprobe_runs_skipped_total", reason)),
            Comes::Halted(reason) => Some(("redprobe_runs_halted_total", reason)),
            Comes::Unmet(_) | Comes::Failing(_) | Comes::Never(..) => {
                Some(("redprobe_run_failures_total", "objective"))
            }
        }
    }
}

/// The password in [`Fault::login`], which nobody may read anywhere.
pub(super) const PASSWORD: &str = "hunter2";

/// Longest time that clean-up may take after a run's own timeout.
const CLEAN_UP: Duration = Duration::from_secs(10);
/// For a busy machine, where a bound is checked.
const SLACK: Duration = Duration::from_secs(5);

/// Checks all of it.
pub(super) fn check(fault: &Fault) {
    let mut bed = Bed::new(fault);
    // So that there is a kept connection to every target, as there is to one that has been well so far.
    for name in ["ping", "health", "spare", HEALTHY] {
        run(&bed, job(name), Comes::Passed);
    }
    let files = bed.open_files();
    if fault.midrun {
        strike_midrun(&mut bed, fault);
    } else {
        (fault.cause)(&mut bed);
        for (name, comes) in fault.comes {
            run(&bed, job(name), *comes);
        }
    }
    (fault.lift)(&mut bed);
    only_kept_connections(&bed.server, 3);
    for (name, _) in fault.comes {
        run(&bed, job(name), Comes::Passed);
    }
    nothing_is_left(&bed);
    let closed = poll_until(PATIENCE, || bed.open_files() <= files);
    assert!(closed, "{} open files were {files} before", bed.open_files());
    assert!(!bed.daemon.log().contains(PASSWORD), "{}", bed.daemon.log());
    assert_eq!(bed.daemon.stop(), Some(0), "{}", bed.daemon.log());
}

/// Runs a job once, and the healthy target's beside it.
fn run(bed: &Bed, job: &Job, comes: Comes) {
    let before = Counts::of(bed, job);
    let started = Instant::now();
    let id = bed.start(job);
    if job.name != HEALTHY {
        run(bed, self::job(HEALTHY), Comes::Passed);
    }
    let record = bed.record(&id);
    judge(bed, job, comes, (&before, &record, started));
}

/// Starts the job, breaks the server once load is on it, and waits for the record.
fn strike_midrun(bed: &mut Bed, fault: &Fault) {
    let &[(name, comes)] = fault.comes else { panic!("one job at a time") };
    let job = job(name);
    let before = Counts::of(bed, job);
    let started = Instant::now();
    let id = bed.start(job);
    let under_way = poll_until(PATIENCE, || {
        let stat = bed.server.cli(&["INFO", "commandstats"]);
        let calls = stat.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")?.split(',').next());
        calls.and_then(|calls| calls.parse().ok()).is_some_and(|calls: u64| calls > 25)
    });
    assert!(under_way, "no load comes; the daemon's log:\n{}", bed.daemon.log());
    (fault.cause)(bed);
    run(bed, self::job(HEALTHY), Comes::Passed);
    let record = bed.record(&id);
    judge(bed, job, comes, (&before, &record, started));
    assert_ne!(record["operations"], json!([]), "what was measured by then is told: {record:#}");
}

/// What the daemon has counted of a job.
#[derive(Debug)]
struct Counts {
    records: usize,
    scrape: String,
}

impl Counts {
    fn of(bed: &Bed, job: &Job) -> Self {
        Self { records: bed.records(job).len(), scrape: bed.daemon.scrape() }
    }

    /// The sum of the series of `name` that have the job's labels and these.
    fn sum(&self, name: &str, job: &Job, more: &[(&str, &str)]) -> f64 {
        let labels = [("probe", job.probe), ("target", job.target)];
        let labels: Vec<_> =
            labels.iter().chain(more).map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let of_job = self.scrape.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
                && labels.iter().all(|label| line.contains(label))
        });
        of_job.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

fn judge(bed: &Bed, job: &Job, comes: Comes, (before, record, started): (&Counts, &Value, Instant)) {
    let took = started.elapsed();
    let after = Counts::of(bed, job);
    let shown = format!("{}, which should be {comes:?}: {record:#}", job.name);
    assert!(!shown.contains(PASSWORD) && !after.scrape.contains(PASSWORD), "{shown}");

    assert_eq!(record["outcome"], comes.outcome(), "{shown}");
    assert_eq!(record["reason"].as_str(), comes.reason(), "{shown}");
    assert_eq!(after.records, before.records + 1, "one record: {shown}");
    let grown = |name, more: &[_]| after.sum(name, job, more) - before.sum(name, job, more);
    assert_eq!(grown("redprobe_runs_total", &[]), 1.0, "{shown}");
    if let Some((counter, reason)) = comes.counter() {
        assert_eq!(grown(counter, &[("reason", reason)]), 1.0, "{counter}: {shown}");
    }
    let counters =
        ["redprobe_run_failures_total", "redprobe_runs_skipped_total", "redprobe_runs_halted_total"];
    let counted: f64 = counters.iter().map(|counter| grown(counter, &[])).sum();
    assert_eq!(counted, f64::from(comes.counter().is_some()), "{shown}");
    if job.probe == "health" {
        let up = bed.daemon.metric("redprobe_up", &[&format!("target=\"{}\"", job.target)]);
        assert_eq!(up, Some(f64::from(matches!(comes, Comes::Passed))), "{shown}");
    }

    let timeout = Duration::from_secs(job.timeout);
    assert!(took <= timeout + CLEAN_UP + SLACK, "took {took:?}: {shown}");
    let measured = record["duration_seconds"].as_f64().expect("a duration");
    assert!(measured <= (timeout + SLACK).as_secs_f64(), "{shown}");

    errors_are_no_successes(record, &shown);
    match comes {
        Comes::Unmet(objective) => {
            let objectives = record["objectives"].as_array().expect("objectives");
            assert!(objectives.iter().any(|o| o["name"] == objective && o["met"] == false), "{shown}");
        }
        Comes::Failing(reason) => {
            assert!(grown("redprobe_operation_errors_total", &[("reason", reason)]) > 0.0, "{shown}");
        }
        Comes::Never(operation, reason) => {
            let errors = [("operation", operation), ("reason", reason)];
            let attempts = grown("redprobe_operations_total", &[errors[0]]);
            assert!(attempts > 0.0, "{shown}");
            assert_eq!(grown("redprobe_operation_errors_total", &errors), attempts, "{shown}");
            let rate = after.sum("redprobe_run_operations_per_second", job, &[errors[0]]);
            assert_eq!(rate, 0.0, "no success is no rate: {shown}");
            assert_eq!(grown("redprobe_operation_response_seconds_count", &[errors[0]]), 0.0, "{shown}");
        }
        Comes::Passed | Comes::Error(_) | Comes::Skipped(_) | Comes::Halted(_) => {}
    }
}

/// Every attempt is a success, which has a time, or an error, which has a reason and no time.
fn errors_are_no_successes(record: &Value, shown: &str) {
    for operation in record["operations"].as_array().expect("operations") {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no count: {shown}"));
        let errors: u64 = operation["errors"].as_object().expect("errors").values().map(number).sum();
        assert_eq!(number(&operation["attempts"]), number(&operation["ok"]) + errors, "{shown}");
        assert_eq!(number(&operation["response"]["count"]), number(&operation["ok"]), "{shown}");
    }
}

/// No connection stays but one kept per target, which is named so.
fn only_kept_connections(server: &RedisServer, targets: usize) {
    let mut others = Vec::new();
    let mut kept = 0;
    let gone = poll_until(PATIENCE, || {
        let list = server.cli(&["CLIENT", "LIST"]);
        let (observers, rest): (Vec<_>, Vec<_>) =
            list.lines().partition(|line| line.contains(" name=redprobe-observer "));
        others =
            rest.iter().filter(|line| !line.contains(" cmd=client|list ")).map(ToString::to_string).collect();
        kept = observers.len();
        others.is_empty() && kept <= targets
    });
    assert!(gone, "{kept} kept, and others: {others:#?}");
}

fn nothing_is_left(bed: &Bed) {
    for (server, targets) in [(&bed.server, 3), (&bed.healthy, 1)] {
        assert_eq!(server.cli(&["KEYS", "redprobe*"]), "", "keys are left");
        only_kept_connections(server, targets);
    }
    for job in &JOBS {
        let left_over = bed.daemon.metric("redprobe_leftover_keys", &[&format!("target=\"{}\"", job.target)]);
        assert_eq!(left_over, Some(0.0), "{}", job.target);
    }
}
