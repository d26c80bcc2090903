//! From what the configuration says to the plan: the ways in, the daemon's own sections, and what is shown of it all.
//!
//! Targets and jobs have files of their own.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value as Json, json};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{
    Http, Limits, Log, Mistake, Mistakes, Overrides, Plan, Shard, Target, jobs, pools,
    raw::{HttpSettings, LimitSettings, LogSettings, Raw},
    secret::mask_urls,
    settings::Span,
    sources::{self, Env},
    targets::{self, timeout},
    words,
};

impl Plan {
    /// The file's configuration. Where there is no `path`: `/etc/redprobe/redprobe.toml` if it exists, else the
    /// built-in defaults, which have no target.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, Vec<Mistake>> {
        Self::load_with(path, sources::process_env()?, overrides)
    }

    /// The same, with this environment.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load_with(
        path: Option<&Path>,
        env: HashMap<String, String>,
        overrides: &Overrides,
    ) -> Result<Self, Vec<Mistake>> {
        let file = sources::file(path);
        let (mut raw, mistakes) = read(file.as_deref(), &env, overrides)?;
        jobs::add_health(&mut raw);
        resolve(raw, &env, false, mistakes).map(|plan| Self { file, ..plan }.keep_shard())
    }
}

impl Http {
    /// What the file says of the HTTP server, whatever is wrong with the rest: a daemon that goes on with its old
    /// configuration is to be found while somebody edits the new one.
    ///
    /// # Errors
    /// Every mistake in that section, or why nothing can be read.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, Vec<Mistake>> {
        let (raw, mut mistakes) = read(sources::file(path).as_deref(), &sources::process_env()?, overrides)?;
        mistakes.0.retain(|mistake| mistake.key.starts_with("http."));
        let http = http(raw.http, &mut mistakes);
        mistakes.or(http)
    }
}

/// File and environment, with what the flags say over them.
fn read(file: Option<&Path>, env: &Env, overrides: &Overrides) -> Result<(Raw, Mistakes), Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let mut raw = Raw::read(sources::load(file, env.clone())?, &mut mistakes);
    if let Some(listen) = &overrides.listen {
        raw.http.listen.clone_from(listen);
    }
    if overrides.web_config_file.is_some() {
        raw.http.web_config_file.clone_from(&overrides.web_config_file);
    }
    raw.shard = overrides.shard.clone().or(raw.shard);
    Ok((raw, mistakes))
}

/// Checks everything and puts the plan together.
pub(super) fn resolve(
    raw: Raw,
    env: &Env,
    quick: bool,
    mut mistakes: Mistakes,
) -> Result<Plan, Vec<Mistake>> {
    let mut notes = Vec::new();
    let mut shown = show(&raw);
    let state_dir = mistakes.take("state_dir", state_dir(raw.state_dir, env));
    let shard = raw.shard.as_deref().filter(|text| !text.is_empty());
    let shard = shard.and_then(|text| mistakes.take("shard", Shard::parse(text)));
    let http = http(raw.http, &mut mistakes);
    let log = log(raw.log, &mut mistakes);
    let limits = limits(&raw.limits, &mut mistakes);
    let pools = pools::pools(raw.pools, &raw.targets, &mut mistakes);
    let targets = targets::targets(raw.targets, &pools, &mut mistakes, &mut notes);
    let apps = targets::apps(raw.apps, &targets, &mut mistakes);
    let jobs = jobs::jobs(raw.jobs, &targets, quick, &mut mistakes);
    for job in &jobs {
        let limits = job.limits.iter().map(|limit| (limit.objective.name.to_owned(), json!(limit.limit)));
        let shown = &mut shown["jobs"][&job.name];
        shown["settings"] = job.settings.clone();
        shown["timeout"] = json!(Span(job.timeout));
        shown["objectives"] = Json::Object(limits.collect());
    }
    for target in targets.values().flatten().flatten() {
        shown["targets"][&target.name]["allow"] = json!(target.allow);
    }
    shown["state_dir"] = json!(state_dir);
    shown["shard"] = json!(shard.map(|shard| shard.to_string()));
    let plan = state_dir.zip(http).map(|(state_dir, http)| Plan {
        file: None,
        state_dir,
        http,
        log,
        limits,
        shard,
        targets: resolved(targets),
        elsewhere: BTreeMap::new(),
        apps,
        jobs,
        shown: shown.to_string(),
        notes,
    });
    mistakes.0.sort();
    mistakes.or(plan)
}

fn resolved(targets: targets::Targets) -> BTreeMap<String, Arc<Target>> {
    targets.into_values().flatten().flatten().map(|target| (target.id.clone(), target)).collect()
}

/// The configuration in force. Secrets serialize as a mask; URLs are masked here.
fn show(raw: &Raw) -> Json {
    let mut shown = json!({
        "http": raw.http, "log": raw.log, "limits": raw.limits,
        "targets": raw.targets, "apps": raw.apps, "pools": raw.pools, "jobs": raw.jobs,
    });
    for section in ["targets", "apps"] {
        for entry in shown[section].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            entry["url"] = json!(mask_urls(entry["url"].as_str().unwrap_or_default()));
        }
    }
    shown
}

fn state_dir(configured: Option<PathBuf>, env: &Env) -> Result<PathBuf, String> {
    if let Some(dir) = configured.filter(|dir| !dir.as_os_str().is_empty()) {
        return Ok(dir);
    }
    // systemd names several with a colon between them.
    let systemd = env.get("STATE_DIRECTORY").and_then(|dirs| dirs.split(':').find(|dir| !dir.is_empty()));
    if let Some(dir) = systemd {
        return Ok(PathBuf::from(dir));
    }
    let xdg = xdg::BaseDirectories::with_prefix("redprobe").get_state_home();
    // Without the slash that it ends with.
    xdg.map(|dir| dir.components().collect())
        .ok_or_else(|| "not set, and there is neither $STATE_DIRECTORY nor a home directory; set it".into())
}

fn http(settings: HttpSettings, mistakes: &mut Mistakes) -> Option<Http> {
    let listen = mistakes.take("http.listen", words::address(&settings.listen));
    let token = sources::secret(settings.api_token, settings.api_token_file.as_deref(), "http.api_token");
    let api_token = token.map_err(|mistake| mistakes.0.push(mistake)).ok().flatten();
    let max_connections = within("http.max_connections", settings.max_connections, 1..=65_535, mistakes);
    let read_timeout = timeout("http.read_timeout".into(), settings.read_timeout, mistakes);
    let idle_timeout = timeout("http.idle_timeout".into(), settings.idle_timeout, mistakes);
    Some(Http {
        listen: listen?,
        // Empty is how a flag or a variable says none.
        web_config_file: settings.web_config_file.filter(|path| !path.as_os_str().is_empty()),
        api_token,
        max_connections: max_connections as usize,
        read_timeout,
        idle_timeout,
    })
}

fn log(settings: LogSettings, mistakes: &mut Mistakes) -> Log {
    if !is_filter(&settings.level) {
        mistakes.add(
            "log.level",
            format!(
                "{:?} is no level; write error, warn, info, debug or trace, or a filter such as \"info,redprobe=debug\"",
                settings.level
            ),
        );
    }
    Log { level: settings.level, format: settings.format }
}

/// A lone word must be a level: as a filter it would be the name of a module, and nothing would be logged.
fn is_filter(text: &str) -> bool {
    if text.contains('=') {
        text.parse::<EnvFilter>().is_ok()
    } else {
        text.parse::<LevelFilter>().is_ok() && text.parse::<u8>().is_err()
    }
}

fn limits(settings: &LimitSettings, mistakes: &mut Mistakes) -> Limits {
    let stop =
        within("limits.stop_timeout", settings.stop_timeout, Span::secs(1)..=Span::secs(600), mistakes);
    let mut count =
        |key: &str, value: u32, max: u32| within(&format!("limits.{key}"), value, 1..=max, mistakes) as usize;
    Limits {
        concurrent_load: count("concurrent_load", settings.concurrent_load, 64),
        load_threads: count("load_threads", settings.load_threads, 64),
        runs_kept: count("runs_kept", settings.runs_kept, 100_000),
        stop_timeout: stop.0,
    }
}

fn within<T: PartialOrd + Display + Copy>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
    mistakes: &mut Mistakes,
) -> T {
    if !range.contains(&value) {
        mistakes.add(key, format!("{value} is out of range; write {} to {}", range.start(), range.end()));
    }
    value
}
