//! A daemon of one's own: the real binary, on a free port, with a state directory that goes with it.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{RedisServer, poll_until_async};

use super::{Answer, PATIENCE, get, request};

pub(super) const TOKEN: &str = "a-long-random-token";

/// `redprobe serve` on a free port.
pub(super) struct Daemon {
    process: Child,
    pub(super) address: SocketAddr,
    directory: TempDir,
}

impl Daemon {
    /// Serves this configuration; `{redis}` stands for the server's URL.
    pub(super) async fn start(redis: &RedisServer, config: &str) -> Self {
        Self::start_with_files(redis, config, 1_024).await
    }

    /// The same, with this many files that it may have open.
    pub(super) async fn start_with_files(redis: &RedisServer, config: &str, files: u32) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("redprobe.toml");
        fs::write(&path, with_redis(config, redis)).expect("it can be written");
        let process = Command::new("sh")
            .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_redprobe")])
            .args(["serve", "--web.listen-address", "127.0.0.1:0", "--config"])
            .arg(&path)
            .env("STATE_DIRECTORY", directory.path().join("state"))
            .stderr(Stdio::from(fs::File::create(directory.path().join("log")).expect("a log")))
            .spawn()
            .expect("the binary was built");
        let mut daemon = Self { process, address: ([127, 0, 0, 1], 0).into(), directory };
        let mut gone = false;
        let listening = poll_until_async(PATIENCE, || {
            gone = daemon.process.try_wait().expect("it is a child").is_some();
            daemon.address = listening(&daemon.log()).unwrap_or(daemon.address);
            let address = daemon.address;
            async move { gone || (address.port() != 0 && get(address, "/-/ready").await.status == 200) }
        });
        assert!(listening.await && !gone, "the daemon did not start:\n{}", daemon.log());
        daemon
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.path().join("redprobe.toml")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        get(self.address, path).await
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
        serde_json::from_str(&answer.body).expect("it is JSON")
    }

    /// `POST /api/v1/runs` with the token.
    pub(super) async fn run(&self, body: &Value) -> (u16, Value) {
        let headers = [("Authorization", &*bearer()), ("Content-Type", "application/json")];
        let answer = request(self.address, "POST", "/api/v1/runs", &headers, &body.to_string()).await;
        (answer.status, serde_json::from_str(&answer.body).expect("it is JSON"))
    }

    /// Waits until `/metrics` says this.
    pub(super) async fn comes_to_export(&self, line: &str) {
        let exported = || async { self.get("/metrics").await.body.contains(line) };
        assert!(poll_until_async(PATIENCE, exported).await, "{line:?} is not exported:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn with_redis(config: &str, redis: &RedisServer) -> String {
    config.replace("{redis}", &redis.url())
}

/// Where the log says that the daemon listens.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening address=")?;
    rest.split_once(char::is_whitespace)?.0.parse().ok()
}

pub(super) fn bearer() -> String {
    format!("Bearer {TOKEN}")
}
