//! `redprobe restore`: words about each setting, and 0 only when nothing is left.

use super::{
    child::{Run, killed_in_the_middle},
    *,
};

#[test]
fn each_setting_is_told_of_and_nothing_to_do_is_no_error() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    let output = restore(state.path(), &redis.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("nothing to put back"), "{}", text(&output));

    killed_in_the_middle(state.path(), &redis);
    redis.ok(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    let output = restore(state.path(), &redis.url(), &[], &[]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("maxmemory is \"209715200\" again"), "{text}");
    assert!(text.contains("somebody else has made it \"volatile-ttl\""), "{text}");
    assert_eq!(settings(&redis), [BEFORE[0], "volatile-ttl"]);
}

#[test]
fn the_server_may_be_named_by_a_url() {
    let (redis, other, state) = (server(), server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    // Neither the configured server nor one that was named by mistake is the one.
    let output = restore(state.path(), &other.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("--target URL"), "{}", text(&output));
    let output = restore(state.path(), &other.url(), &["--target", &other.url()], &[]);
    assert!(text(&output).contains("not the server that was asked for"), "{}", text(&output));
    assert_eq!((settings(&redis), settings(&other)), (CHANGED.map(str::to_owned), BEFORE.map(str::to_owned)));
    // By another address of the same server.
    let url = redis.url().replace("127.0.0.1", "localhost");
    let output = restore(state.path(), &other.url(), &["--target", &url], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(settings(&redis), BEFORE);
}

#[test]
fn a_run_that_is_under_way_keeps_what_it_has_changed() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    let run = Run::changed(state.path(), &redis);
    let output = restore(state.path(), &redis.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("in the hands of another redprobe"), "{}", text(&output));
    assert_eq!(settings(&redis), CHANGED);
    run.kill();
    let output = restore(state.path(), &redis.url(), &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(settings(&redis), BEFORE);
}

#[test]
fn what_is_denied_or_away_is_told_and_nothing_is_lost() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    killed_in_the_middle(state.path(), &redis);
    redis.ok(&["ACL", "SETUSER", "prober", "on", ">hunter2", "~*", "+@all", "-config|set"]);
    let url = redis.url().replace("//", "//prober:hunter2@");
    let output = restore(state.path(), &url, &[], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("not put back: denied"), "{}", text(&output));
    assert!(!text(&output).contains("hunter2"), "{}", text(&output));
    redis.pause();
    let output = restore(state.path(), &url, &[], &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    redis.resume();
    assert_eq!((settings(&redis), notes(state.path()).len()), (CHANGED.map(str::to_owned), 1));
    redis.ok(&["ACL", "SETUSER", "prober", "+config|set"]);
    let output = restore(state.path(), &url, &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(settings(&redis), BEFORE);
}
