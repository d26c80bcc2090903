//! What is freed at once holds up the server: removal goes in small batches, and what nobody removes does not end in one
//! moment.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use testkit::{RedisServer, poll_until};

use super::{limited, measured};
use crate::probes::{ran, redprobe};

const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that may be freed by one command, or in one turn of the server's expiry (ten a second): a millisecond or two.
const AT_ONCE: u64 = 4 << 20;

/// A run with this limit, on a target with room for it; its report comes to stdout.
fn start(server: &RedisServer, directory: &Path, settings: &[&str]) -> Child {
    let config = directory.join("redprobe.toml");
    let text =
        format!("[targets.big]\nurl = \"{}\"\nallow = \"disrupt\"\nmax_bytes = \"4GB\"\n", server.url());
    fs::write(&config, text).expect("the directory can be written");
    let config = config.display().to_string();
    let words = ["run", "memory_pressure", "--config", &config, "--target", "big", "--format", "json"];
    let more = ["--timeout", "60s"].into_iter().chain(settings.iter().flat_map(|setting| ["--set", setting]));
    redprobe(directory, &words.into_iter().chain(more).collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Fills, and is killed while it watches: returns how many keys are left to end by themselves.
fn fill_and_die(server: &RedisServer, directory: &Path) -> u64 {
    let mut child = start(server, directory, &["monitor=30s", "recovery=100ms"]);
    let limit: u64 = server.info("maxmemory").parse().expect("a number");
    let full = || server.info("used_memory").parse::<u64>().is_ok_and(|used| used >= limit / 100 * 80);
    assert!(poll_until(PATIENCE, full), "it does not fill");
    // Until the last of the batch is there.
    thread::sleep(Duration::from_millis(300));
    child.kill().expect("it runs");
    child.wait().expect("it is a child");
    server.cli(&["DBSIZE"]).parse().expect("a number")
}

/// The most keys that end within the same tenth of a second.
const MOST_AT_ONCE: &str = "local windows, most = {}, 0 for _, key in ipairs(redis.call('KEYS', 'redprobe:*:fill:*')) do \
        local window = math.floor(redis.call('PEXPIRETIME', key) / 100) \
        windows[window] = (windows[window] or 0) + 1 \
        most = math.max(most, windows[window]) \
    end return most";

#[test]
fn what_nobody_removes_does_not_end_in_one_moment() {
    let server = limited("80mb", "noeviction");
    let directory = tempfile::tempdir().unwrap();
    let keys = fill_and_die(&server, directory.path());
    assert!(keys > 1_000, "{keys}");
    let most: u64 = server.cli(&["EVAL", MOST_AT_ONCE, "0"]).parse().unwrap();
    let share = most as f64 / keys as f64;
    // A fill of some tenths of a second, over two minutes.
    assert!(share < 0.02, "{most} of {keys} keys end within a tenth of a second");
}

#[test]
fn no_command_removes_more_than_a_few_megabytes() {
    let server = limited("80mb", "noeviction");
    let directory = tempfile::tempdir().unwrap();
    // Few keys, and large ones.
    let settings = ["monitor=100ms", "recovery=100ms", "delete_keys=250"];
    let child = start(&server, directory.path(), &settings);
    let ran = ran(&child.wait_with_output().unwrap());
    let run = ran.expect_measured();
    let calls = server.info("cmdstat_unlink");
    let calls: f64 = calls.split([',', '=']).nth(1).unwrap().parse().unwrap();
    assert!(measured(run, "filled") / calls <= AT_ONCE as f64, "{calls} calls of UNLINK");
}

#[cfg(feature = "soak")]
mod soak {
    use super::*;

    /// As the server's own monitor has it, in milliseconds.
    const LONGEST: &str = "20";
    const FREEING: [&str; 7] = [
        "command",
        "fast-command",
        "expire-cycle",
        "expire-del",
        "eviction-cycle",
        "eviction-del",
        "while-blocked-cron",
    ];

    fn server() -> RedisServer {
        let server = limited("2560mb", "noeviction");
        server.ok(&["CONFIG", "SET", "latency-monitor-threshold", LONGEST]);
        server
    }

    fn held_up(server: &RedisServer) -> Vec<String> {
        let latest = server.cli(&["LATENCY", "LATEST"]);
        println!("LATENCY LATEST: {latest:?}");
        latest.lines().filter(|line| FREEING.contains(line)).map(str::to_owned).collect()
    }

    #[test]
    fn the_removal_of_2_gb_does_not_hold_up_the_server() {
        // A machine that does something else for 20 ms looks the same: one look in three has to be undisturbed.
        let undisturbed = (0..3).any(|_| {
            let (server, directory) = (server(), tempfile::tempdir().unwrap());
            let child = start(&server, directory.path(), &["monitor=1s", "recovery=1s"]);
            let ran = ran(&child.wait_with_output().unwrap());
            assert!(measured(ran.expect_measured(), "filled") > 1.9e9);
            held_up(&server).is_empty()
        });
        assert!(undisturbed);
    }

    #[test]
    fn the_expiry_of_2_gb_does_not_hold_up_the_server() {
        let undisturbed = (0..3).any(|_| {
            let (server, directory) = (server(), tempfile::tempdir().unwrap());
            let keys = fill_and_die(&server, directory.path());
            let filling = held_up(&server);
            let _ = server.cli(&["LATENCY", "RESET"]);
            let gone = || server.cli(&["DBSIZE"]) == "0";
            assert!(poll_until(Duration::from_secs(420), gone), "{keys} keys do not end");
            println!("{keys} keys ended; while they were written: {filling:?}");
            held_up(&server).is_empty()
        });
        assert!(undisturbed);
    }
}
