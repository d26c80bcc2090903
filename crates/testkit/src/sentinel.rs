//! Real sentinels over a real master: quick to find it down, and to promote another.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{RedisServer, poll_until};

const PATIENCE: Duration = Duration::from_secs(20);
/// What the sentinels call the master.
const SERVICE: &str = "mymaster";

/// One redis-sentinel on a free loopback port. Dropping it ends the process and removes its directory.
#[derive(Debug)]
pub struct Sentinel {
    child: Child,
    address: SocketAddr,
    password: Option<String>,
    _directory: TempDir,
}

/// A master, its replicas, and three sentinels that agree on them.
#[derive(Debug)]
pub struct Watched {
    /// The first was the master at the start.
    pub servers: Vec<RedisServer>,
    /// Those who watch them.
    pub sentinels: Vec<Sentinel>,
}

impl Watched {
    /// A master with this many replicas, under three sentinels that call it [`Watched::service`].
    #[must_use]
    pub fn start(replicas: usize) -> Self {
        Self::with(replicas, None)
    }

    /// The same, where the sentinels ask for this password.
    #[must_use]
    pub fn with(replicas: usize, password: Option<&str>) -> Self {
        let master = RedisServer::start();
        let port = master.address().port().to_string();
        let replica =
            |_| RedisServer::with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        let mut servers = vec![master];
        servers.extend((0..replicas).map(replica));
        let follow = || servers[1..].iter().all(|replica| replica.info("master_link_status") == "up");
        assert!(poll_until(PATIENCE, follow), "the replicas do not follow");
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(&servers[0], password)).collect();
        let agree = |sentinel: &Sentinel| {
            let master = sentinel.cli(&["SENTINEL", "MASTER", SERVICE]);
            let field =
                |name: &str| master.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
            field("num-other-sentinels").as_deref() == Some("2")
                && field("num-slaves") == Some(replicas.to_string())
                && sentinel
                    .cli(&["SENTINEL", "REPLICAS", SERVICE])
                    .lines()
                    .filter(|line| *line == "ok")
                    .count()
                    == replicas
        };
        assert!(poll_until(PATIENCE, || sentinels.iter().all(agree)), "the sentinels do not agree");
        Self { servers, sentinels }
    }

    /// What the sentinels call the master.
    #[must_use]
    pub const fn service() -> &'static str {
        SERVICE
    }

    /// `sentinels = […]` and `sentinel_service`, as a configuration has them.
    #[must_use]
    pub fn keys(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|one| format!("\"{}\"", one.address)).collect();
        format!("sentinels = [{}]\nsentinel_service = \"{SERVICE}\"\n", addresses.join(", "))
    }

    /// The master's address, as this sentinel says.
    #[must_use]
    pub fn named(&self, sentinel: usize) -> String {
        let said = self.sentinels[sentinel].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
        said.lines().collect::<Vec<_>>().join(":")
    }

    /// Asks for a failover, and waits until every sentinel names another master and the old one has become a replica.
    /// Returns the index of the new one.
    ///
    /// # Panics
    /// Where that does not come.
    #[must_use]
    pub fn fail_over(&self) -> usize {
        let before = self.named(0);
        // It may have to wait until the last failover is forgotten.
        let accepted = || self.sentinels[0].cli(&["SENTINEL", "FAILOVER", SERVICE]) == "OK";
        assert!(poll_until(PATIENCE, accepted), "no failover is begun");
        let new = self.await_master_other_than(&before);
        let demoted = || {
            let old = self.servers.iter().find(|server| server.address().to_string() == before);
            old.is_some_and(|old| old.info("role") == "slave")
        };
        assert!(poll_until(PATIENCE, demoted), "the old master stays one");
        new
    }

    /// Waits until every sentinel names the same master, another one than `before`; returns its index.
    ///
    /// # Panics
    /// Where that does not come.
    #[must_use]
    pub fn await_master_other_than(&self, before: &str) -> usize {
        let mut found = None;
        let came = poll_until(PATIENCE, || {
            let named: Vec<_> = (0..self.sentinels.len()).map(|index| self.named(index)).collect();
            found = self.servers.iter().position(|server| {
                let address = server.address().to_string();
                address != before
                    && named.iter().all(|name| *name == address)
                    && server.info("role") == "master"
            });
            found.is_some()
        });
        assert!(came, "the sentinels go on naming {before}");
        found.expect("it came")
    }
}

impl Sentinel {
    fn start(master: &RedisServer, password: Option<&str>) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let file = directory.path().join("sentinel.conf");
        let port = master.address().port();
        let mut config = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 2000\nsentinel parallel-syncs {SERVICE} 1\n"
        );
        if let Some(password) = password {
            config += &format!("requirepass {password}\nsentinel sentinel-pass {password}\n");
        }
        for _ in 0..10 {
            fs::write(&file, &config).expect("the directory can be written");
            let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
            let address = listener.local_addr().expect("a bound socket has an address");
            drop(listener);
            let mut child = Command::new("redis-server")
                .arg(&file)
                .args(["--sentinel", "--bind", "127.0.0.1", "--port", &address.port().to_string()])
                .args(["--logfile", "sentinel.log", "--dir"])
                .arg(directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server can be started: on Debian and Ubuntu, apt-get install redis-server");
            let mut ended = false;
            let up = poll_until(PATIENCE, || {
                ended = child.try_wait().expect("an own child can be waited for").is_some();
                ended || answers(address)
            });
            if up && !ended {
                let password = password.map(str::to_owned);
                return Self { child, address, password, _directory: directory };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("no sentinel starts");
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs redis-cli and returns what it prints.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()]).args(words);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.stdin(Stdio::null()).output().expect("redis-cli can be run");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Stops its process: connects still succeed, nothing is answered.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("it runs");
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        // Both fail only for a process that is gone already. SIGKILL ends a stopped one, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}

fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"PING\r\n")?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|bytes| bytes > 0)
}
