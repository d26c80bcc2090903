//! Settings that a run changes: put back whatever ends the run or the process, by the runner, the next start, or a person.
//!
//! How one change is written down and compared is the measuring core's, and is tested there. The probe here is made up:
//! it changes two settings and writes some keys.

use std::{fs, path::Path, process::Output, sync::Arc, time::Duration};

use measure::{Effect, ProbeError, Reason, report::Report};
use redprobe::{
    config::{Job, Target},
    probe::{ProbeCx, ProbeKind},
    schedule::runner::Trigger,
    sink::Record,
    verdict::Outcome,
};
use tempfile::TempDir;
use testkit::{RedisServer, poll_until};

use crate::{
    runner::{Bench, job, needing, target_at, write_keys},
    support::{Daemon, redprobe},
};

mod by_hand;
mod child;
mod crash;
mod failover;
mod run;
mod start;

/// For anything that a busy machine may delay; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

static DISRUPTING: ProbeKind = needing("disrupting", Effect::Disrupt);
static OBSERVING: ProbeKind = needing("observing", Effect::Observe);

/// `maxmemory` and `maxmemory-policy`, as the servers here are started, and as the probe makes them.
const BEFORE: [&str; 2] = ["209715200", "allkeys-lru"];
const CHANGED: [&str; 2] = ["104857600", "noeviction"];

fn server() -> RedisServer {
    RedisServer::with(&["--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"])
}

fn settings(redis: &RedisServer) -> [String; 2] {
    ["maxmemory", "maxmemory-policy"]
        .map(|name| redis.cli(&["CONFIG", "GET", name]).lines().nth(1).unwrap_or_default().to_owned())
}

/// A target on which everything is allowed.
fn disruptable(url: &str, name: &str) -> Arc<Target> {
    let Ok(target) = Arc::try_unwrap(target_at(url, name)) else { panic!("nobody else has it") };
    Arc::new(Target { allow: Effect::Disrupt, ..target })
}

async fn change(cx: &ProbeCx) -> Result<(), ProbeError> {
    let (mut conn, _) = cx.connect().await?;
    let wanted = [("maxmemory-policy", "noeviction".into()), ("maxmemory", "100mb".into())];
    cx.change_settings(&mut conn, &wanted).await?;
    write_keys(cx).await
}

/// The notes in the journal of a state directory.
fn notes(state: &Path) -> Vec<String> {
    let Ok(folder) = fs::read_dir(state.join("journal")) else { return Vec::new() };
    let mut names: Vec<_> =
        folder.map(|file| file.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// A configuration of this target alone, with a job that asks it something now and then.
fn config(state: &Path, url: &str, allow: &str) -> String {
    format!(
        "state_dir = {state:?}\n[targets.cache]\nurl = {url:?}\nallow = {allow:?}\n\
         [jobs.info]\nprobe = \"server_info\"\ntargets = [\"cache\"]\nschedule = \"every 1s\"\ntimeout = \"900ms\"\n",
        state = state.display().to_string()
    )
}

const CACHE: [&str; 1] = ["target=\"cache\""];

/// `redprobe restore`, with a configuration file beside the state directory.
fn restore(state: &Path, url: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let file = state.join("restore.toml");
    fs::write(&file, config(state, url, "disrupt")).expect("the directory can be written");
    let file = file.display().to_string();
    let mut command = redprobe(&[&["restore", "--config", &file], arguments].concat());
    command.envs(env.iter().copied()).output().expect("the binary under test can be started")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
