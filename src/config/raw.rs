//! What the configuration says, section by section, as data: shape only.
//!
//! The doc comments here are what `redprobe default-config` prints. Whether the values can be is checked where they are
//! resolved: `targets`, `jobs` and `resolve`.

#![expect(unreachable_pub, reason = "settings! declares public structs, which the probes' are")]

use std::{collections::BTreeMap, path::PathBuf};

use config::{Value, ValueKind};
use measure::{Effect, conn::Role};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    LogFormat, Mistakes, Profile, Source,
    secret::Secret,
    settings::{Size, Span, clients::ClientMatch},
    sources, suggest, words,
};
use crate::settings;

settings! {
    /// `[http]`.
    pub struct HttpSettings {
        /// Address to listen on. Without a web_config_file, metrics and pages need no login: keep it on loopback then.
        listen: String = "127.0.0.1:19121".into(),
        /// TLS, client certificates, users, headers and a rate limit, in the format of Prometheus' exporters
        /// (exporter-toolkit); read again when it or a file that it names changes.
        /// Example: `"/etc/redprobe/web.yml"`
        web_config_file: Option<PathBuf> = None,
        /// Token that POST routes ask for (`Authorization: Bearer …`), unless a user of the web_config_file does. Without
        /// either they are refused.
        /// Example: `"a long random text"`
        api_token: Option<Secret> = None,
        /// The same, from a file.
        /// Example: `"/run/secrets/api_token"`
        api_token_file: Option<PathBuf> = None,
        /// Connections at a time; a further one takes the place of one that asks for nothing.
        max_connections: u32 = 512,
        /// How long a client may take to send a request.
        read_timeout: Span = Span::secs(10),
        /// How long a connection may be idle, or a client may read nothing of an answer.
        idle_timeout: Span = Span::secs(60),
    }
}

settings! {
    /// `[log]`.
    pub struct LogSettings {
        /// error, warn, info, debug or trace; or a filter such as `info,redprobe::schedule=debug`.
        level: String = "info".into(),
        /// text or json, one object per line.
        format: LogFormat = LogFormat::Text,
    }
}

settings! {
    /// `[limits]`.
    pub struct LimitSettings {
        /// Load and Disrupt runs at a time, over all targets. More than one blurs each other's figures.
        concurrent_load: u32 = 1,
        /// Threads that load is spread over. One keeps a redis-server busy; more need processors of their own.
        load_threads: u32 = 1,
        /// Runs kept in memory for the API and the status page.
        runs_kept: u32 = 1_000,
        /// How long a stop may take to end runs and to clean up after them.
        stop_timeout: Span = Span::secs(20),
    }
}

settings! {
    /// `[targets.<name>]`.
    pub struct TargetSettings {
        /// Where the server is: `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS, `unix:///path`.
        url: String = String::new(),
        /// ACL user, where it is not the default one and not in the URL.
        /// Example: `"prober"`
        username: Option<String> = None,
        /// Password, where it is not in the URL.
        /// Example: `"…"`
        password: Option<Secret> = None,
        /// The same, from a file.
        /// Example: `"/run/secrets/redis_password"`
        password_file: Option<PathBuf> = None,
        /// PEM file of the authorities to trust, for `rediss://`; the web's well-known ones unless set.
        /// Example: `"/etc/ssl/private-ca.pem"`
        ca_file: Option<PathBuf> = None,
        /// PEM file of the certificate to show, for a server that wants one of its clients; with those between it and
        /// its authority. Replaced files are read again by themselves.
        /// Example: `"/etc/redprobe/tls/tls.crt"`
        cert_file: Option<PathBuf> = None,
        /// PEM file of its key, not encrypted.
        /// Example: `"/etc/redprobe/tls/tls.key"`
        key_file: Option<PathBuf> = None,
        /// Name that the server's certificate must be for, where it is not the URL's host.
        /// Example: `"redis.example.org"`
        server_name: Option<String> = None,
        /// Sentinels that know where the server is, instead of `url`: `host[:port]` of each. The server is whatever they name.
        /// Example: `["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"]`
        sentinels: Option<Vec<String>> = None,
        /// What the sentinels call the master and its replicas.
        /// Example: `"mymaster"`
        sentinel_service: Option<String> = None,
        /// Which servers of the service to watch, each a node of the target: master, replica (the first that is up).
        /// Unless set: the master.
        /// Example: `["master", "replica"]`
        sentinel_roles: Option<Vec<Role>> = None,
        /// ACL user on the sentinels, where they have users.
        /// Example: `"prober"`
        sentinel_username: Option<String> = None,
        /// Password on the sentinels, where they have one.
        /// Example: `"…"`
        sentinel_password: Option<Secret> = None,
        /// The same, from a file.
        /// Example: `"/run/secrets/sentinel_password"`
        sentinel_password_file: Option<PathBuf> = None,
        /// Nodes of a cluster, instead of `url`: `host[:port]` of each by a name of your own, the label `node`.
        /// Example: `{ a = "10.0.0.1:6379", b = "10.0.0.2:6379", c = "10.0.0.3:6379" }`
        cluster_nodes: Option<BTreeMap<String, String>> = None,
        /// Whether sentinels and nodes speak TLS; a `url` says it by `rediss://`.
        tls: bool = false,
        /// Database number behind sentinels; a `url` says it by `/1`.
        database: u32 = 0,
        /// What it is part of. `production` never gets more than touch, whatever `allow` says.
        environment: String = "staging".into(),
        /// The greatest effect a probe may have: observe (read what the server says of itself), touch (own keys at a
        /// bounded rate), load (many keys, many connections, full speed), disrupt (settings, restarts).
        allow: Effect = Effect::Observe,
        /// What it is for: cache, buffer, store or mixed.
        profile: Profile = Profile::Mixed,
        /// Bound of each step of connecting: name, connect, TLS, login.
        connect_timeout: Span = Span::secs(2),
        /// Bound of one command that does not block.
        response_timeout: Span = Span::secs(5),
        /// Keys that one run may have at a time.
        max_keys: u64 = 1_000_000,
        /// Bytes of values that one run may have at a time.
        max_bytes: Size = Size(256 << 20),
        /// Connections that one run may have at a time.
        max_connections: u64 = 200,
    }
}

settings! {
    /// `[apps.<name>]`.
    pub struct AppSettings {
        /// Its base URL, `http://` or `https://`.
        url: String = String::new(),
        /// The target behind it.
        target: String = String::new(),
    }
}

settings! {
    /// `[pools.<name>]`.
    pub struct PoolSettings {
        /// Which clients of the server are connections of this pool, in what CLIENT LIST says of them; all that is given
        /// must fit: name, user, lib_name (with * and ?), address (an IP, a network such as `10.2.0.0/16`, or with *
        /// and ?), db.
        r#match: ClientMatch = ClientMatch::default(),
        /// Connections that one instance of the pool may have at the most.
        max_connections: u32 = 0,
        /// Processes that each have such a pool.
        instances: u32 = 1,
        /// Whether it is there for blocking reads (XREAD BLOCK, BLPOP): that they hold its connections is no finding then.
        blocking: bool = false,
        /// The targets that it connects to. Unless set: every one.
        /// Example: `["local"]`
        targets: Option<Vec<String>> = None,
    }
}

settings! {
    /// `[jobs.<name>]`.
    pub struct JobSettings {
        /// Which probe.
        probe: String = String::new(),
        /// On which targets; `["*"]` is every one.
        targets: Vec<String> = Vec::new(),
        /// When: `every 30s`, or cron of five or six fields in UTC (`0 */5 * * * *`), or `manual`.
        schedule: String = String::new(),
        /// Bound of one run. Unless set: the interval, five minutes at most.
        /// Example: `"10s"`
        timeout: Option<Span> = None,
        /// Tells apart two jobs of the same probe on the same target; a label of their metrics.
        variant: String = String::new(),
        /// The probe's settings.
        settings: Subtree = Subtree::default(),
        /// Limits of the probe's objectives, over its own.
        objectives: BTreeMap<String, Scalar> = BTreeMap::new(),
    }
}

/// A part that is read later, by whoever knows its type.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Subtree(pub(super) Value);

impl Default for Subtree {
    fn default() -> Self {
        Self(Value::new(None, ValueKind::Table(config::Map::new())))
    }
}

impl Serialize for Subtree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Shown with the job, once the probe has read it.
        serializer.collect_map(std::iter::empty::<((), ())>())
    }
}

/// A number, or a text with a unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// A plain number.
    Number(f64),
    /// `"50ms"`, `"5%"`; from the environment, plain numbers too.
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text =
            super::settings::text_or_number(deserializer, "a number, or text with a unit such as \"50ms\"")?;
        Ok(text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map_or(Self::Text(text), Self::Number))
    }
}

/// The sections, each read as far as it can be.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) shard: Option<String>,
    pub(super) http: HttpSettings,
    pub(super) log: LogSettings,
    pub(super) limits: LimitSettings,
    pub(super) targets: BTreeMap<String, TargetSettings>,
    pub(super) apps: BTreeMap<String, AppSettings>,
    pub(super) pools: BTreeMap<String, PoolSettings>,
    pub(super) jobs: BTreeMap<String, JobSettings>,
}

const SECTIONS: [&str; 9] =
    ["state_dir", "shard", "http", "log", "limits", "targets", "apps", "pools", "jobs"];

impl Raw {
    /// Reads every section, whatever is wrong with the others.
    pub(super) fn read(root: Value, mistakes: &mut Mistakes) -> Self {
        let Ok(mut table) = root.into_table() else {
            mistakes.add("configuration", "not a table of sections");
            return Self::default();
        };
        let mut part = |name: &str| table.remove(name).map(|value| Source { path: name.into(), value });
        let raw = Self {
            state_dir: part("state_dir").and_then(|source| source.read_rest(mistakes)),
            shard: part("shard").and_then(|source| source.read_rest(mistakes)),
            http: section(part("http"), mistakes),
            log: section(part("log"), mistakes),
            limits: section(part("limits"), mistakes),
            targets: named(part("targets"), mistakes),
            apps: named(part("apps"), mistakes),
            pools: named(part("pools"), mistakes),
            jobs: named(part("jobs"), mistakes),
        };
        let mut unknown: Vec<(String, Value)> = table.into_iter().collect();
        unknown.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in unknown {
            let message = suggest::unknown_key(&key, &SECTIONS);
            mistakes.add(key, format!("{message}{}", sources::blame(&value)));
        }
        raw
    }
}

fn section<T: Default + serde::de::DeserializeOwned>(source: Option<Source>, mistakes: &mut Mistakes) -> T {
    source.and_then(|source| source.read_rest(mistakes)).unwrap_or_default()
}

/// Each entry that can be read; one that cannot is there with its defaults, so that its name is known.
fn named<T: Default + serde::de::DeserializeOwned>(
    source: Option<Source>,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, T> {
    let Some(Source { path, value }) = source else { return BTreeMap::new() };
    let Ok(table) = value.into_table() else {
        mistakes.add(&path, format!("expected one table per name: [{path}.NAME]"));
        return BTreeMap::new();
    };
    let table: BTreeMap<String, Value> = table.into_iter().collect();
    let entries = table.into_iter().map(|(name, value)| {
        let path = format!("{path}.{name}");
        mistakes.take(&path, words::name(&name));
        (name, Source { path, value }.read_rest(mistakes).unwrap_or_default())
    });
    entries.collect()
}
