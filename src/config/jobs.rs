//! From `[jobs.<name>]` to one job per target, with every check on the way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use measure::Effect;

use super::{
    Job, Limit, Mistakes, Schedule, Source, Target,
    raw::{JobSettings, Raw, Scalar},
    settings::{Size, Span},
    suggest,
    targets::{self, Targets},
    words,
};
use crate::{
    probe::{Built, Needs, ProbeKind},
    probes,
};

/// Every target.
const ALL: &str = "*";
/// The probe that `redprobe_up` comes from; every target has it.
const HEALTH: &str = "health";
const HEALTH_EVERY: &str = "every 15s";
const HEALTH_TIMEOUT: Span = Span::secs(5);
/// A job's timeout where none is set and the schedule does not ask for less.
const LONGEST_DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// Adds the health check of every target that no health job names.
pub(super) fn add_health(raw: &mut Raw) {
    let named = |target: &str| {
        let mut checks = raw.jobs.values().filter(|job| job.probe == HEALTH);
        checks.any(|job| job.targets.iter().any(|name| name == target || name == ALL))
    };
    let targets: Vec<String> = raw.targets.keys().filter(|name| !named(name)).cloned().collect();
    if targets.is_empty() {
        return;
    }
    // Beside a configured job of the same name it needs another: names tell jobs apart where they are shown.
    let name = [HEALTH, "health_default"].into_iter().find(|name| !raw.jobs.contains_key(*name));
    let job = JobSettings {
        probe: HEALTH.into(),
        targets,
        schedule: HEALTH_EVERY.into(),
        timeout: Some(HEALTH_TIMEOUT),
        ..JobSettings::default()
    };
    raw.jobs.insert(name.unwrap_or("health_of_the_rest").into(), job);
}

/// Resolves every job.
pub(super) fn jobs(
    raw: BTreeMap<String, JobSettings>,
    targets: &Targets,
    quick: bool,
    mistakes: &mut Mistakes,
) -> Vec<Arc<Job>> {
    let mut jobs: Vec<Arc<Job>> = Vec::new();
    let mut seen: HashMap<(&'static str, String, String), String> = HashMap::new();
    for (name, settings) in raw {
        let path = format!("jobs.{name}");
        let kind = mistakes.take(format!("{path}.probe"), find_probe(&settings.probe));
        let on = job_targets(&path, &settings, kind, targets, mistakes);
        for target in &on {
            kind.into_iter().for_each(|kind| check_effect(&path, kind, target, mistakes));
        }
        let Some(job) = template(&path, &settings, kind, quick, mistakes) else { continue };
        for target in on {
            check_room(&path, &job, &target, mistakes);
            let key = (job.kind.name, target.id.clone(), settings.variant.clone());
            if let Some(other) = seen.insert(key, name.clone()) {
                mistakes.add(
                    format!("{path}.variant"),
                    format!(
                        "jobs.{other} runs {} on {:?} as well; give one of them a variant, to tell their metrics apart",
                        job.kind.name, target.id
                    ),
                );
            }
            jobs.push(Arc::new(job.on(&name, target)));
        }
    }
    jobs
}

/// A job without its target.
struct Template {
    kind: &'static ProbeKind,
    built: Built,
    schedule: Schedule,
    timeout: Duration,
    variant: String,
    limits: Vec<Limit>,
}

impl Template {
    fn on(&self, name: &str, target: Arc<Target>) -> Job {
        Job {
            name: name.to_owned(),
            probe: Arc::clone(&self.built.probe),
            target,
            schedule: self.schedule.clone(),
            timeout: self.timeout,
            variant: self.variant.clone(),
            limits: self.limits.clone(),
            settings: self.built.settings.clone(),
        }
    }
}

/// Everything of a job that its targets do not decide. Every part is checked before any mistake ends it.
fn template(
    path: &str,
    settings: &JobSettings,
    kind: Option<&'static ProbeKind>,
    quick: bool,
    mistakes: &mut Mistakes,
) -> Option<Template> {
    if !settings.variant.is_empty() {
        mistakes.take(format!("{path}.variant"), words::name(&settings.variant));
    }
    let schedule = mistakes.take(format!("{path}.schedule"), words::schedule(&settings.schedule));
    let timeout = timeout(path, settings, schedule.as_ref(), mistakes);
    let kind = kind?;
    let limits = limits(path, kind, &settings.objectives, mistakes);
    let source = Source { path: format!("{path}.settings"), value: settings.settings.0.clone() };
    let built = (kind.build)(source, quick).map_err(|more| mistakes.0.extend(more)).ok();
    Some(Template {
        kind,
        built: built?,
        schedule: schedule?,
        timeout,
        variant: settings.variant.clone(),
        limits,
    })
}

/// The probe of this name.
///
/// # Errors
/// With the name that may have been meant, or all there are.
pub fn find_probe(name: &str) -> Result<&'static ProbeKind, String> {
    let names: Vec<&str> = probes::PROBES.iter().map(|kind| kind.name).collect();
    probes::find(name).ok_or_else(|| match suggest::nearest(name, names.iter().copied()) {
        _ if name.is_empty() => format!("missing; the probes are {}", names.join(", ")),
        Some(near) => format!("unknown probe {name:?}; did you mean {near:?}?"),
        None => format!("unknown probe {name:?}; the probes are {}", names.join(", ")),
    })
}

fn timeout(
    path: &str,
    settings: &JobSettings,
    schedule: Option<&Schedule>,
    mistakes: &mut Mistakes,
) -> Duration {
    let interval = match schedule {
        Some(Schedule::Every(interval)) => Some(*interval),
        _ => None,
    };
    let Some(span) = settings.timeout else {
        return interval.map_or(LONGEST_DEFAULT_TIMEOUT, |interval| interval.min(LONGEST_DEFAULT_TIMEOUT));
    };
    let key = format!("{path}.timeout");
    if let Some(interval) = interval.filter(|interval| span.0 > *interval) {
        mistakes.add(
            key,
            format!(
                "{span} is longer than the interval of {}: runs would overlap; lower it, or run less often",
                Span(interval)
            ),
        );
        return span.0;
    }
    targets::timeout(key, span, mistakes)
}

fn limits(
    path: &str,
    kind: &'static ProbeKind,
    objectives: &BTreeMap<String, Scalar>,
    mistakes: &mut Mistakes,
) -> Vec<Limit> {
    let names: Vec<&str> = kind.objectives.iter().map(|objective| objective.name).collect();
    for name in objectives.keys().filter(|name| !names.contains(&name.as_str())) {
        let message = if names.is_empty() {
            format!("unknown objective; {} has none", kind.name)
        } else {
            match suggest::nearest(name, names.iter().copied()) {
                Some(near) => format!("unknown objective; did you mean {near:?}?"),
                None => format!("unknown objective; those of {} are {}", kind.name, names.join(", ")),
            }
        };
        mistakes.add(format!("{path}.objectives.{name}"), message);
    }
    let limits = kind.objectives.iter().map(|objective| {
        let set = objectives.get(objective.name).and_then(|value| {
            mistakes
                .take(format!("{path}.objectives.{}", objective.name), words::limit(value, objective.unit))
        });
        Limit { objective, limit: set.unwrap_or(objective.limit) }
    });
    limits.collect()
}

/// The targets that a job names, each once; those with a mistake of their own are left out.
fn job_targets(
    path: &str,
    settings: &JobSettings,
    kind: Option<&ProbeKind>,
    targets: &Targets,
    mistakes: &mut Mistakes,
) -> Vec<Arc<Target>> {
    let key = format!("{path}.targets");
    if settings.targets.is_empty() {
        mistakes.add(key, "names no target; write some, or [\"*\"] for every one");
        return Vec::new();
    }
    if settings.targets.iter().any(|name| name == ALL) {
        if settings.targets.len() > 1 {
            mistakes.add(key, "\"*\" is every target already; leave out the other names");
        }
        return targets
            .values()
            .flatten()
            .flatten()
            .filter(|target| can_run(kind, target))
            .cloned()
            .collect();
    }
    let mut found = BTreeMap::new();
    for (index, name) in settings.targets.iter().enumerate() {
        if settings.targets[..index].contains(name) {
            mistakes.add(&key, format!("{name:?} is named twice"));
        } else if let Some(Some(nodes)) = mistakes.take(&key, targets::find(targets, name)) {
            for target in nodes.into_iter().filter(|target| can_run(kind, target) || target.id == *name) {
                if let Some(twice) = found.insert(target.id.clone(), target) {
                    mistakes.add(&key, format!("{name:?} and another of the names mean {:?}", twice.id));
                }
            }
        }
    }
    found.into_values().collect()
}

/// Whether the probe has anything to do there: nothing writes to a replica, which is left out where all nodes are meant.
fn can_run(kind: Option<&ProbeKind>, target: &Target) -> bool {
    !target.is_replica() || kind.is_none_or(|kind| kind.effect == Effect::Observe)
}

/// Whether the target allows the probe.
fn check_effect(path: &str, kind: &ProbeKind, target: &Target, mistakes: &mut Mistakes) {
    let Target { name, allow, .. } = target;
    let effect = kind.effect;
    if !can_run(Some(kind), target) {
        let message = format!(
            "{} needs {effect}, and {:?} is a replica, which is only looked at",
            kind.name, target.id
        );
        mistakes.add(format!("{path}.targets"), message);
        return;
    }
    if effect <= *allow {
        return;
    }
    let mend = if target.is_production() && effect > Effect::Touch {
        "is production, where nothing above touch runs; take it off the job's targets".into()
    } else {
        format!("allows {allow}; set targets.{name}.allow = \"{effect}\", or take it off the job's targets")
    };
    mistakes.add(format!("{path}.targets"), format!("{} needs {effect}, and {name:?} {mend}", kind.name));
}

/// Whether the target has room for what the probe takes at the least. A phase beyond that is skipped where there is none.
fn check_room(path: &str, job: &Template, target: &Target, mistakes: &mut Mistakes) {
    let Needs { connections, keys, bytes } = job.built.probe.needs(job.kind.effect);
    let mut check = |needed: u64, has: u64, key: &str, show: fn(u64) -> String| {
        if needed > has {
            let (name, needed, has) = (&target.name, show(needed), show(has));
            mistakes.add(
                format!("{path}.settings"),
                format!("a run takes {needed}, and targets.{name}.{key} is {has}; raise that, or lower the settings"),
            );
        }
    };
    check(connections, target.max_connections, "max_connections", |number| format!("{number} connections"));
    check(keys, target.max_keys, "max_keys", |number| format!("{number} keys"));
    check(bytes, target.max_bytes, "max_bytes", |bytes| Size(bytes).to_string());
}
