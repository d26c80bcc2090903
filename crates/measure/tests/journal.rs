//! The journal on real servers: what was changed is put back, by who changed it or by who comes after, and what somebody
//! else has set stays.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use measure::{
    conn::{self, Endpoint},
    journal::{Changes, Journal, Origin, OwnKeys},
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
        let origin = Origin {
            target: "cache".into(),
            address: self.redis.address().to_string(),
            run: "01RUN".into(),
            keys_gone_at: SystemTime::now() + Duration::from_secs(600),
        };
        Changes::new(self.journal(), origin)
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
