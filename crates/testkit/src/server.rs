//! A real redis-server in a process and directory of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Certificate, poll_until};

/// The server's log, in its directory.
const LOG: &str = "redis.log";
/// For a start, and for an end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server on a free loopback port, without persistence unless asked for. Dropping it ends the process (also a
/// paused one) and removes its directory.
///
/// A test that is killed with SIGKILL does not drop, and leaves the process behind: end tests with SIGINT or SIGTERM
/// of the whole process group (Ctrl-C), or let them fail.
///
/// Methods block; from a task that is fine, since they only wait for the server.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    tls_port: Option<u16>,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Default for RedisServer {
    fn default() -> Self {
        Self::start()
    }
}

impl RedisServer {
    /// A server with default settings and no persistence.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with further command line arguments, such as `["--requirepass", "secret"]`. Those given here win over
    /// the fixture's own.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        Self::try_ports(arguments, |_| None)
    }

    /// [`RedisServer::with`], listening with TLS on a second port, and asking no certificate of its clients unless told
    /// to by `arguments`.
    #[must_use]
    pub fn with_tls(certificate: &Certificate, arguments: &[&str]) -> Self {
        Self::try_ports(arguments, |all| {
            let port = free_port();
            let paths = [certificate.certificate(), certificate.key(), certificate.authority()];
            let names = ["--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file"];
            for (name, path) in names.iter().zip(paths) {
                all.extend([(*name).to_owned(), path.display().to_string()]);
            }
            all.extend(["--tls-port".to_owned(), port.to_string()]);
            if !arguments.contains(&"--tls-auth-clients") {
                all.extend(["--tls-auth-clients".to_owned(), "no".to_owned()]);
            }
            Some(port)
        })
    }

    fn try_ports(arguments: &[&str], more: impl Fn(&mut Vec<String>) -> Option<u16>) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        for _ in 0..10 {
            let mut all: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
            let tls_port = more(&mut all);
            let port = free_port();
            if let Some(child) = spawn(port, &all, directory.path()) {
                return Self { child, port, tls_port, arguments: all, directory };
            }
        }
        panic!("redis-server did not start with {arguments:?}; its log:\n{}", log_of(directory.path()));
    }

    /// `rediss://localhost:<port>`, where it was started with TLS.
    ///
    /// # Panics
    /// Where it was not.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls_port())
    }

    /// Where it listens with TLS.
    ///
    /// # Panics
    /// Where it was started without.
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("the server was started with TLS")
    }

    /// `redis://127.0.0.1:<port>`, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its process id; another one after [`RedisServer::restart`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory, which is also where a unix socket or a certificate may be put.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Stops its process (SIGSTOP), and returns once it has stopped: connects still succeed, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // On a busy machine a signal takes its time, and the server would answer once more.
        let state = format!("/proc/{}/stat", self.pid());
        let stopped = || {
            let stat = fs::read_to_string(&state).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        assert!(poll_until(PATIENCE, stopped), "it did not stop");
    }

    /// Lets its process go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it with SIGKILL. The port then refuses connections until [`RedisServer::restart`].
    pub fn kill(&mut self) {
        self.signal(Signal::CONT);
        // Both fail only for a process that is gone and reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it with SIGKILL and starts it again on the same port, with the same arguments and directory.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// [`RedisServer::restart`] with these arguments added, from now on.
    pub fn restart_with(&mut self, more: &[&str]) {
        self.kill();
        self.arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let mut child = None;
        let started = poll_until(PATIENCE, || {
            child = spawn(self.port, &self.arguments, self.directory.path());
            child.is_some()
        });
        assert!(started, "redis-server did not start again; its log:\n{}", log_of(self.directory.path()));
        self.child = child.expect("it started");
    }

    /// Runs redis-cli and returns what it prints without the last line break: errors too, as the server words them.
    /// Logs in with the password of `--requirepass`. Blocks for as long as the server does not answer.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(words).stdin(Stdio::null());
        if let Some(password) = self.argument("--requirepass") {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.output().unwrap_or_else(|error| missing("redis-cli", &error));
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        text.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Sends a command of one line over a connection of its own and does not wait for the answer: for what blocks.
    #[must_use = "dropping the connection takes the command back"]
    pub fn send(&self, line: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).expect("it accepts connections");
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("a fresh connection takes a line");
        stream
    }

    /// Runs a command of which `+OK` is the answer.
    ///
    /// # Panics
    /// With any other answer.
    pub fn ok(&self, words: &[&str]) {
        let answer = self.cli(words);
        assert_eq!(answer, "OK", "answer to {words:?}");
    }

    /// Makes the user anew with this password and nothing but these rules, such as `~* +@all -set`, and returns its URL.
    #[must_use]
    pub fn user(&self, name: &str, password: &str, rules: &str) -> String {
        let password_rule = format!(">{password}");
        let words = ["ACL", "SETUSER", name, "reset", "on", &password_rule];
        self.ok(&words.into_iter().chain(rules.split_whitespace()).collect::<Vec<_>>());
        format!("redis://{name}:{password}@127.0.0.1:{}", self.port)
    }

    /// What was denied so far, once each: commands, keys and channels of the ACL LOG.
    #[must_use]
    pub fn denied(&self) -> Vec<String> {
        let log = self.cli(&["ACL", "LOG", "128"]);
        let mut lines = log.lines();
        let mut denied = Vec::new();
        while lines.any(|line| line == "object") {
            denied.extend(lines.next().map(str::to_owned));
        }
        denied.sort_unstable();
        denied.dedup();
        denied
    }

    /// How often each command was called, as `INFO commandstats` has it: `get`, `config|get`.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        self.cli(&["INFO", "commandstats"]).lines().filter_map(calls).collect()
    }

    /// A field of INFO that is always there.
    ///
    /// # Panics
    /// Where it is not.
    #[must_use]
    pub fn info(&self, field: &str) -> String {
        self.find_info(field).unwrap_or_else(|| panic!("INFO has no {field}"))
    }

    /// A field of INFO that may not be there yet, such as `cmdstat_get` before the first GET.
    #[must_use]
    pub fn find_info(&self, field: &str) -> Option<String> {
        let info = self.cli(&["INFO", "everything"]);
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(value.trim_end().to_owned())
    }

    /// The names of all keys of database 0, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
        keys.retain(|key| !key.is_empty());
        keys.sort_unstable();
        keys
    }

    /// The lines of CLIENT LIST of the connections whose name begins with `name`.
    #[must_use]
    pub fn clients(&self, name: &str) -> Vec<String> {
        let wanted = format!(" name={name}");
        self.cli(&["CLIENT", "LIST"])
            .lines()
            .filter(|line| line.contains(&wanted))
            .map(str::to_owned)
            .collect()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        log_of(self.directory.path())
    }

    fn signal(&self, signal: Signal) {
        // Fails only where the process is gone, and then there is nothing to signal.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    fn argument(&self, name: &str) -> Option<&str> {
        let at = self.arguments.iter().rposition(|argument| argument == name)?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Starts the process and waits until it answers. `None` where it ended instead, as it does when another process took
/// the port meanwhile.
fn spawn(port: u16, arguments: &[String], directory: &Path) -> Option<Child> {
    // A server that is started again goes on with its log.
    let before = fs::metadata(directory.join(LOG)).map_or(0, |log| log.len() as usize);
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(directory)
        .args(["--save", "", "--appendonly", "no", "--logfile", LOG, "--daemonize", "no"])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| missing("redis-server", &error));
    let mut ended = false;
    let answers = poll_until(PATIENCE, || {
        ended = child.try_wait().expect("an own child can be waited for").is_some();
        // Its own log tells that it is this server which answers, and not another that has taken the port.
        let log = log_of(directory);
        ended || (log.get(before..).is_some_and(|log| log.contains("Server initialized")) && answers(port))
    });
    if ended {
        return None;
    }
    if !answers {
        let _ = child.kill();
        let _ = child.wait();
        panic!("redis-server started and did not answer; its log:\n{}", log_of(directory));
    }
    Some(child)
}

/// Any answer will do: `-NOAUTH` and `-LOADING` come from a server that is up.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"PING\r\n")?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|bytes| bytes > 0)
}

fn log_of(directory: &Path) -> String {
    fs::read_to_string(directory.join(LOG)).unwrap_or_default()
}

fn missing(program: &str, error: &std::io::Error) -> ! {
    panic!(
        "cannot run {program}: {error}. The tests need it on PATH; on Debian and Ubuntu: \
         apt-get install redis-server redis-tools"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_answers_and_leaves_nothing() {
        let server = RedisServer::start();
        server.ok(&["SET", "a", "1"]);
        assert_eq!(server.keys(), ["a"]);
        assert_eq!(server.info("process_id"), server.pid().to_string());
        let (address, directory) = (server.address(), server.directory());
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        assert!(!directory.exists());
    }

    #[test]
    fn restarts_on_the_same_port() {
        let mut server = RedisServer::start();
        let (pid, address) = (server.pid(), server.address());
        server.ok(&["SET", "a", "1"]);
        server.restart();
        assert_ne!(server.pid(), pid);
        assert_eq!(server.address(), address);
        assert!(server.keys().is_empty());
    }

    #[test]
    fn pauses_and_resumes() {
        let server = RedisServer::start();
        server.pause();
        assert!(!answers(server.port));
        server.resume();
        assert!(answers(server.port));
        server.pause();
    }

    #[test]
    fn logs_in_with_its_password() {
        let server = RedisServer::with(&["--requirepass", "secret"]);
        assert_eq!(server.cli(&["PING"]), "PONG");
    }

    #[test]
    fn users_are_denied_what_their_rules_leave_out() {
        let server = RedisServer::start();
        let url = server.user("reader", "word", "~a:* +get");
        assert_eq!(url, format!("redis://reader:word@{}", server.address()));
        assert_eq!(server.denied(), [] as [&str; 0]);
        for words in [&["GET", "a:1"][..], &["GET", "b"], &["SET", "a:1", "x"], &["SET", "a:1", "x"]] {
            let login = ["--user", "reader", "--pass", "word", "--no-auth-warning"];
            let _ = server.cli(&[&login, words].concat());
        }
        assert_eq!(server.denied(), ["b", "set"]);
        let calls = server.calls();
        assert_eq!((calls["get"], calls.get("set"), calls["acl|setuser"]), (1, Some(&0), 1), "{calls:?}");
    }

    #[test]
    #[should_panic(expected = "did not start with")]
    fn an_unknown_argument_is_named() {
        let _ = RedisServer::with(&["--no-such-option", "1"]);
    }
}
