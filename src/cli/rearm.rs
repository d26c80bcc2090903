//! `redprobe rearm`: allows again what was halted, beside a running daemon or without one. The daemon sees it within a
//! second.

use std::fmt::Write;

use anyhow::Context;

use super::{Exit, RearmArgs};
use crate::{
    config::{Mistakes, Overrides, Plan},
    probes,
    schedule::halted::{self, Halted, Wish},
};

pub(super) fn run(args: &RearmArgs) -> anyhow::Result<Exit> {
    let plan = Plan::load(args.config.config.as_deref(), &Overrides::default()).map_err(Mistakes)?;
    if let Some(name) = &args.probe {
        let known: Vec<_> = probes::PROBES.iter().map(|kind| kind.name).collect();
        let unknown = || format!("no probe is called {name:?}; there are {}", known.join(", "));
        probes::find(name).with_context(unknown)?;
    }
    let before = Halted::read(&plan.state_dir);
    if let Some(name) = &args.target {
        let halted = before.halts.iter().any(|halt| halt.target.as_ref() == Some(name));
        anyhow::ensure!(
            halted || plan.all_targets().any(|target| target.is_called(name)),
            "--target names no target; the targets are {}",
            plan.targets.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        );
    }
    let wish = Wish { target: args.target.clone(), probe: args.probe.clone() };
    let gone = halted::rearm(&plan.state_dir, &wish).map_err(anyhow::Error::msg)?;
    let after = Halted::read(&plan.state_dir);

    let mut out = String::new();
    for halt in &gone {
        let what = halt.probe.as_deref().unwrap_or("all that loads or disrupts");
        let place = halt.target.as_deref().unwrap_or("every target");
        writeln!(
            out,
            "allowed again: {what} on {place}, halted at {} ({}): {}",
            halt.at, halt.reason, halt.message
        )
        .ok();
    }
    if let Some(why) = &before.unreadable {
        writeln!(out, "allowed again: whatever was halted; {why}, and is written anew").ok();
    }
    if out.is_empty() {
        out.push_str("nothing was halted that this would allow again\n");
    }
    for sentence in after.sentences() {
        writeln!(out, "still {sentence}").ok();
    }
    super::print(out)?;
    Ok(Exit::Ok)
}
