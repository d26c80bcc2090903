//! Other people: their keys, taken down to the last byte and compared, and a client that writes all along.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use measure::redis::{Client, Connection, cmd};
use testkit::{RedisServer, poll_until};

/// Keys of others, half of them with a TTL.
pub(super) struct Users {
    count: u64,
    before: String,
    settings: [String; 3],
}

impl Users {
    /// Plants them, of some hundred bytes each, and takes down what they are.
    pub(super) fn plant(server: &RedisServer, count: u64) -> Self {
        let plant = "for i = 1, tonumber(ARGV[1]) do \
                        local value = redis.sha1hex(i) .. string.rep('x', i % 100) \
                        if i % 2 == 0 then redis.call('SET', 'user:' .. i, value) \
                        else redis.call('SET', 'user:' .. i, value, 'PX', 86400000 + i) end \
                     end return 'OK'";
        server.ok(&["EVAL", plant, "0", &count.to_string()]);
        Self { count, before: fingerprint(server, count), settings: super::settings(server) }
    }

    /// Fails unless all are there, byte for byte, with the ends they had, none of the probe's is, and the settings are as
    /// before.
    #[track_caller]
    pub(super) fn check(&self, server: &RedisServer, what: &str) {
        self.check_settings(server, what);
        self.check_keys(server, what);
        let own = server.cli(&["EVAL", OWN, "0"]);
        assert_eq!(own, "0", "keys of the probe after {what}");
    }

    #[track_caller]
    pub(super) fn check_settings(&self, server: &RedisServer, what: &str) {
        assert_eq!(super::settings(server), self.settings, "settings after {what}");
    }

    #[track_caller]
    pub(super) fn check_keys(&self, server: &RedisServer, what: &str) {
        assert_eq!(fingerprint(server, self.count), self.before, "keys of others after {what}");
    }
}

/// How many keys are redprobe's.
const OWN: &str = "local own, cursor = 0, '0' repeat \
        local page = redis.call('SCAN', cursor, 'MATCH', 'redprobe:*', 'COUNT', 10000) \
        cursor = page[1] own = own + #page[2] \
    until cursor == '0' return own";

/// Of every value with its type and its end; a key that is gone makes it another.
fn fingerprint(server: &RedisServer, count: u64) -> String {
    let script = "local print = '' for i = 1, tonumber(ARGV[1]) do \
                    local key = 'user:' .. i \
                    local dump = redis.call('DUMP', key) or 'gone' \
                    print = redis.sha1hex(print .. dump .. redis.call('PEXPIRETIME', key)) \
                  end return print";
    let print = server.cli(&["EVAL", script, "0", &count.to_string()]);
    assert_eq!(print.len(), 40, "{print}");
    print
}

fn connect(server: &RedisServer) -> Connection {
    Client::open(server.url()).and_then(|client| client.get_connection()).expect("it takes connections")
}

/// A client that goes on writing a thousand keys in turn until it is stopped.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    thread: JoinHandle<Written>,
}

/// What came of it.
pub(super) struct Written {
    /// The last value acknowledged of each key.
    acknowledged: BTreeMap<String, String>,
    /// Errors, as the server worded them.
    pub(super) refused: Vec<String>,
}

impl Writer {
    pub(super) fn start(server: &RedisServer) -> Self {
        let (stop, writes) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&writes));
        let mut conn = connect(server);
        let thread = thread::spawn(move || {
            let mut written = Written { acknowledged: BTreeMap::new(), refused: Vec::new() };
            for number in 0_u64.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let (key, value) = (format!("writer:{}", number % 1_000), format!("value {number}"));
                let mut set = cmd("SET");
                set.arg(&key).arg(&value);
                if number % 2 == 0 {
                    set.arg("EX").arg(3_600);
                }
                match set.query::<()>(&mut conn) {
                    Ok(()) => drop(written.acknowledged.insert(key, value)),
                    Err(error) => written.refused.push(error.to_string()),
                }
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
            written
        });
        let writer = Self { stop, writes, thread };
        assert!(poll_until(Duration::from_secs(20), || writer.writes.load(Ordering::Relaxed) > 100));
        writer
    }

    pub(super) fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

impl Written {
    /// Fails unless every key has the value that was acknowledged last.
    #[track_caller]
    pub(super) fn check(&self, server: &RedisServer, what: &str) {
        let mut conn = connect(server);
        for (key, value) in &self.acknowledged {
            let now: Option<String> = cmd("GET").arg(key).query(&mut conn).expect("it is read");
            assert_eq!(now.as_ref(), Some(value), "{key} after {what}");
        }
    }
}
