//! A running `redprobe serve`: the shipped binary, with a configuration, state directory and port of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::poll_until;

/// For anything that a busy machine may delay; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon. Dropping it kills it and removes its directory.
///
/// Methods block; from a task that is fine, since they only wait for the daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    directory: Directory,
    address: Option<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
enum Directory {
    Own(TempDir),
    Shared(PathBuf),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Directory::Own(directory) => directory.path(),
            Directory::Shared(path) => path,
        }
    }
}

/// An answer of the daemon.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Daemon {
    /// Starts one and waits until it is ready. `config` needs targets and jobs; address, state directory and log come
    /// from here, and what it says in those sections is added to them.
    pub(crate) fn start(config: &str) -> Self {
        let mut daemon = Self::launch(config);
        daemon.await_ready();
        daemon
    }

    /// Starts one and does not wait for anything.
    pub(crate) fn launch(config: &str) -> Self {
        let directory = Directory::Own(TempDir::new().expect("a temporary directory can be made"));
        Self::launch_in(directory, config, |command| command)
    }

    /// As [`Daemon::launch`], with more arguments or environment.
    pub(crate) fn launch_with(config: &str, more: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let directory = Directory::Own(TempDir::new().expect("a temporary directory can be made"));
        Self::launch_in(directory, config, more)
    }

    /// Starts one in the directory of `other`: with the same state directory, and the same configuration file.
    pub(crate) fn launch_beside(other: &Daemon, config: &str) -> Self {
        Self::launch_in(Directory::Shared(other.directory.path().to_owned()), config, |command| command)
    }

    fn launch_in(
        directory: Directory,
        config: &str,
        more: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        write_config(directory.path(), config);
        let file = directory.path().join("redprobe.toml");
        let mut command = super::redprobe(&["serve", "--config", &file.display().to_string()]);
        let mut child = more(command.env("RUST_BACKTRACE", "0"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary under test can be started");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        // Ends with the process.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("no holder panics").push(line);
            }
        });
        Self { child, directory, address: None, log }
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead, with its log.
    pub(crate) fn await_ready(&mut self) {
        self.await_listening();
        let ready = poll_until(PATIENCE, || self.get("/-/ready").status == 200);
        assert!(ready, "it is not ready; its log:\n{}", self.log());
    }

    /// Waits until it listens, for one that does not answer everybody.
    ///
    /// # Panics
    /// Where it ends instead, with its log.
    pub(crate) fn await_listening(&mut self) {
        let listens = poll_until(PATIENCE, || {
            self.address = self.address.or_else(|| self.find_address());
            self.address.is_some() || self.has_ended()
        });
        assert!(listens && self.address.is_some(), "it does not listen; its log:\n{}", self.log());
    }

    fn find_address(&self) -> Option<SocketAddr> {
        let log = self.log.lock().expect("no holder panics");
        let line = log.iter().find(|line| line.contains("\"message\":\"listening\""))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["address"].as_str()?.parse().ok()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("an own child can be waited for").is_some()
    }

    /// Its directory: of its configuration file and of its state.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("redprobe.toml")
    }

    /// Where it listens, once it does.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("the daemon was awaited")
    }

    /// Everything it has written to stderr.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no holder panics").join("\n")
    }

    /// Waits until its log contains `text`.
    pub(crate) fn await_log(&self, text: &str) {
        let found = poll_until(PATIENCE, || self.log().contains(text));
        assert!(found, "{text:?} does not come up in its log:\n{}", self.log());
    }

    /// Writes another configuration file, which the daemon does not read before a reload.
    pub(crate) fn rewrite(&self, config: &str) {
        write_config(self.directory.path(), config);
    }

    /// `GET path`.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// Any request, on a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text = self.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n{extra}\r\n{body}"
        ));
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not an answer: {text:?}"));
        Response { status, body: body.to_owned() }
    }

    /// Sends this as it is, on a connection of its own, and returns what comes until the daemon closes it.
    pub(crate) fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("the daemon accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        stream.write_all(request.as_bytes()).expect("the daemon takes the request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the daemon answers");
        text
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The whole of `/metrics`.
    pub(crate) fn scrape(&self) -> String {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    /// The value of the series that begins with `name` and has all of these labels, written `label="value"`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        self.scrape().lines().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let same = rest.is_empty() || rest.starts_with('{');
            (same && labels.iter().all(|label| rest.contains(label))).then(|| value.parse().ok())?
        })
    }

    /// Waits until [`Daemon::metric`] is there and fulfils `wanted`; returns it.
    pub(crate) fn await_metric(&self, name: &str, labels: &[&str], wanted: impl Fn(f64) -> bool) -> f64 {
        let mut last = None;
        let came = poll_until(PATIENCE, || {
            last = self.metric(name, labels);
            last.is_some_and(&wanted)
        });
        assert!(came, "{name}{labels:?} stays {last:?}; log:\n{}", self.log());
        last.expect("it came")
    }

    /// The runs kept, newest first, as the API tells them; `query` such as `?probe=health`.
    pub(crate) fn runs(&self, query: &str) -> Vec<serde_json::Value> {
        let response = self.get(&format!("/api/v1/runs{query}"));
        assert_eq!(response.status, 200, "{}", response.body);
        let body: serde_json::Value = serde_json::from_str(&response.body).expect("JSON");
        body["runs"].as_array().unwrap_or_else(|| panic!("no runs in {body}")).clone()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon runs");
    }

    /// Waits until the process has ended.
    pub(crate) fn await_end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = poll_until(PATIENCE, || {
            status = self.child.try_wait().expect("an own child can be waited for");
            status.is_some()
        });
        assert!(ended, "it does not end; its log:\n{}", self.log());
        status.expect("it ended")
    }

    /// SIGTERM, and the exit code it ends with.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.await_end().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already. SIGKILL ends a stopped one, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(directory: &Path, config: &str) {
    let state = directory.join("state");
    let mut table: toml::Table = config.parse().expect("the test's configuration is TOML");
    table.entry("state_dir").or_insert_with(|| state.display().to_string().into());
    for (section, key, value) in [("http", "listen", "127.0.0.1:0"), ("log", "format", "json")] {
        let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
        let section = section.as_table_mut().expect("a section is a table");
        section.entry(key).or_insert_with(|| value.into());
    }
    fs::write(directory.join("redprobe.toml"), table.to_string()).expect("the directory can be written");
}
