//! From the names in a request to the job that it means. Only configured targets have names here.

use std::{sync::Arc, time::Duration};

use measure::Effect;

use super::error::Error;
use crate::{
    config::{Job, Limit, Plan, Schedule, Source, Target},
    probe::ProbeKind,
    probes,
};

/// Bound of a run of a probe that no job configures.
const UNCONFIGURED_TIMEOUT: Duration = Duration::from_secs(300);

/// The configured job of this probe on this target; where there is none and no variant is asked for, one with the
/// probe's defaults that runs only now.
///
/// # Errors
/// 404 for an unknown name, 403 where the target does not allow the probe.
pub(super) fn job_of(
    plan: &Plan,
    probe: &str,
    target: &str,
    variant: Option<&str>,
) -> Result<Arc<Job>, Error> {
    let kind = probes::find(probe).ok_or_else(|| {
        let names: Vec<_> = probes::PROBES.iter().map(|kind| kind.name).collect();
        Error::not_found(format!("no probe is called {probe:?}; there are {}", names.join(", ")))
    })?;
    let target = target_of(plan, target)?;
    let mut jobs = plan.jobs.iter().filter(|job| job.kind().name == probe && job.target.id == target.id);
    let found = match variant {
        Some(variant) => jobs.find(|job| job.variant == variant),
        None => jobs.next(),
    };
    match (found, variant) {
        (Some(job), _) => Ok(Arc::clone(job)),
        (None, None | Some("")) => unconfigured(kind, target),
        (None, Some(variant)) => Err(Error::not_found(format!(
            "no job runs {probe} on {:?} with the variant {variant:?}",
            target.id
        ))),
    }
}

/// The target of this id, or of this name where that is one server.
fn target_of<'a>(plan: &'a Plan, name: &str) -> Result<&'a Arc<Target>, Error> {
    let mut called = plan.targets.values().filter(|target| target.is_called(name));
    match (called.next(), called.next()) {
        (Some(target), None) => Ok(target),
        (Some(one), Some(_)) => Err(Error::bad_request(format!(
            "the target {name:?} has several nodes; name one, such as {:?}",
            one.id
        ))),
        (None, _) => {
            let unknown = || format!("no target is called {name:?}; only configured targets are probed");
            Err(Error::not_found(plan.why_elsewhere(name).unwrap_or_else(unknown)))
        }
    }
}

/// The job that the configuration calls so; `target` tells which where it names several.
///
/// # Errors
/// 404 for an unknown name, 400 where the target has to be named.
pub(super) fn job_named(plan: &Plan, name: &str, target: Option<&str>) -> Result<Arc<Job>, Error> {
    let mut jobs = plan
        .jobs
        .iter()
        .filter(|job| job.name == name && target.is_none_or(|target| job.target.is_called(target)));
    match (jobs.next(), jobs.next()) {
        (Some(job), None) => Ok(Arc::clone(job)),
        (Some(_), Some(_)) => Err(Error::bad_request(format!(
            "the job {name:?} runs on several targets; say on which: {{\"job\": {name:?}, \"target\": …}}"
        ))),
        (None, _) => Err(Error::not_found(match target {
            Some(target) => plan
                .why_elsewhere(target)
                .unwrap_or_else(|| format!("no job called {name:?} runs on {target:?}")),
            None => format!("no job is called {name:?}"),
        })),
    }
}

fn unconfigured(kind: &'static ProbeKind, target: &Arc<Target>) -> Result<Arc<Job>, Error> {
    allowed(kind.effect, target, kind.name)?;
    let source =
        Source { path: "settings".into(), value: config::Map::<String, config::Value>::new().into() };
    let built = (kind.build)(source, false).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        Error::bad_request(format!("{} needs a configured job: {}", kind.name, lines.join("; ")))
    })?;
    Ok(Arc::new(Job {
        name: kind.name.to_owned(),
        probe: built.probe,
        target: Arc::clone(target),
        schedule: Schedule::Manual,
        timeout: UNCONFIGURED_TIMEOUT,
        variant: String::new(),
        limits: kind.objectives.iter().map(|objective| Limit { objective, limit: objective.limit }).collect(),
        settings: built.settings,
    }))
}

fn allowed(effect: Effect, target: &Target, probe: &str) -> Result<(), Error> {
    if effect <= target.allow {
        return Ok(());
    }
    Err(Error::forbidden(format!(
        "{probe} needs {effect}, and the target {:?} allows {}; see targets.{}.allow",
        target.id, target.allow, target.name
    )))
}
