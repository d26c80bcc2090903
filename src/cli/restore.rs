//! `redprobe restore`: puts back what a killed redprobe has left changed, and says in words what became of each setting.
//!
//! How that is done, and which server is the one meant, belongs to `schedule::restore`.

use std::{fmt::Write as _, sync::Arc};

use super::{Exit, RestoreArgs};
use crate::{
    config::{Mistakes, Overrides, Plan, Target},
    schedule::restore::{Among, Attempt, EntryFate, Outcome, Restorer, SOON, names, said_of_damaged},
    sink::Sinks,
};
use measure::journal::{Entry, Journal};

/// Tries once on every server, and prints what came of it.
///
/// # Errors
/// For a configuration with mistakes.
pub(super) async fn run(args: &RestoreArgs) -> anyhow::Result<Exit> {
    let file = args.config.config.as_deref();
    let (plan, among) = match &args.target {
        Some(target) => (Plan::for_target(file, target, &(&args.access).into()), Among::Chosen),
        None => (Plan::load(file, &Overrides::default()), Among::Configured),
    };
    let plan = plan.map_err(Mistakes)?;
    let targets: Vec<Arc<Target>> = plan.all_targets().cloned().collect();
    let journal = Journal::of(&plan.state_dir);
    let folder = journal.folder().display().to_string();
    let restorer = Restorer::new(journal, Arc::new(Sinks::new(1)));
    let outcome = restorer.attempt(&targets, among, SOON).await;
    let (text, done) = told(&outcome, among, &folder);
    super::print(text)?;
    Ok(if done { Exit::Ok } else { Exit::NotMeasured })
}

/// What to print, and whether nothing is left to be put back.
fn told(outcome: &Outcome, among: Among, folder: &str) -> (String, bool) {
    let (mut text, mut done) = (String::new(), true);
    for Attempt { entry, fate, .. } in &outcome.attempts {
        let (lines, left) = said_of(entry, fate, among);
        let Entry { target, address, run, .. } = entry;
        for line in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{target} ({address}), run {run}: {line}");
        }
        done &= !left;
    }
    for damaged in &outcome.damaged {
        let _ = writeln!(text, "error: {}", said_of_damaged(damaged));
        done = false;
    }
    if let Some(error) = &outcome.unreadable {
        let _ = writeln!(text, "error: {error}");
        done = false;
    }
    if text.is_empty() {
        let _ = writeln!(text, "nothing to put back: no dead run has left a note in {folder}");
    }
    (text, done)
}

/// A line per setting where something became of it, else one for all; and whether something is left.
fn said_of(entry: &Entry, fate: &EntryFate, among: Among) -> (Vec<String>, bool) {
    let names = names(entry);
    match fate {
        EntryFate::Done(restored) => {
            let back = restored
                .restored
                .iter()
                .map(|fate| format!("{} is {:?} again, as before the run", fate.setting.parameter, fate.now));
            (back.chain(restored.conflicts.iter().map(ToString::to_string)).collect(), false)
        }
        EntryFate::Failed(failure) => {
            (vec![format!("error: {names} not put back: {failure}; mend that and try again")], true)
        }
        EntryFate::NoTarget if among == Among::Chosen => {
            (vec![format!("{names} not put back: this is not the server that was asked for")], false)
        }
        EntryFate::NoTarget => (
            vec![format!(
                "error: {names} not put back: no target of the configuration is this server; name it with --target URL"
            )],
            true,
        ),
        EntryFate::UnderWay => (
            vec![format!(
                "error: {names} not put back: in the hands of another redprobe, which runs there or puts them back now"
            )],
            true,
        ),
    }
}
