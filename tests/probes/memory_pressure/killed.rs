//! Killed at any step or moment: whoever comes next finds the settings changed and puts them back, before it is ready; no
//! key of others is lost, and the run's own end by themselves.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use testkit::RedisServer;

use super::{limited, others::Users, settings};
use crate::{probes::redprobe, support::Daemon};

/// Bound of the run, and how long its keys outlive that at the most.
const TIMEOUT: &str = "40s";
const KEYS_LIVE: Duration = Duration::from_secs(40 + 300);

/// A server with keys of others, and a state directory for whoever presses on it.
struct Bed {
    server: RedisServer,
    users: Users,
    state: tempfile::TempDir,
}

/// Few batches, so that a run passes few steps.
const SETTINGS: [&str; 10] = [
    "max_foreign_keys=5000",
    "accept_foreign_oom=true",
    "temp_policy=noeviction",
    "temp_maxmemory=16MB",
    "batch_size=1000",
    "monitor=200ms",
    "monitoring_interval=100ms",
    "recovery=100ms",
    "delete_keys=500",
    "max_fill=4MB",
];

impl Bed {
    fn new(policy: &str) -> Self {
        let server = limited("32mb", policy);
        let users = Users::plant(&server, 5_000);
        Self { server, users, state: tempfile::tempdir().expect("a directory can be made") }
    }

    fn run(&self) -> Command {
        let url = self.server.url();
        let words = ["run", "memory_pressure", "--target", &url, "--allow", "disrupt", "--timeout", TIMEOUT];
        let set = SETTINGS.iter().flat_map(|setting| ["--set", setting]);
        let mut command = redprobe(self.state.path(), &words.into_iter().chain(set).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the daemon, and looks once it is ready.
    fn check(&self, what: &str) {
        let _daemon = Daemon::start(&config(self.state.path(), &self.server.url()));
        self.users.check_settings(&self.server, what);
        self.users.check_keys(&self.server, what);
        let longest = self.server.cli(&["EVAL", LONGEST_LIFE, "0"]);
        let longest: i64 = longest.parse().unwrap_or_else(|_| panic!("{what}: {longest}"));
        assert!(Duration::from_millis(u64::try_from(longest).expect(what)) <= KEYS_LIVE, "{what}: {longest}");
        // What is left ends by itself; the next run is not to wait for that.
        self.server.ok(&["EVAL", REMOVE, "0"]);
    }
}

fn config(state: &Path, url: &str) -> String {
    format!(
        "state_dir = {:?}\n[targets.shared]\nurl = {url:?}\nallow = \"disrupt\"\n\
         [jobs.info]\nprobe = \"server_info\"\ntargets = [\"shared\"]\nschedule = \"every 1m\"\n",
        state.display().to_string()
    )
}

/// In milliseconds, of all keys of redprobe; −1 where one of them lives for ever.
const LONGEST_LIFE: &str = "local longest = 0 for _, key in ipairs(redis.call('KEYS', 'redprobe:*')) do \
        local life = redis.call('PTTL', key) \
        if life == -1 then return -1 end \
        longest = math.max(longest, life) \
    end return longest";
const REMOVE: &str = "for _, key in ipairs(redis.call('KEYS', 'redprobe:*')) do redis.call('UNLINK', key) end return redis.status_reply('OK')";

/// Kills a run at each step it passes, `stride` steps apart; returns how many it was killed at.
fn at_every_step(policy: &str, (first, stride): (u64, usize)) -> usize {
    let bed = Bed::new(policy);
    for (killed, step) in (first..).step_by(stride).enumerate() {
        let status = bed.run().env("REDPROBE_CRASH_AT", step.to_string()).status().expect("the binary runs");
        let what = format!("a kill at step {step} under {policy}");
        bed.check(&what);
        if status.signal().is_none() {
            assert!(status.code().is_some_and(|code| code < 3), "{what}: {status}");
            return killed;
        }
        assert_eq!(status.signal(), Some(9), "{what}");
    }
    unreachable!("a run passes a bounded number of steps")
}

/// Kills runs after these times.
fn at_moments(policy: &str, moments: impl Iterator<Item = Duration>) {
    let bed = Bed::new(policy);
    let (before, mut found_changed) = (settings(&bed.server), 0);
    for moment in moments {
        let mut child = bed.run().spawn().expect("the binary runs");
        thread::sleep(moment);
        child.kill().expect("it runs, or was not waited for");
        child.wait().expect("it is a child");
        found_changed += u32::from(settings(&bed.server) != before);
        bed.check(&format!("a kill after {moment:?} under {policy}"));
    }
    assert!(found_changed > 0, "no kill came while settings were changed");
}

/// Spread over a run's length as by chance, the same at each call.
fn moments(count: u32, longest: Duration) -> impl Iterator<Item = Duration> {
    (0..count).map(move |index| longest.mul_f64((f64::from(index) * 0.618_033_988_7).fract()))
}

/// About the time that such a run takes.
const RUN_TAKES: Duration = Duration::from_millis(1_800);

#[test]
fn a_kill_at_a_step_leaves_no_mark() {
    // Some at each of two policies; `make soak` has all of them at all.
    assert!(at_every_step("allkeys-lru", (2, 6)) >= 2);
    assert!(at_every_step("noeviction", (5, 6)) >= 2);
}

#[test]
fn a_kill_at_any_moment_leaves_no_mark() {
    at_moments("allkeys-lfu", moments(5, RUN_TAKES));
}

#[cfg(feature = "soak")]
mod soak {
    use super::*;

    #[test]
    fn a_kill_at_every_step_under_every_policy_leaves_no_mark() {
        for policy in super::super::POLICIES {
            let killed = at_every_step(policy, (1, 1));
            println!("{policy}: killed at {killed} steps");
            assert!(killed >= 10, "{policy}: {killed}");
        }
    }

    #[test]
    fn a_kill_at_a_hundred_moments_leaves_no_mark() {
        at_moments("allkeys-lru", moments(50, RUN_TAKES));
        at_moments("volatile-ttl", moments(50, RUN_TAKES));
    }
}
