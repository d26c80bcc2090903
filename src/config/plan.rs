//! The plan: configuration checked and resolved. Everything outside `config/` sees only this.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use measure::{
    Effect,
    conn::{Address, Endpoint, Role},
    keys::Whose,
    report::ObjectiveDef,
};
use secrecy::SecretString;

use super::{CronTimes, Shard, settings::clients::DeclaredPool};
use crate::probe::{DynProbe, ProbeKind};

/// The environment in which nothing above Touch runs.
pub(super) const PRODUCTION: &str = "production";

/// Everything that is configured.
#[derive(Debug)]
pub struct Plan {
    /// The file it came from; `None` for the built-in defaults.
    pub file: Option<PathBuf>,
    /// Where state outlives the process.
    pub state_dir: PathBuf,
    /// The HTTP server.
    pub http: Http,
    /// The daemon's own log.
    pub log: Log,
    /// Bounds of the daemon itself.
    pub limits: Limits,
    /// Which part of the targets is this daemon's; `None` for all of them.
    pub shard: Option<Shard>,
    /// Targets by [`Target::id`]: those of this shard.
    pub targets: BTreeMap<String, Arc<Target>>,
    /// Targets of other shards. No job of theirs is in the plan; what a dead run of this process has left there is still
    /// put back.
    pub elsewhere: BTreeMap<String, Arc<Target>>,
    /// HTTP applications behind targets, by name.
    pub apps: BTreeMap<String, Arc<App>>,
    /// One per job and target, in the order of their names.
    pub jobs: Vec<Arc<Job>>,
    /// The configuration in force, secrets masked: what `/config` shows. JSON as text, a fifth of the tree's size.
    pub shown: String,
    /// What is no mistake and may surprise, for `redprobe check`.
    pub notes: Vec<String>,
}

/// What flags say over the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--web.listen-address`.
    pub listen: Option<String>,
    /// `--web.config.file`.
    pub web_config_file: Option<PathBuf>,
    /// `--shard`.
    pub shard: Option<String>,
}

/// The daemon's own log.
#[derive(Debug, Clone)]
pub struct Log {
    /// A level (`info`), or a filter as in `RUST_LOG`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// An HTTP application behind a target.
#[derive(Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// Its base URL.
    pub url: String,
    /// The target behind it.
    pub target: Arc<Target>,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may come in, and over which TLS; read by [`super::web`].
    pub web_config_file: Option<PathBuf>,
    /// Bearer token of the POST routes; without one they are refused.
    pub api_token: Option<SecretString>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Bound of receiving a request's head, and of its body.
    pub read_timeout: Duration,
    /// Bound of a stalled reader, and of an idle connection.
    pub idle_timeout: Duration,
}

/// Bounds of the daemon itself.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Load and Disrupt runs at a time, over all targets.
    pub concurrent_load: usize,
    /// Threads that load is spread over.
    pub load_threads: usize,
    /// Runs kept in memory for the API.
    pub runs_kept: usize,
    /// Time that a stop may take to clean up.
    pub stop_timeout: Duration,
}

/// One Redis server: a target, or a node of one that has several.
#[derive(Debug)]
pub struct Target {
    /// What it is known by wherever it must be told from all others: its name, or `name/node`.
    pub id: String,
    /// Its name in the configuration: the label `target`.
    pub name: String,
    /// Which node of the target: the label `node`. Empty where the target is one server.
    pub node: String,
    /// How to reach it. Where sentinels know that, it is to be found each time; see [`Endpoint::find`].
    pub endpoint: Endpoint,
    /// Where it is a node of a cluster: all nodes of it that are configured, this one too.
    pub cluster: Option<Arc<Vec<Endpoint>>>,
    /// `staging`, `production`, …
    pub environment: String,
    /// The greatest effect a probe may have here; never above Touch for `production`.
    pub allow: Effect,
    /// What it is for.
    pub profile: Profile,
    /// Keys that one run may have at a time.
    pub max_keys: u64,
    /// Bytes of values that one run may have at a time.
    pub max_bytes: u64,
    /// Connections that one run may have at a time.
    pub max_connections: u64,
    /// The pools that applications are declared to have here, by name.
    pub pools: Vec<Arc<DeclaredPool>>,
}

/// What a Redis server is for: what its settings are audited against.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Values that can be had again elsewhere.
    Cache,
    /// Events on their way to somewhere else.
    Buffer,
    /// The only place of what it holds.
    Store,
    /// Some of each.
    #[default]
    Mixed,
}

impl Profile {
    /// Its word in the configuration and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Buffer => "buffer",
            Self::Store => "store",
            Self::Mixed => "mixed",
        }
    }
}

/// When a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At a fixed interval, offset by a hash of the job so that jobs do not start together.
    Every(Duration),
    /// By a cron expression, in UTC.
    Cron(CronTimes),
    /// Only when asked (API, `/probe`, `redprobe run`).
    Manual,
}

/// One objective of a job with the limit in force.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Which.
    pub objective: &'static ObjectiveDef,
    /// The probe's default, or what the job sets.
    pub limit: f64,
}

/// One probe on one target, on a schedule.
pub struct Job {
    /// `jobs.<name>`; several jobs have the same where it names several targets.
    pub name: String,
    /// The probe.
    pub probe: Arc<dyn DynProbe>,
    /// The target.
    pub target: Arc<Target>,
    /// When.
    pub schedule: Schedule,
    /// Bound of one run.
    pub timeout: Duration,
    /// Tells two jobs of one probe on one target apart; may be empty.
    pub variant: String,
    /// The probe's objectives, each with its limit.
    pub limits: Vec<Limit>,
    /// The settings in force.
    pub settings: serde_json::Value,
}

impl Plan {
    /// Every target that is configured, those of other shards too.
    pub fn all_targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.values().chain(self.elsewhere.values())
    }

    /// Why a target that is configured is not here, where another shard has it.
    #[must_use]
    pub fn why_elsewhere(&self, target: &str) -> Option<String> {
        let found = self.elsewhere.values().find(|elsewhere| elsewhere.is_called(target))?;
        let shard = self.shard?;
        let has = shard.of_target(&found.name);
        Some(format!(
            "the target {target:?} is of shard {has}, and this is shard {shard}: ask the redprobe that is {has}"
        ))
    }

    /// Leaves what belongs to this shard in place, and puts the other targets aside. By their names: all nodes of a target
    /// are of one shard.
    pub(super) fn keep_shard(mut self) -> Self {
        let Some(shard) = self.shard else { return self };
        let is_own = |name: &str| shard.of_target(name) == shard;
        let (own, elsewhere) = self.targets.into_iter().partition(|(_, target)| is_own(&target.name));
        (self.targets, self.elsewhere) = (own, elsewhere);
        self.jobs.retain(|job| is_own(&job.target.name));
        self.apps.retain(|_, app| is_own(&app.target.name));
        self
    }
}

impl Target {
    /// The id of a node of the target called `name`, or of the target itself where `node` is empty.
    #[must_use]
    pub fn id_of(name: &str, node: &str) -> String {
        if node.is_empty() { name.to_owned() } else { format!("{name}/{node}") }
    }

    /// Whether it is called so: by its id, or by the name of all nodes of its target.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id == name || self.name == name
    }

    /// Whether it is a node of a cluster.
    #[must_use]
    pub const fn is_in_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether sentinels say where it is.
    #[must_use]
    pub const fn is_behind_sentinels(&self) -> bool {
        matches!(self.endpoint.address, Address::Sentinel(_))
    }

    /// Whether it is the replica of a service that sentinels watch: nothing writes there.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        matches!(&self.endpoint.address, Address::Sentinel(sentinel) if sentinel.role == Role::Replica)
    }

    /// Whose keys its runs write.
    #[must_use]
    pub fn whose_keys(&self) -> Whose<'_> {
        if self.is_in_cluster() { Whose::Cluster(&self.name) } else { Whose::Target(&self.name) }
    }

    /// Whether nothing above Touch runs here.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.environment == PRODUCTION
    }
}

impl Job {
    /// What kind of probe it runs.
    #[must_use]
    pub fn kind(&self) -> &'static ProbeKind {
        self.probe.kind()
    }

    /// What makes it the same job after a reload, and its series the same series: probe, [`Target::id`], variant.
    #[must_use]
    pub fn key(&self) -> (&'static str, &str, &str) {
        (self.kind().name, &self.target.id, &self.variant)
    }

    /// The greatest effect a run of it has: what the target allows, up to the probe's reach.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.kind().reach.min(self.target.allow).max(self.kind().effect)
    }
}

/// "throughput (nightly) on staging": as people know it.
impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key() {
            (probe, target, "") => write!(f, "{probe} on {target}"),
            (probe, target, variant) => write!(f, "{probe} ({variant}) on {target}"),
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("name", &self.name).field("key", &self.key()).finish_non_exhaustive()
    }
}
