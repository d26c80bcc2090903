//! The stack as a fixture: servers, the daemon that watches them, Prometheus with the shipped rules, Alertmanager, and
//! the webhook at the end.
//!
//! How the shipped files are adapted is in `shipped.rs`; what is done to the servers, and what must come of it, in
//! `scenarios.rs`.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use measure::{
    clock::{self, Instant},
    fault::Proxy,
};
use rustix::process::Signal;
use tempfile::TempDir;
use testkit::RedisServer;
use tokio::runtime::Runtime;

use super::{
    api,
    process::Process,
    receiver::{Notice, Receiver, Wanted},
    shipped,
};
use crate::support::Daemon;

/// One server for each thing that is done to a server, so that all of it can be done at once.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) pool: RedisServer,
    pub(super) slow: RedisServer,
    pub(super) stopped: RedisServer,
    pub(super) altered: RedisServer,
    pub(super) held: RedisServer,
}

/// All of it. Dropping it ends every process and removes every file.
///
/// Fields are dropped in this order: who asks goes before who answers.
#[derive(Debug)]
pub(super) struct Stack {
    prometheus: Process,
    prometheus_at: SocketAddr,
    alertmanager: Process,
    alertmanager_at: SocketAddr,
    daemon: Daemon,
    pub(super) receiver: Receiver,
    /// In front of `slow`.
    pub(super) proxy: Proxy,
    pub(super) servers: Servers,
    pub(super) began: Instant,
    pub(super) runtime: Runtime,
    pub(super) directory: TempDir,
}

impl Stack {
    /// Starts everything and returns when all of it listens.
    pub(super) fn start() -> Self {
        let began = clock::now();
        let runtime = Runtime::new().expect("a runtime can be made");
        let directory = TempDir::new().expect("a temporary directory can be made");
        let start = RedisServer::start;
        let servers =
            Servers { pool: start(), slow: start(), stopped: start(), altered: start(), held: start() };
        let proxy = runtime.block_on(Proxy::start(servers.slow.address())).expect("the proxy can listen");
        let receiver = runtime.block_on(Receiver::start());
        let daemon = Daemon::start(&config(&servers, &proxy, STARVING));
        let path = directory.path();
        let mut alertmanager = start_alertmanager(path, &receiver);
        let alertmanager_at = alertmanager.await_address();
        let mut prometheus = start_prometheus(path, &daemon, alertmanager_at);
        let prometheus_at = prometheus.await_address();
        Self {
            prometheus,
            prometheus_at,
            alertmanager,
            alertmanager_at,
            daemon,
            receiver,
            proxy,
            servers,
            began,
            runtime,
            directory,
        }
    }

    /// Gives the pool under test enough connections for its readers and the traffic, and tells the daemon to read that.
    pub(super) fn feed_the_pool(&self) {
        self.daemon.rewrite(&config(&self.servers, &self.proxy, FED));
        self.daemon.signal(Signal::HUP);
    }

    /// Another redprobe that loads `held` for as long as it lives, and so holds the lease of it.
    pub(super) fn hold_the_lease(&self) -> Process {
        let path = self.directory.path();
        let file = path.join("other.toml");
        let (state, url) = (path.join("other"), self.servers.held.url());
        let config = format!("state_dir = {state:?}\n[targets.held]\nurl = {url:?}\nallow = \"load\"\n");
        fs::write(&file, config).expect("the directory can be written");
        let file = file.display().to_string();
        let mut arguments = vec!["run", "throughput", "--target", "held", "--config", &file];
        for setting in ["phases=[\"sustained\"]", "duration=10m", "rate=50", "key_space=100"] {
            arguments.extend(["--set", setting]);
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        Process::start("other", &[env!("CARGO_BIN_EXE_redprobe")], &arguments, path)
    }

    /// Kills the daemon, the way nothing can prepare for.
    pub(super) fn kill_daemon(&self) {
        self.daemon.signal(Signal::KILL);
    }

    /// The value of the daemon's metric; see [`Daemon::metric`].
    pub(super) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        self.daemon.metric(name, labels)
    }

    /// Waits for a notice that comes after `since`.
    ///
    /// # Panics
    /// Where it does not come, with everything that may tell why.
    pub(super) fn expect_notice(&self, wanted: Wanted<'_>, since: Instant, limit: Duration) -> Notice {
        let notice = self.receiver.await_notice(wanted, since, limit);
        notice.unwrap_or_else(|| panic!("{wanted:?} did not come within {limit:?}"))
    }

    /// Whether this alert fires in Prometheus, whether or not anybody is told.
    pub(super) fn fires(&self, alert: &str, target: &str) -> bool {
        let expression =
            format!("ALERTS{{alertname=\"{alert}\", target=\"{target}\", alertstate=\"firing\"}}");
        api::query(self.prometheus_at, &expression).is_ok_and(|series| !series.is_empty())
    }

    /// Whether Alertmanager has this alert and keeps it to itself because of another one.
    pub(super) fn is_inhibited(&self, alert: &str, target: &str) -> bool {
        let alerts = api::get(self.alertmanager_at, "/api/v2/alerts").unwrap_or_default();
        alerts.as_array().into_iter().flatten().any(|one| {
            one["labels"]["alertname"] == alert
                && one["labels"]["target"] == target
                && one["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty())
        })
    }

    /// What each process said last, the alerts, and what came.
    pub(super) fn dump(&self) -> String {
        [
            self.prometheus.tail(15),
            self.alertmanager.tail(15),
            format!("--- daemon\n{}", super::tail(&self.daemon.log(), 30)),
            format!("--- ALERTS\n{}", self.alerts()),
            format!("--- at the webhook\n{}", self.receiver.list(self.began)),
        ]
        .join("\n")
    }

    fn alerts(&self) -> String {
        match api::query(self.prometheus_at, "ALERTS") {
            Ok(alerts) => alerts.iter().map(|alert| format!("{}\n", alert["metric"])).collect(),
            Err(error) => error,
        }
    }
}

fn start_alertmanager(directory: &Path, receiver: &Receiver) -> Process {
    let config = shipped::alertmanager(directory, &receiver.url());
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", directory.join("alertmanager").display()),
        "--web.listen-address=127.0.0.1:0".into(),
        // Alone: no port for others of its kind.
        "--cluster.listen-address=".into(),
    ];
    Process::start("alertmanager", &["prometheus-alertmanager", "alertmanager"], &arguments, directory)
}

fn start_prometheus(directory: &Path, daemon: &Daemon, alertmanager: SocketAddr) -> Process {
    let config = shipped::prometheus(directory, daemon.address(), alertmanager);
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", directory.join("prometheus").display()),
        "--web.listen-address=127.0.0.1:0".into(),
        // What Alertmanager missed because it was not known yet is sent again after this, not after a minute.
        "--rules.alert.resend-delay=1s".into(),
    ];
    Process::start("prometheus", &["prometheus"], &arguments, directory)
}

/// Thirty blocking readers on these connections starve.
const STARVING: usize = 15;
/// One for each reader, and some for the traffic beside them.
const FED: usize = 60;

/// The targets, and the jobs with this size of the pool under test.
fn config(servers: &Servers, proxy: &Proxy, pool_size: usize) -> String {
    let targets: String = [
        ("pool", servers.pool.address(), "load"),
        ("slow", proxy.address(), "load"),
        ("stopped", servers.stopped.address(), "touch"),
        ("altered", servers.altered.address(), "observe"),
        ("held", servers.held.address(), "load"),
    ]
    .iter()
    .map(|(name, address, allow)| {
        format!("[targets.{name}]\nurl = \"redis://{address}\"\nallow = \"{allow}\"\n")
    })
    .collect();
    targets + &JOBS.replace("POOL_SIZE", &pool_size.to_string())
}

/// Jobs in a hurry, each on the server that its scenario is about; health is looked at everywhere. What may take longer
/// on a busy machine than the time to the next has cron, which lets it. What an audit finds in the settings of a bare
/// server is not what this is about.
const JOBS: &str = r#"
    [limits]
    concurrent_load = 3

    [jobs.health]
    probe = "health"
    targets = ["*"]
    schedule = "every 1s"
    timeout = "900ms"

    [jobs.starvation]
    probe = "pool_starvation"
    targets = ["pool"]
    schedule = "*/4 * * * * *"
    timeout = "20s"
    settings = { pool_size = POOL_SIZE, readers = 30, duration = "2s" }

    # A limit that 50 ms break, and that a busy machine stays below. Many connections, so that there are samples enough
    # for a p95 also when each takes 50 ms.
    [jobs.latency]
    probe = "latency_baseline"
    targets = ["slow"]
    schedule = "*/5 * * * * *"
    timeout = "20s"
    objectives = { concurrent_p95 = "45ms" }

    [jobs.latency.settings]
    connects = 2
    iterations = 10
    rate = 10
    sustained = "1s"
    workers = 50
    ops_per_worker = 20
    memory_pattern = 0

    [jobs.info]
    probe = "server_info"
    targets = ["stopped"]
    schedule = "every 2s"
    timeout = "2s"

    # What an audit finds stands until the next one, which is to be far longer than a scrape takes.
    [jobs.audit]
    probe = "config_audit"
    targets = ["altered"]
    schedule = "every 10s"
    objectives = { critical_failing = 99, high_failing = 99, medium_failing = 99 }

    [jobs.speed]
    probe = "throughput"
    targets = ["held"]
    schedule = "*/2 * * * * *"
    timeout = "20s"
    settings = { phases = ["sustained"], duration = "500ms", rate = 50, workers = 1, key_space = 100 }
"#;
