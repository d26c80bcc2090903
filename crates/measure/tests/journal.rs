//! The journal on real servers: what was changed is put back, by who changed it or by who comes after, and what somebody
//! else has set stays.

mod old;

use std::{fs, time::Duration};

use measure::{
    ProbeError, Reason,
    conn::{self, Endpoint},
    journal::{Changes, Journal, Origin, OwnKeys},
    lease::{self, Lease},
    redis::aio::MultiplexedConnection,
};
use tempfile::TempDir;
use testkit::RedisServer;

const LIMIT: &str = "104857600";

struct Bench {
    redis: RedisServer,
    state: TempDir,
}

impl Bench {
    fn new(arguments: &[&str]) -> Self {
        let arguments = [&["--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"], arguments].concat();
        Self { redis: RedisServer::with(&arguments), state: TempDir::new().unwrap() }
    }

    fn journal(&self) -> Journal {
        Journal::of(self.state.path())
    }

    fn changes(&self) -> Changes {
        Changes::new(self.journal(), self.origin())
    }

    fn origin(&self) -> Origin {
        Origin {
            target: "cache".into(),
            address: self.redis.address().to_string(),
            run: "01RUN".into(),
            keys_gone_at: measure::clock::wall() + Duration::from_secs(600),
        }
    }

    async fn connect(&self) -> MultiplexedConnection {
        connect(&self.redis.url()).await
    }

    fn setting(&self, name: &str) -> String {
        self.redis.cli(&["CONFIG", "GET", name]).lines().nth(1).unwrap_or_default().to_owned()
    }

    fn settings(&self) -> [String; 2] {
        ["maxmemory", "maxmemory-policy"].map(|name| self.setting(name))
    }

    fn files(&self) -> Vec<String> {
        let Ok(listing) = fs::read_dir(self.journal().folder()) else { return Vec::new() };
        let mut names: Vec<_> =
            listing.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

async fn connect(url: &str) -> MultiplexedConnection {
    conn::connect(&Endpoint::parse(url).unwrap(), "redprobe-test").await.unwrap().0
}

fn wanted() -> [(&'static str, String); 2] {
    [("maxmemory-policy", "noeviction".into()), ("maxmemory", "100mb".into())]
}

const BEFORE: [&str; 2] = ["209715200", "allkeys-lru"];
const CHANGED: [&str; 2] = [LIMIT, "noeviction"];

#[tokio::test]
async fn what_is_changed_is_put_back_and_leaves_no_mark() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    changes.change(&mut conn, &wanted()).await.unwrap();
    assert_eq!(bench.settings(), CHANGED);
    assert_eq!(bench.files(), ["01RUN-0.jsonl"]);
    assert_eq!(changes.pending().len(), 2);
    let restored = changes.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    assert_eq!(bench.settings(), BEFORE);
    assert_eq!((restored.restored.len(), restored.conflicts.len()), (2, 0));
    assert!(bench.files().is_empty() && changes.pending().is_empty());
}

#[tokio::test]
async fn who_comes_after_puts_back_what_a_dead_run_left() {
    let bench = Bench::new(&[]);
    let mut conn = bench.connect().await;
    let changes = bench.changes();
    changes.change(&mut conn, &wanted()).await.unwrap();
    // While its process lives, nobody else gets hold of it.
    let found = bench.journal().find().unwrap();
    assert_eq!((found.open.len(), found.live.len()), (0, 1));
    drop(changes);
    let found = bench.journal().find().unwrap();
    let [open] = found.open.as_slice() else { panic!("{found:?}") };
    assert_eq!(open.entry.target, "cache");
    assert_eq!(open.entry.address, bench.redis.address().to_string());
    assert_eq!(open.entry.server_run_id, bench.redis.info("run_id"));
    assert_eq!((open.entry.settings.len(), open.entry.settings[1].original.as_str()), (2, BEFORE[0]));
    let mut other = bench.connect().await;
    open.restore(&mut other, OwnKeys::MayBeThere).await.unwrap();
    assert_eq!(bench.settings(), BEFORE);
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn what_somebody_else_has_set_stays() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    changes.change(&mut conn, &wanted()).await.unwrap();
    bench.redis.ok(&["CONFIG", "SET", "maxmemory", "150mb"]);
    let done = changes.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    assert_eq!(bench.settings(), ["157286400", BEFORE[1]]);
    assert_eq!((done.restored.len(), done.conflicts.len()), (1, 1));
    assert_eq!(
        (done.conflicts[0].setting.parameter.as_str(), done.conflicts[0].now.as_str()),
        ("maxmemory", "157286400")
    );
    assert!(bench.files().is_empty(), "what is not ours any more is nobody's to put back");
}

#[tokio::test]
async fn what_another_redprobe_has_changed_is_no_conflict_before_it_is_done() {
    let bench = Bench::new(&[]);
    let (dead, mut conn) = (bench.changes(), bench.connect().await);
    dead.change(&mut conn, &wanted()).await.unwrap();
    drop(dead);
    // On another machine: its journal is its own, and what it finds it takes for the first values.
    let lease = Lease::acquire(&mut conn, lease::KEY, "redprobe-x-01OTHER on there", Duration::from_secs(60))
        .await
        .unwrap();
    let elsewhere = TempDir::new().unwrap();
    let theirs =
        Changes::new(Journal::of(elsewhere.path()), Origin { run: "01OTHER".into(), ..bench.origin() });
    theirs.change(&mut conn, &[("maxmemory", "50mb".into())]).await.unwrap();
    let found = bench.journal().find().unwrap();
    let mut ours = bench.connect().await;
    let failure = found.open[0].restore(&mut ours, OwnKeys::Gone).await.unwrap_err();
    assert_eq!((failure.reason, bench.files().len()), (Reason::Lease, 1), "{failure}");
    // The first attempt has ended the connection of the run that died.
    let mut conn = bench.connect().await;
    theirs.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    lease.release(&mut conn).await.unwrap();
    assert_eq!(bench.settings(), CHANGED);
    let done = found.open[0].restore(&mut ours, OwnKeys::Gone).await.unwrap();
    assert_eq!((done.restored.len(), done.conflicts.len()), (2, 0));
    assert_eq!(bench.settings(), BEFORE);
}

#[tokio::test]
async fn the_last_change_goes_back_first() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    for limit in ["100mb", "90mb", "80mb"] {
        changes.change(&mut conn, &[("maxmemory", limit.into())]).await.unwrap();
    }
    assert_eq!(bench.files().len(), 3);
    drop(changes);
    for open in bench.journal().find().unwrap().open {
        open.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    }
    assert_eq!(bench.settings(), BEFORE);
}

#[tokio::test]
async fn a_server_that_was_started_again_is_asked_anew() {
    let mut bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    changes.change(&mut conn, &wanted()).await.unwrap();
    // From its file, as it was before.
    bench.redis.restart();
    let mut conn = bench.connect().await;
    let done = changes.restore(&mut conn, OwnKeys::MayBeThere).await.unwrap();
    assert_eq!((done.restored.len(), bench.settings()), (2, BEFORE.map(str::to_owned)));
    // From a file that somebody has written meanwhile, with one of ours in it and one of theirs.
    changes.change(&mut conn, &wanted()).await.unwrap();
    bench.redis.restart_with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"]);
    let mut conn = bench.connect().await;
    let done = changes.restore(&mut conn, OwnKeys::MayBeThere).await.unwrap();
    assert_eq!((done.restored.len(), done.conflicts.len()), (1, 1));
    assert_eq!(bench.settings(), [BEFORE[0], "volatile-lru"]);
}

#[tokio::test]
async fn a_setting_that_has_the_value_is_not_changed() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    let same = [("maxmemory-policy", "ALLKEYS-LRU".to_owned()), ("maxmemory", "200mb".to_owned())];
    changes.change(&mut conn, &same).await.unwrap();
    assert!(bench.files().is_empty() && changes.pending().is_empty());
    assert_eq!(bench.redis.find_info("cmdstat_config|set"), None);
}

#[tokio::test]
async fn a_change_that_fails_leaves_nothing() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    let unknown = [("maxmemory-policy", "noeviction".into()), ("no-such-setting", "1".into())];
    assert!(changes.change(&mut conn, &unknown).await.is_err());
    let refused = [("maxmemory", "100mb".into()), ("maxmemory-policy", "no-such-policy".into())];
    assert!(changes.change(&mut conn, &refused).await.is_err());
    let secret = [("requirepass", "x".into())];
    assert!(changes.change(&mut conn, &secret).await.is_err(), "nothing is changed that may hold a secret");
    assert_eq!(bench.settings(), BEFORE);
    assert!(bench.files().is_empty() && changes.pending().is_empty());
}

#[tokio::test]
async fn a_denied_change_leaves_nothing_and_a_denied_restore_everything() {
    let bench = Bench::new(&[]);
    bench.redis.ok(&["ACL", "SETUSER", "prober", "on", ">secret", "~*", "+@all", "-config|set"]);
    let mut conn = connect(&bench.redis.url().replace("//", "//prober:secret@")).await;
    let changes = bench.changes();
    let error = changes.change(&mut conn, &wanted()).await.unwrap_err();
    assert_eq!(error.failure().reason, Reason::Denied);
    assert!(bench.files().is_empty() && changes.pending().is_empty());
    bench.redis.ok(&["ACL", "SETUSER", "prober", "+config|set"]);
    changes.change(&mut conn, &wanted()).await.unwrap();
    bench.redis.ok(&["ACL", "SETUSER", "prober", "-config|set"]);
    let failure = changes.restore(&mut conn, OwnKeys::Gone).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Denied);
    assert_eq!((bench.settings(), changes.pending().len()), (CHANGED.map(str::to_owned), 2));
    let text = fs::read_to_string(bench.journal().folder().join(&bench.files()[0])).unwrap();
    assert!(!text.contains("secret") && !text.contains("prober"), "{text}");
    bench.redis.ok(&["ACL", "SETUSER", "prober", "+config|set"]);
    changes.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    assert_eq!(bench.settings(), BEFORE);
}

#[tokio::test]
async fn without_room_for_the_note_nothing_is_changed() {
    let bench = Bench::new(&[]);
    let mut conn = bench.connect().await;
    // Root may write anywhere, but not into a file as if it were a directory.
    fs::write(bench.journal().folder(), "").unwrap();
    let error = bench.changes().change(&mut conn, &wanted()).await.unwrap_err();
    assert!(matches!(error, ProbeError::Skipped(_)), "{error}");
    assert_eq!(error.failure().reason, Reason::Precondition);
    assert!(error.failure().message.contains("state_dir"), "{error}");
    assert_eq!(bench.settings(), BEFORE);
    assert_eq!(bench.redis.find_info("cmdstat_config|set"), None);
    assert!(bench.journal().check().is_err());
    assert!(bench.journal().find().unwrap().open.is_empty());
}

#[tokio::test]
async fn foreign_keys_are_not_evicted_to_make_room_for_own_ones() {
    let bench = Bench::new(&["--maxmemory", "20mb"]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    let roomy = [("maxmemory-policy", "noeviction".into()), ("maxmemory", "100mb".into())];
    changes.change(&mut conn, &roomy).await.unwrap();
    bench.redis.ok(&["SET", "foreign", "x"]);
    let big = "x".repeat(60_000);
    for number in 0..500 {
        bench.redis.ok(&["SET", &format!("own:{number}"), &big]);
    }
    let failure = changes.restore(&mut conn, OwnKeys::MayBeThere).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Precondition);
    assert!(failure.message.contains("20971520"), "{failure}");
    assert_eq!(bench.settings(), CHANGED);
    // Own keys are said to be gone: what is there now is others', and theirs to lose as they have configured it.
    changes.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    assert_eq!(bench.settings(), ["20971520", BEFORE[1]]);
}

#[tokio::test]
async fn a_change_on_its_way_comes_no_more_once_it_was_looked_for() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    changes.change(&mut conn, &wanted()).await.unwrap();
    drop(changes);
    let mut other = bench.connect().await;
    let found = bench.journal().find().unwrap();
    found.open[0].restore(&mut other, OwnKeys::Gone).await.unwrap();
    let late = measure::redis::cmd("CONFIG").arg("GET").arg("maxmemory").query_async::<()>(&mut conn).await;
    assert!(late.is_err(), "the writer's connection is still open");
    assert_eq!(bench.settings(), BEFORE);
}

#[tokio::test]
async fn damaged_files_are_kept_aside_and_torn_ones_removed() {
    let bench = Bench::new(&[]);
    let (changes, mut conn) = (bench.changes(), bench.connect().await);
    changes.change(&mut conn, &wanted()).await.unwrap();
    drop(changes);
    let folder = bench.journal().folder().to_owned();
    let whole = fs::read(folder.join("01RUN-0.jsonl")).unwrap();
    fs::write(folder.join("01TORN-0.jsonl"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("01EMPTY-0.jsonl"), "").unwrap();
    let mut flipped = whole;
    flipped[40] ^= 1;
    fs::write(folder.join("01FLIP-0.jsonl"), &flipped).unwrap();
    for _ in 0..2 {
        let found = bench.journal().find().unwrap();
        assert_eq!((found.open.len(), found.damaged.len()), (1, 1), "{found:?}");
        assert_eq!(found.damaged[0].path, folder.join("01FLIP-0.jsonl.damaged"));
        drop(found);
        assert_eq!(bench.files(), ["01FLIP-0.jsonl.damaged", "01RUN-0.jsonl"]);
    }
    assert_eq!(fs::read(folder.join("01FLIP-0.jsonl.damaged")).unwrap(), flipped);
}
