//! A daemon that starts after another was killed: what it puts back, what it leaves alone, and what it keeps trying.

use redprobe::config::Shard;

use super::{child::killed_in_the_middle, *};

const UNRESTORED: &str = "redprobe_unrestored_settings";

#[test]
fn what_somebody_changed_meanwhile_is_left_alone_and_told() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    redis.ok(&["CONFIG", "SET", "maxmemory", "150mb"]);
    let mut daemon = Daemon::start(&config(state.path(), &redis.url(), "disrupt"));
    assert_eq!(settings(&redis), ["157286400", BEFORE[1]]);
    assert!(daemon.log().contains("restore_conflict"), "log:\n{}", daemon.log());
    assert_eq!(daemon.metric(UNRESTORED, &CACHE), Some(0.0));
    assert!(notes(state.path()).is_empty());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_target_that_is_away_is_tried_until_it_is_there() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    redis.pause();
    let config = config(state.path(), &redis.url(), "disrupt");
    let mut daemon = Daemon::start(&config);
    assert_eq!(daemon.metric(UNRESTORED, &CACHE), Some(2.0));
    assert_eq!(daemon.stop(), Some(4), "it says that nothing is left; log:\n{}", daemon.log());
    assert_eq!(notes(state.path()).len(), 1);

    let mut daemon = Daemon::start(&config);
    assert_eq!(daemon.metric(UNRESTORED, &CACHE), Some(2.0));
    redis.resume();
    daemon.await_metric(UNRESTORED, &CACHE, |left| left == 0.0);
    assert_eq!(settings(&redis), BEFORE);
    assert!(notes(state.path()).is_empty());
    assert_eq!(daemon.stop(), Some(0), "log:\n{}", daemon.log());
}

#[test]
fn a_server_started_again_from_its_file_is_asked_anew() {
    let (mut redis, state) = (server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    redis.restart();
    let mut daemon = Daemon::start(&config(state.path(), &redis.url(), "disrupt"));
    assert_eq!(settings(&redis), BEFORE);
    assert!(notes(state.path()).is_empty(), "log:\n{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_target_that_is_not_configured_any_more_is_kept_and_told() {
    let (redis, other, state) = (server(), server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    // The same name, but another server: nothing is done to it.
    other.ok(&["CONFIG", "SET", "maxmemory", CHANGED[0], "maxmemory-policy", CHANGED[1]]);
    let mut daemon = Daemon::start(&config(state.path(), &other.url(), "disrupt"));
    assert!(daemon.log().contains("redprobe restore --target URL"), "log:\n{}", daemon.log());
    assert_eq!(
        (settings(&redis), settings(&other)),
        (CHANGED.map(str::to_owned), CHANGED.map(str::to_owned))
    );
    assert_eq!(daemon.stop(), Some(4));
    assert_eq!(notes(state.path()).len(), 1);
}

/// Another process has the target since the number of shards changed; the note of what was changed there is still here.
#[test]
fn a_target_that_another_shard_has_is_put_back_all_the_same() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    redis.pause();
    let shards = ["1/2", "2/2"].map(|shard| Shard::parse(shard).unwrap());
    let another = shards.into_iter().find(|shard| shard.of_target("cache") != *shard).expect("one of two");
    let config = config(state.path(), &redis.url(), "disrupt");
    let mut daemon = Daemon::start(&format!("shard = \"{another}\"\n{config}"));
    assert_eq!(daemon.metric("redprobe_target_info", &CACHE), None);
    assert_eq!(daemon.metric(UNRESTORED, &CACHE), Some(2.0), "nobody would know");
    redis.resume();
    assert!(poll_until(PATIENCE, || daemon.metric(UNRESTORED, &CACHE).is_none()), "log:\n{}", daemon.log());
    assert_eq!(settings(&redis), BEFORE);
    assert!(notes(state.path()).is_empty());
    assert_eq!(daemon.stop(), Some(0), "log:\n{}", daemon.log());
}

#[test]
fn a_note_that_cannot_be_trusted_is_put_aside_and_told() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    let note = state.path().join("journal").join(&notes(state.path())[0]);
    let damaged = fs::read_to_string(&note).unwrap().replace(BEFORE[0], "209715201");
    fs::write(&note, damaged).unwrap();
    let mut daemon = Daemon::start(&config(state.path(), &redis.url(), "disrupt"));
    assert_eq!(settings(&redis), CHANGED, "a value was taken from a damaged note");
    let [name] = &notes(state.path())[..] else { panic!("{:?}", notes(state.path())) };
    assert!(name.ends_with(".jsonl.damaged"), "{name}");
    assert!(daemon.log().contains(name.as_str()), "log:\n{}", daemon.log());
    assert_eq!(daemon.stop(), Some(4));
}

/// As on a full disk: a file can be made, and nothing be written into it.
#[test]
fn without_room_for_a_note_nothing_is_disrupted_and_the_rest_goes_on() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    let file = state.path().join("redprobe.toml");
    fs::write(&file, config(&state.path().join("state"), &redis.url(), "disrupt")).unwrap();
    fs::create_dir(state.path().join("state")).unwrap();
    // The shell's way to leave a process no room: a signal that is ignored stays so in what it becomes.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let mut shell = std::process::Command::new("sh");
    let program = redprobe(&[]);
    shell.args(["-c", script, "sh"]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let output = shell
        .args(["run", "memory_pressure", "server_info", "--set", "temp_maxmemory=100mb", "--format", "json"])
        .args(["--config", &file.display().to_string()])
        .output()
        .unwrap();
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    for run in report["runs"].as_array().unwrap() {
        match run["probe"].as_str().unwrap() {
            "memory_pressure" => {
                assert_eq!((&run["outcome"], &run["reason"]), (&"skipped".into(), &"precondition".into()));
                let said = run["conclusion"].as_str().unwrap();
                assert!(said.contains("journal") && said.contains("give state_dir a directory"), "{said}");
            }
            probe => assert_eq!(run["outcome"], "passed", "{probe}: {run}"),
        }
    }
    assert_eq!(settings(&redis), BEFORE);
    assert_eq!(redis.find_info("cmdstat_config|set"), None);
}
