//! `redprobe check`: every mistake, or what the configuration comes to.

use std::fmt::Write;

use super::{ConfigArgs, Exit};
use crate::config::{Job, Mistakes, Overrides, Plan, Schedule, settings::Span, web::WebConfig};

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let plan = Plan::load(args.config.as_deref(), &Overrides::default()).map_err(Mistakes)?;
    let web = match &plan.http.web_config_file {
        Some(path) => WebConfig::load(path).outcome.map_err(Mistakes)?,
        None => WebConfig::default(),
    };
    super::print(summary(&plan, &web))?;
    Ok(Exit::Ok)
}

fn summary(plan: &Plan, web: &WebConfig) -> String {
    let mut out = match &plan.file {
        Some(path) => format!("{}: no mistakes\n", path.display()),
        None => "built-in defaults (no configuration file): no mistakes\n".to_owned(),
    };
    writeln!(out, "state in {}, HTTP on {}{}", plan.state_dir.display(), plan.http.listen, door(plan, web))
        .ok();
    writeln!(out, "{}", count(plan.targets.len(), "target")).ok();
    for target in plan.targets.values() {
        let tls = if target.endpoint.tls.is_some() { " (TLS)" } else { "" };
        let (name, address) = (&target.id, &target.endpoint.address);
        writeln!(out, "  {name}: {address}{tls}, {}, allows {}", target.environment, target.allow).ok();
    }
    if let Some(shard) = plan.shard {
        writeln!(out, "{} of other shards than {shard}", count(plan.elsewhere.len(), "target")).ok();
        for (id, target) in &plan.elsewhere {
            writeln!(out, "  {id}: {}", shard.of_target(&target.name)).ok();
        }
    }
    writeln!(out, "{}", count(plan.jobs.len(), "job")).ok();
    for job in &plan.jobs {
        writeln!(out, "  {}", line(job)).ok();
    }
    for note in plan.notes.iter().chain(&web.notes) {
        writeln!(out, "note: {note}").ok();
    }
    match (&plan.file, plan.all_targets().next().is_none()) {
        (_, true) => writeln!(out, "note: {}", super::NO_TARGET).ok(),
        (Some(path), false) => writeln!(out, "start it: redprobe serve --config {}", path.display()).ok(),
        (None, false) => writeln!(out, "start it: redprobe serve").ok(),
    };
    out
}

/// What of the web configuration guards the address.
fn door(plan: &Plan, web: &WebConfig) -> String {
    let Some(path) = &plan.http.web_config_file else { return String::new() };
    let tls = match &web.tls {
        Some(tls) => format!("TLS, {:?}", tls.admission.auth),
        None => "no TLS".to_owned(),
    };
    let users = if web.users.is_empty() { "no login" } else { "login" };
    let rate = if web.rate_limit.is_some() { ", rate limit" } else { "" };
    format!(" ({}: {tls}, {users}{rate})", path.display())
}

fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

fn line(job: &Job) -> String {
    let schedule = match &job.schedule {
        Schedule::Every(interval) => format!("every {}", Span(*interval)),
        Schedule::Cron(times) => format!("cron {} UTC", times.expression()),
        Schedule::Manual => "only when asked".into(),
    };
    let (probe, target) = (job.kind().name, &job.target.id);
    let variant = if job.variant.is_empty() { String::new() } else { format!(" as {}", job.variant) };
    format!(
        "{}: {probe}{variant} on {target}, {schedule}, at most {}, {}",
        job.name,
        Span(job.timeout),
        job.effect()
    )
}
