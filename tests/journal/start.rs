//! A daemon that starts after another was killed: what it puts back, what it leaves alone, and what it keeps trying.

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
