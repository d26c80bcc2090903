//! Keys of a run: written only as they should be, removed whatever state the server is in, never somebody else's.

use std::time::Duration;

use measure::{
    Failure, OwnErrors, ProbeError, Reason,
    keys::{CleanUp, KeyBudget, KeySpace, Whose, leftovers, remove_run},
    redis,
};
use testkit::RedisServer;

use crate::support::{connect, endpoint};

const GENEROUS: KeyBudget = KeyBudget { keys: 1_000_000, bytes: 1 << 30 };

fn space(run: &str) -> KeySpace {
    KeySpace::new("staging", "test", run, Duration::from_secs(60), GENEROUS)
}

/// Writes the first `count` keys of a group of `of`, besides one key that is somebody else's.
async fn write(server: &RedisServer, keys: &KeySpace, count: u64, of: u64) {
    server.ok(&["SET", "foreign", "1"]);
    let mut conn = connect(server).await;
    let range = keys.range("group", of, 8).unwrap();
    let mut pipe = redis::pipe();
    for index in 0..count {
        pipe.add_command(range.set_one(index, b"12345678")).ignore();
    }
    pipe.query_async::<()>(&mut conn).await.unwrap();
}

#[tokio::test]
async fn removes_what_was_written_and_nothing_else() {
    let server = RedisServer::start();
    let (keys, other) = (space("run"), space("other"));
    write(&server, &keys, 1_234, 2_000).await;
    write(&server, &other, 1, 1).await;
    assert!(
        server.cli(&["PTTL", "redprobe:{staging}:test:run:group:000000000"]).parse::<u64>().unwrap() > 50_000
    );

    let mut conn = connect(&server).await;
    let done = keys.clean_up(&mut conn).await.unwrap();
    assert_eq!(done, CleanUp { keys_removed: 1_234, left_over: 0 });
    assert_eq!(server.keys(), ["foreign", "redprobe:{staging}:test:other:group:000000000"]);
    assert_eq!(keys.clean_up(&mut conn).await.unwrap(), done, "again, with nothing to do");
    let batches = server.cli(&["INFO", "commandstats"]);
    assert!(batches.contains("cmdstat_unlink:calls=8,"), "{batches}");
}

#[tokio::test]
async fn an_untouched_space_asks_nothing() {
    let server = RedisServer::start();
    let keys = space("run");
    let _ = keys.range("group", 1_000, 8).unwrap().get();
    assert!(keys.is_untouched());
    let mut conn = connect(&server).await;
    assert_eq!(keys.clean_up(&mut conn).await.unwrap(), CleanUp::default());
    assert!(!server.cli(&["INFO", "commandstats"]).contains("unlink"));
}

#[tokio::test]
async fn cleans_up_a_server_out_of_memory() {
    let server = RedisServer::start();
    let keys = space("run");
    write(&server, &keys, 1_000, 1_000).await;
    server.ok(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut conn = connect(&server).await;
    let refused = keys.range("more", 1, 1).unwrap().set_one(0, b"x").query_async::<()>(&mut conn).await;
    assert_eq!(Failure::from(refused.unwrap_err()).reason, Reason::Oom);
    let done = keys.clean_up(&mut conn).await.unwrap();
    assert_eq!(done, CleanUp { keys_removed: 1_000, left_over: 0 });
}

#[tokio::test]
async fn says_what_is_left_where_removal_is_refused() {
    let server = RedisServer::with(&["--enable-protected-configs", "yes"]);
    let keys = space("run");
    write(&server, &keys, 700, 1_000).await;
    // A save that cannot succeed makes the server refuse writes.
    server.ok(&["CONFIG", "SET", "dir", "/proc"]);
    server.ok(&["CONFIG", "SET", "save", "1 1"]);
    assert!(server.cli(&["SAVE"]).starts_with("ERR"));
    let refused = testkit::poll_until(Duration::from_secs(15), || {
        let _ = server.cli(&["BGSAVE"]);
        server.cli(&["SET", "foreign", "2"]).starts_with("MISCONF")
    });
    assert!(refused);

    let mut conn = connect(&server).await;
    let failure = keys.clean_up(&mut conn).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Misconf);
    assert_eq!(keys.cleaned_up(), CleanUp { keys_removed: 0, left_over: 700 });

    server.ok(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    assert_eq!(keys.clean_up(&mut conn).await.unwrap(), CleanUp { keys_removed: 700, left_over: 0 });
}

#[tokio::test]
async fn falls_back_to_del_and_counts_without_exists() {
    let server = RedisServer::start();
    let keys = space("run");
    write(&server, &keys, 10, 10).await;
    server.ok(&["ACL", "SETUSER", "poor", "on", ">x", "~redprobe:*", "+del"]);
    let url = server.url().replace("://", "://poor:x@");
    let (mut conn, _) = measure::conn::connect(&endpoint(&url), "test").await.unwrap();
    assert_eq!(keys.clean_up(&mut conn).await.unwrap(), CleanUp { keys_removed: 10, left_over: 0 });
    assert_eq!(server.keys(), ["foreign"]);
}

#[tokio::test]
async fn a_server_that_goes_away_leaves_an_upper_bound() {
    let mut server = RedisServer::start();
    let keys = space("run");
    write(&server, &keys, 10, 600).await;
    assert_eq!(keys.cleaned_up(), CleanUp { keys_removed: 0, left_over: 600 });
    let mut conn = connect(&server).await;
    server.kill();
    let failure = keys.clean_up(&mut conn).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Reset);
    assert_eq!(keys.cleaned_up(), CleanUp { keys_removed: 0, left_over: 600 });
}

#[tokio::test]
async fn removes_what_dead_runs_left_and_nothing_that_only_looks_like_it() {
    let server = RedisServer::start();
    write(&server, &space("dead"), 700, 700).await;
    write(&server, &space("live"), 5, 5).await;
    let similar = [
        "redprobe:lease",
        "redprobe:{staging}",
        "redprobe:{staging}:dead",
        "redprobe:{staging}:test:dead",
        "redprobe:{other}:test:dead:group:000000000",
        "redprobe:staging:test:dead:group:000000000",
        "redprobe:{stagingx}:test:dead:group:0",
        "xredprobe:{staging}:test:dead:group:0",
        "REDPROBE:{staging}:test:dead:group:0",
    ];
    similar.iter().for_each(|key| server.ok(&["SET", key, "x"]));
    // More keys than one call looks at, and names that are no text.
    let script = "for i = 1, 5000 do redis.call('SET', 'f' .. i, '') end redis.call('SET', 'redprobe:{staging}:\\255:dead:', '')";
    assert_eq!(server.cli(&["EVAL", script, "0"]), "");
    let mut conn = connect(&server).await;
    let found =
        leftovers(&mut conn, Whose::Target("staging"), 0, |probe, run| probe == "test" && run == "dead")
            .await
            .unwrap();
    assert_eq!((found.removed, found.left, found.next), (700, 0, None));
    assert!(similar.iter().all(|key| server.cli(&["EXISTS", key]) == "1"));
    assert_eq!(server.cli(&["DBSIZE"]), (5 + 1 + similar.len() + 5_000 + 1).to_string());
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(!stats.contains("cmdstat_keys"), "{stats}");
    let found = leftovers(&mut conn, Whose::Target("nobody"), 0, |_, _| true).await.unwrap();
    assert_eq!((found.removed, found.left), (0, 0));
}

#[tokio::test]
async fn a_target_whose_name_is_a_pattern_has_no_other_ones_keys() {
    let server = RedisServer::start();
    let name = "redis://[::1]:6379/*?\\";
    let own = KeySpace::new(name, "test", "dead", Duration::from_secs(60), GENEROUS);
    let other = KeySpace::new("redis://::6379/xy\\", "test", "dead", Duration::from_secs(60), GENEROUS);
    write(&server, &own, 3, 3).await;
    write(&server, &other, 3, 3).await;
    let mut conn = connect(&server).await;
    let found = leftovers(&mut conn, Whose::Target(name), 0, |_, _| true).await.unwrap();
    assert_eq!((found.removed, found.left), (3, 0));
    write(&server, &own, 2, 2).await;
    assert_eq!(remove_run(&mut conn, Whose::Target(name), "dead").await.unwrap(), 2);
    assert_eq!(server.cli(&["DBSIZE"]), "4", "the other three and a foreign one");
}

#[tokio::test]
async fn a_big_database_is_looked_at_in_parts() {
    let server = RedisServer::start();
    write(&server, &space("dead"), 100, 100).await;
    let script = "for i = 1, 300000 do redis.call('SET', i, '') end";
    assert_eq!(server.cli(&["EVAL", script, "0"]), "");
    let mut conn = connect(&server).await;
    let (mut from, mut removed, mut parts) = (Some(0), 0, 0);
    while let Some(cursor) = from {
        let found = leftovers(&mut conn, Whose::Target("staging"), cursor, |_, _| true).await.unwrap();
        (from, removed, parts) = (found.next, removed + found.removed, parts + 1);
    }
    assert_eq!((removed, parts), (100, 2));
}

#[tokio::test]
async fn leftovers_that_may_not_be_removed_are_counted() {
    let server = RedisServer::start();
    write(&server, &space("dead"), 7, 7).await;
    server.ok(&["ACL", "SETUSER", "poor", "on", ">x", "~redprobe:*", "+scan", "+exists"]);
    let url = server.url().replace("://", "://poor:x@");
    let (mut conn, _) = measure::conn::connect(&endpoint(&url), "test").await.unwrap();
    let found = leftovers(&mut conn, Whose::Target("staging"), 0, |_, _| true).await.unwrap();
    assert_eq!((found.removed, found.left), (0, 7));
    assert_eq!(found.refused.unwrap().reason, Reason::Denied);
}

#[tokio::test]
async fn refuses_what_the_budget_does_not_allow() {
    let keys =
        KeySpace::new("staging", "test", "run", Duration::from_secs(60), KeyBudget { keys: 1, bytes: 1 });
    assert!(matches!(keys.range("a", 2, 0), Err(ProbeError::Skipped(_))));
}

#[tokio::test]
async fn own_keys_that_were_evicted_are_told_from_those_removed() {
    let server = RedisServer::start();
    let (keys, own) = (space("run"), OwnErrors::default());
    let range = keys.range("fill", 3_000, 100).unwrap();
    let mut conn = connect(&server).await;
    let filled = range.fill(&mut conn, 0..2_000, &[b'x'; 100], &own).await.unwrap();
    assert_eq!((filled.written, filled.refused, keys.known()), (2_000, 0, 2_000));
    assert_eq!(keys.lost(&mut conn).await.unwrap(), 0);
    let ttl: i64 = server.cli(&["PTTL", &range.key(1_999)]).parse().unwrap();
    assert!(ttl > 0, "{ttl}");

    // Two that will be removed and one that will not go another way; a foreign one does not count.
    server.ok(&["SET", "foreign", "x"]);
    for key in [range.key(5), range.key(6), range.key(1_500)] {
        assert_eq!(server.cli(&["DEL", &key]), "1");
    }
    assert_eq!(server.cli(&["DEL", "foreign"]), "1");
    assert_eq!(keys.lost(&mut conn).await.unwrap(), 3);
    assert_eq!(range.remove(&mut conn, 0..1_000).await.unwrap(), 998);
    assert_eq!((keys.known(), keys.lost(&mut conn).await.unwrap()), (1_000, 3));
    assert_eq!(keys.clean_up(&mut conn).await.unwrap(), CleanUp { keys_removed: 998 + 999, left_over: 0 });
}

#[tokio::test]
async fn refused_keys_are_on_the_own_account_and_a_stopped_run_writes_no_more() {
    let server = RedisServer::with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let (keys, own) = (space("run"), OwnErrors::default());
    let range = keys.range("fill", 1_000, 10_000).unwrap();
    let mut conn = connect(&server).await;
    let filled = range.fill(&mut conn, 0..1_000, &[b'x'; 10_000], &own).await.unwrap();
    assert!(filled.written > 0 && filled.refused > 0 && filled.written + filled.refused == 1_000);
    assert_eq!(filled.refusal.unwrap().reason, Reason::Oom);
    assert_eq!((own.noted(Reason::Oom), keys.known()), (filled.refused, filled.written));
    assert!(server.cli(&["INFO", "errorstats"]).contains(&format!("errorstat_OOM:count={}", filled.refused)));

    keys.seal();
    let calls = server.cli(&["INFO", "commandstats"]);
    let failure = range.fill(&mut conn, 0..1, b"x", &own).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Cancelled);
    let set = |text: &str| text.lines().find(|line| line.starts_with("cmdstat_set:")).map(str::to_owned);
    assert_eq!(set(&server.cli(&["INFO", "commandstats"])), set(&calls));
}

/// Ids of what a read gave; `None` for nil.
type Entries = Option<redis::streams::StreamReadReply>;

fn ids(entries: Entries) -> Vec<String> {
    entries.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).map(|entry| entry.id).collect()
}

#[tokio::test]
async fn streams_are_read_from_any_id_and_a_group_gives_again_what_it_gave() {
    let server = RedisServer::start();
    let keys = space("run");
    let streams = keys.range("streams", 1, 0).unwrap();
    let mut conn = connect(&server).await;
    streams.xgroup_create(0, "readers").query_async::<()>(&mut conn).await.unwrap();
    let mut written = Vec::new();
    for number in [b"1", b"2", b"3"] {
        let ((id, ttl_set),): ((String, u8),) =
            streams.xadd(0, &[("n", number)]).query_async(&mut conn).await.unwrap();
        assert_eq!(ttl_set, 1);
        written.push(id);
    }
    assert!(server.cli(&["PTTL", &streams.key(0)]).parse::<u64>().unwrap() > 50_000);

    let (now, soon) = (Duration::ZERO, Duration::from_millis(1));
    let after = streams.xread(0, now, &written[0]).query_async(&mut conn).await.unwrap();
    assert_eq!(ids(after), written[1..]);
    for nothing in [streams.xread(0, now, "$"), streams.xread(0, soon, &written[2])] {
        assert_eq!(ids(nothing.query_async(&mut conn).await.unwrap()), [""; 0], "nil, and not for ever");
    }
    let given = streams.xreadgroup(0, now, "readers", ">").query_async(&mut conn).await.unwrap();
    assert_eq!(ids(given), written);
    let again = streams.xreadgroup(0, soon, "readers", &written[1]).query_async(&mut conn).await.unwrap();
    assert_eq!(ids(again), written[2..], "it was given, and never acknowledged");

    let _ = server.cli(&["DEL", &streams.key(0)]);
    server.ok(&["SET", &streams.key(0), "no stream"]);
    let refused = streams.xadd(0, &[("n", b"4")]).query_async::<()>(&mut conn).await.unwrap_err();
    let why = Failure::from(refused).message;
    assert!(why.starts_with("WRONGTYPE"), "the command's own words, not those of the transaction: {why}");
}
