//! The plan of `redprobe run`: what was asked for on the command line, over what is configured.

use std::{collections::BTreeSet, path::Path};

use config::{Value, ValueKind};
use measure::{Effect, conn::Endpoint};
use serde::Deserialize;

use super::{
    Access, Mistake, Mistakes, Plan, de,
    jobs::find_probe,
    raw::{JobSettings, Raw, Subtree, TargetSettings},
    resolve::resolve,
    settings::Span,
    sources, suggest,
    targets::capped,
};
use crate::{probe::ProbeKind, probes};

/// What `redprobe run` was asked for.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// Probe names, or `all`: every probe whose effect the target allows.
    pub probes: Vec<String>,
    /// A configured target's name, `name/node` for one node of it, or a URL; the only configured target where there is
    /// none.
    pub target: Option<String>,
    /// `--allow`, as written.
    pub allow: Option<String>,
    /// `--quick`.
    pub quick: bool,
    /// Each `--set key=value`, as written.
    pub set: Vec<String>,
    /// `--timeout`, as written.
    pub timeout: String,
    /// How to get through to the target.
    pub access: Access,
}

impl Plan {
    /// A plan whose jobs are exactly what `redprobe run` was asked for, all [`super::Schedule::Manual`], on one target.
    /// A probe that has jobs on that target runs with their settings, every variant; else with its defaults.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn for_run(path: Option<&Path>, request: &RunRequest) -> Result<Self, Vec<Mistake>> {
        let env = sources::process_env()?;
        let mut mistakes = Mistakes::default();
        let file = sources::file(path);
        let root = sources::load(file.as_deref(), env.clone())?;
        let mut raw = Raw::read(root, &mut mistakes);
        let set = settings(&request.set, &mut mistakes);
        let target = choose_target(&mut raw, request, &mut mistakes);
        let jobs = target.and_then(|target| choose_jobs(&raw, &target, request, &mut mistakes));
        let Some(jobs) = jobs.filter(|_| mistakes.0.is_empty()) else { return Err(mistakes.0) };
        raw.apps.clear();
        raw.jobs = with_settings(jobs, &set, &mut mistakes).into_iter().collect();
        let plan = resolve(raw, &env, request.quick, mistakes)
            .map_err(|mistakes| request.access.as_typed(as_typed(mistakes, &set)))?;
        Ok(Self { file, ..plan }.only_with_jobs())
    }

    /// Without the nodes that were not asked for.
    fn only_with_jobs(mut self) -> Self {
        self.targets.retain(|id, _| self.jobs.iter().any(|job| job.target.id == *id));
        self
    }
}

impl Plan {
    /// A plan of nothing but one target: a configured one by its name, or the server of a URL.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn for_target(path: Option<&Path>, target: &str, access: &Access) -> Result<Self, Vec<Mistake>> {
        let env = sources::process_env()?;
        let mut mistakes = Mistakes::default();
        let file = sources::file(path);
        let mut raw = Raw::read(sources::load(file.as_deref(), env.clone())?, &mut mistakes);
        let (target, access) = (Some(target.to_owned()), access.clone());
        let request = RunRequest { target, access, ..RunRequest::default() };
        let Some(chosen) = choose_target(&mut raw, &request, &mut mistakes) else { return Err(mistakes.0) };
        raw.apps.clear();
        raw.jobs.clear();
        let plan = resolve(raw, &env, false, mistakes);
        let mut plan = Self { file, ..plan.map_err(|mistakes| request.access.as_typed(mistakes))? };
        plan.targets.retain(|_, target| target.is_called(&chosen));
        if plan.targets.is_empty() {
            return Err(vec![Mistake::new("--target", format!("{chosen:?} names no node of the target"))]);
        }
        Ok(plan)
    }
}

type Jobs = Vec<(String, JobSettings)>;

/// Leaves the chosen target alone in `raw`, and names it, or the node of it that was asked for.
fn choose_target(raw: &mut Raw, request: &RunRequest, mistakes: &mut Mistakes) -> Option<String> {
    let allow = match &request.allow {
        Some(text) => Some(mistakes.take("--allow", effect(text))?),
        None => None,
    };
    let (name, mut settings) = match &request.target {
        Some(url) if url.contains("://") => {
            let name = mistakes.take("--target", url_name(url))?;
            // The jobs are other targets', even where they name every one.
            raw.jobs.clear();
            (name, TargetSettings { url: url.clone(), allow: Effect::Touch, ..TargetSettings::default() })
        }
        Some(id) => {
            let name = id.split_once('/').map_or(id.as_str(), |(name, _node)| name);
            match raw.targets.remove(name) {
                Some(settings) => (name.to_owned(), settings),
                None => {
                    let message = unknown_target(id, raw);
                    mistakes.add("--target", message);
                    return None;
                }
            }
        }
        None if raw.targets.len() == 1 => raw.targets.pop_first()?,
        None => {
            let message = match raw.targets.len() {
                0 => {
                    "missing, and no target is configured; give a URL: --target redis://127.0.0.1:6379".into()
                }
                _ => format!("missing; choose one of {}, or give a URL", names(raw).join(", ")),
            };
            mistakes.add("--target", message);
            return None;
        }
    };
    settings.allow = allow.unwrap_or(settings.allow);
    request.access.lay_over(&mut settings);
    raw.targets.clear();
    raw.targets.insert(name.clone(), settings);
    keep_pools_on(&name, raw);
    let asked =
        request.target.as_ref().filter(|asked| asked.split_once('/').is_some_and(|(whole, _)| whole == name));
    Some(asked.cloned().unwrap_or(name))
}

/// Pools of other targets are not looked at, so that the names of those are no mistake either.
fn keep_pools_on(target: &str, raw: &mut Raw) {
    raw.pools.retain(|_, pool| pool.targets.take().is_none_or(|on| on.iter().any(|name| name == target)));
}

fn names(raw: &Raw) -> Vec<&str> {
    raw.targets.keys().map(String::as_str).collect()
}

fn unknown_target(name: &str, raw: &Raw) -> String {
    // Not quoted: it may be most of a URL, password included.
    if name.contains(['@', '?', '=']) {
        return "no target has an @, ? or = in its name; give a URL with its scheme: redis://[user:password@]host[:port]".into();
    }
    let names = names(raw);
    match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("unknown target {name:?}; did you mean {near:?}?"),
        None if names.is_empty() => {
            format!(
                "unknown target {name:?}; no target is configured: give a URL such as redis://127.0.0.1:6379"
            )
        }
        None => format!("unknown target {name:?}; choose one of {}, or give a URL", names.join(", ")),
    }
}

/// The effect of this name, as `--allow` takes it.
///
/// # Errors
/// With the names that there are.
pub fn effect(text: &str) -> Result<Effect, String> {
    Effect::deserialize(de::De(Value::from(text))).map_err(|misread| misread.message)
}

/// A name for the server of a URL: `redis://127.0.0.1:6379` is `127_0_0_1_6379`.
fn url_name(url: &str) -> Result<String, String> {
    let address = Endpoint::parse(url)?.address.to_string().to_ascii_lowercase();
    let plain = address.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    Ok(plain.collect::<String>().trim_matches('_').to_owned())
}

/// The jobs of the probes asked for: those configured for the target, or one of the probe's own.
fn choose_jobs(raw: &Raw, target: &str, request: &RunRequest, mistakes: &mut Mistakes) -> Option<Jobs> {
    let name = target.split_once('/').map_or(target, |(name, _node)| name);
    let allowed = capped(raw.targets.get(name)?);
    let timeout = humantime::parse_duration(&request.timeout)
        .map_err(|_| format!("{:?} is no duration; write one such as \"15m\"", request.timeout));
    let timeout = mistakes.take("--timeout", timeout).map(Span)?;
    let mut jobs = Jobs::new();
    for kind in kinds(&request.probes, allowed, mistakes) {
        if kind.effect > allowed {
            let mend = mend(raw, name, kind.effect);
            mistakes
                .add(kind.name, format!("needs {}, and {target:?} allows {allowed}; {mend}", kind.effect));
            continue;
        }
        let configured = raw.jobs.iter().filter(|(_, job)| {
            job.probe == kind.name && job.targets.iter().any(|on| on == target || on == name || on == "*")
        });
        let mut found: Jobs = configured.map(|(name, job)| (name.clone(), job.clone())).collect();
        if found.is_empty() {
            let mut name = kind.name.to_owned();
            while raw.jobs.contains_key(&name) {
                name.push('_');
            }
            found.push((name, JobSettings { probe: kind.name.into(), ..JobSettings::default() }));
        }
        for (_, job) in &mut found {
            let of_node: Vec<_> =
                job.targets.iter().filter(|on| on.starts_with(&format!("{name}/"))).cloned().collect();
            let is_whole = job.targets.iter().all(|on| !of_node.contains(on)) || target != name;
            job.targets = if is_whole { vec![target.to_owned()] } else { of_node };
            job.schedule = "manual".into();
            job.timeout = Some(timeout);
        }
        jobs.extend(found);
    }
    Some(jobs)
}

fn mend(raw: &Raw, target: &str, effect: Effect) -> String {
    let production = raw.targets.get(target).is_some_and(|target| target.environment == "production");
    if production && effect > Effect::Touch {
        "nothing above touch runs on production".into()
    } else {
        format!("add --allow {effect}")
    }
}

/// The kinds asked for, each once, in the order of the registry.
fn kinds(asked: &[String], allowed: Effect, mistakes: &mut Mistakes) -> Vec<&'static ProbeKind> {
    let all = asked.iter().any(|name| name == "all");
    let mut chosen = BTreeSet::new();
    for name in asked.iter().filter(|name| *name != "all") {
        if let Some(kind) = mistakes.take("PROBE", find_probe(name)) {
            chosen.insert(kind.name);
        }
    }
    let wanted = |kind: &ProbeKind| chosen.contains(kind.name) || (all && kind.effect <= allowed);
    probes::PROBES.iter().copied().filter(|kind| wanted(kind)).collect()
}

/// One `--set`, read.
struct Setting {
    path: Vec<String>,
    value: Value,
}

/// Reads each `key=value`: the value as TOML, or as text where that fails.
fn settings(set: &[String], mistakes: &mut Mistakes) -> Vec<Setting> {
    let read = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| format!("{text:?} is no setting; write KEY=VALUE"))?;
        let path = key.trim().split('.').map(str::to_owned).collect();
        Ok(Setting { path, value: toml_or_text(value.trim()) })
    };
    set.iter().filter_map(|text| mistakes.take("--set", read(text))).collect()
}

fn toml_or_text(text: &str) -> Value {
    let table =
        toml::from_str::<toml::Table>(&format!("value = {text}")).ok().filter(|table| table.len() == 1);
    let value = table.and_then(|mut table| table.remove("value")).and_then(|value| value.try_into().ok());
    value.unwrap_or_else(|| Value::from(text))
}

/// Puts each setting into the jobs whose probe has it.
fn with_settings(mut jobs: Jobs, set: &[Setting], mistakes: &mut Mistakes) -> Jobs {
    for setting in set {
        let mut known = Vec::new();
        let mut used = false;
        for (_, job) in &mut jobs {
            let Ok(kind) = find_probe(&job.probe) else { continue };
            known.extend(kind.settings.iter().map(|(name, _)| *name));
            if kind.settings.iter().any(|(name, _)| *name == setting.path[0]) {
                put(&mut job.settings.0, &setting.path, &setting.value);
                used = true;
            }
        }
        if !used {
            known.dedup();
            mistakes
                .add(format!("--set {}", setting.path[0]), suggest::unknown_key(&setting.path[0], &known));
        }
    }
    jobs
}

fn put(tree: &mut Value, path: &[String], value: &Value) {
    let Some((key, rest)) = path.split_first() else {
        tree.clone_from(value);
        return;
    };
    if !matches!(tree.kind, ValueKind::Table(_)) {
        *tree = Subtree::default().0;
    }
    if let ValueKind::Table(table) = &mut tree.kind {
        put(table.entry(key.clone()).or_insert_with(|| Subtree::default().0), rest, value);
    }
}

/// Names a mistake in a setting after the flag that made it.
fn as_typed(mistakes: Vec<Mistake>, set: &[Setting]) -> Vec<Mistake> {
    let typed = |mut mistake: Mistake| {
        let setting = mistake.key.split_once(".settings.").map(|(_, setting)| setting.to_owned());
        if let Some(setting) = setting.filter(|name| set.iter().any(|set| name.starts_with(&set.path[0]))) {
            mistake.key = format!("--set {setting}");
        }
        mistake
    };
    mistakes.into_iter().map(typed).collect()
}
