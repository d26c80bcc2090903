//! The door by itself: what a change of its file does. Whole servers are in `tests/http/door`.

use std::{fs, path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::*;

const HASH: &str = "$2b$04$Xk3wS5sXkA0mZr7u8pQ1eOeJ1n0m4tG2Zs7Yc3bq8Hd5Lw6Vf9KiO";

struct Bench {
    directory: TempDir,
    door: Door,
}

fn users(names: &str) -> String {
    let lines = names.split(' ').map(|name| format!("  {name}: {HASH}\n"));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

impl Bench {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("web.yml"), text).expect("it can be written");
        let door = Door::of(Some(&directory.path().join("web.yml"))).expect("the file is good");
        Self { directory, door }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("web.yml")
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).expect("it can be written");
    }

    fn has_user(&self, name: &str) -> Option<bool> {
        self.door.now().map(|rules| rules.web.users.get(name).is_some())
    }
}

#[test]
fn a_change_is_in_force_at_once_however_quick_and_alike() {
    let bench = Bench::new(&users("aaa"));
    for name in ["bbb", "ccc", "ddd", "eee"] {
        // Same size, same file, within the same tick of the file system's clock.
        bench.write(&users(name));
        assert_eq!(bench.has_user(name), Some(true), "{name}");
    }
    let other = bench.directory.path().join("other");
    fs::write(&other, users("fff")).expect("it can be written");
    fs::rename(other, bench.file()).expect("it can be moved");
    assert_eq!(bench.has_user("fff"), Some(true));
}

#[test]
fn a_bad_file_shuts_the_door_and_a_good_one_opens_it() {
    let bench = Bench::new(&users("aaa"));
    for bad in ["basic_auth_users: [", "unknown: 1\n", "basic_auth_users:\n  aaa: plain\n"] {
        bench.write(bad);
        assert_eq!(bench.has_user("aaa"), None, "{bad}");
        assert_eq!(bench.has_user("aaa"), None, "{bad}: still");
    }
    fs::remove_file(bench.file()).expect("it is there");
    assert_eq!(bench.has_user("aaa"), None, "gone");
    bench.write(&users("aaa bbb"));
    assert_eq!(bench.has_user("bbb"), Some(true));
}

#[test]
fn a_lock_stays_until_a_restart() {
    let bench = Bench::new("");
    assert_eq!(bench.has_user("aaa"), Some(false), "no lock, no login");
    bench.write(&users("aaa"));
    assert_eq!(bench.has_user("aaa"), Some(true), "a lock can be added");
    for text in ["", "# nothing\n", "rate_limit:\n  interval: 1s\n  burst: 1\n"] {
        bench.write(text);
        assert_eq!(bench.has_user("aaa"), None, "{text:?}");
        // Not even where the file was good in between.
        bench.write(&users("bbb"));
        assert_eq!(bench.has_user("bbb"), Some(true));
    }
    assert!(Door::of(Some(&bench.file())).is_ok());
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let bench = Bench::new(&users("aaa"));
    std::thread::sleep(UNSETTLED * 2);
    let first = bench.door.now().expect("it is good");
    assert!(Arc::ptr_eq(&first, &bench.door.now().expect("it is good")));
    assert!(bench.door.lock().settled);
    // Touched, but the same: what was in force stays, and its bucket with it.
    bench.write(&users("aaa"));
    assert!(Arc::ptr_eq(&first, &bench.door.now().expect("it is good")));
}

#[test]
fn logins_are_read_as_they_are_sent() {
    let read = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().expect("it can be sent"));
        basic(&headers)
    };
    // joe:p:w, :, a:
    assert_eq!(read("Basic am9lOnA6dw=="), Some(("joe".into(), b"p:w".to_vec())));
    assert_eq!(read("bASIC Og=="), Some((String::new(), Vec::new())));
    assert_eq!(read("Basic YTo="), Some(("a".into(), Vec::new())));
    for none in [
        "Basic",
        "Basic ",
        "Basic ???",
        "Bearer am9lOnA6dw==",
        "Basicam9lOnA6dw==",
        "Basic am9l",
        "Basic /zo=",
    ] {
        assert_eq!(read(none), None, "{none}");
    }
    assert_eq!(basic(&HeaderMap::new()), None);
}
