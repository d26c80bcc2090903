//! One daemon, a server to break, and a healthy one. What is checked about them is in `check`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use measure::fault::{Faults, Proxy};
use serde_json::{Value, json};
use testkit::{FakeServer, RedisServer, poll_until};
use tokio::runtime::Runtime;

use super::check::Fault;
use crate::support::Daemon;

/// For anything that a busy machine may delay; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A job of the daemon's configuration; each has its target to itself, or only reads there.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) probe: &'static str,
    pub(super) target: &'static str,
    /// Seconds.
    pub(super) timeout: u64,
    /// Short, and with no goal for times: a busy machine must not fail them.
    settings: &'static str,
}

const LATENCY: &str =
    "settings = { connects = 2, iterations = 20, rate = 50, sustained = '<lasts>', op_timeout = '1s' }
objectives = { basic_p95 = '1h', sustained_p99 = '1h', sustained_achieved = 0 }";
const THROUGHPUT: &str =
    "settings = { phases = ['baseline'], duration = '<lasts>', warm_up = '0s', key_space = 100, op_timeout = '10s' }
objectives = { baseline_throughput = 0 }";

/// The first four are on the faulty server, under names that differ in what they allow.
pub(super) const JOBS: [Job; 7] = [
    Job { name: "ping", probe: "health", target: "observed", timeout: 4, settings: "" },
    Job { name: "info", probe: "server_info", target: "observed", timeout: 4, settings: "" },
    Job { name: "health", probe: "health", target: "touched", timeout: 4, settings: "" },
    Job { name: "latency", probe: "latency_baseline", target: "touched", timeout: 8, settings: LATENCY },
    Job { name: "throughput", probe: "throughput", target: "loaded", timeout: 15, settings: THROUGHPUT },
    Job { name: "spare", probe: "health", target: "loaded", timeout: 4, settings: "" },
    Job { name: HEALTHY, probe: "health", target: "healthy", timeout: 10, settings: "" },
];
/// The job on the server that nothing happens to.
pub(super) const HEALTHY: &str = "healthy";

const TOKEN: &str = "only-for-this-test";

/// The daemon and its servers.
pub(super) struct Bed {
    pub(super) server: RedisServer,
    pub(super) healthy: RedisServer,
    pub(super) daemon: Daemon,
    proxy: Proxy,
    fake: Option<FakeServer>,
    /// Sockets that are part of a fault.
    pub(super) held: Vec<TcpStream>,
    listening: Option<TcpListener>,
    /// Where the faulty targets are while nothing is wrong.
    url: String,
    lasts: &'static str,
    runtime: Runtime,
}

impl Bed {
    pub(super) fn new(fault: &Fault) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let (server, healthy) = (RedisServer::with(fault.arguments), RedisServer::start());
        (fault.prepare)(&server);
        let proxy = runtime.block_on(Proxy::start(server.address())).expect("the proxy can listen");
        let address = if fault.proxied { proxy.address() } else { server.address() };
        let url = format!("redis://{}{address}", fault.login);
        let daemon = Daemon::start(&config(&url, &healthy.url(), fault.lasts));
        let (fake, held, listening, lasts) = (None, Vec::new(), None, fault.lasts);
        Self { server, healthy, daemon, proxy, fake, held, listening, url, lasts, runtime }
    }

    /// What the proxy does from now on.
    pub(super) fn on_the_way(&self, faults: Faults) {
        self.runtime.block_on(self.proxy.set(faults));
    }

    /// Has the configuration say that the faulty server is at `url`.
    pub(super) fn redirect(&self, url: &str) {
        self.daemon.rewrite(&config(url, &self.healthy.url(), self.lasts));
        self.post("/-/reload", "", 200);
    }

    /// Takes back [`Bed::redirect`] and what came with it.
    pub(super) fn direct(&mut self) {
        self.redirect(&self.url);
        (self.fake, self.listening) = (None, None);
        self.held.clear();
    }

    /// Has the daemon talk to a scripted server.
    pub(super) fn redirect_to_fake(&mut self, fake: FakeServer) {
        self.redirect(&fake.url());
        self.fake = Some(fake);
    }

    /// Has the daemon talk to a port of which the queue is full: connects are not answered at all.
    pub(super) fn redirect_to_full_queue(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        rustix::net::listen(&listener, 0).expect("the queue can be shortened");
        let address = listener.local_addr().expect("a bound socket has an address");
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            self.held.push(stream);
        }
        self.listening = Some(listener);
        self.redirect(&format!("redis://{address}"));
    }

    /// Ends every connection to the faulty server.
    pub(super) fn disconnect_all(&self) {
        let _ended = self.server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    }

    /// Takes every connection that the faulty server has left.
    pub(super) fn take_all_connections(&mut self) {
        loop {
            let mut stream = self.server.send("PING");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("the server answers");
            if line.starts_with("-ERR max number of clients") {
                return;
            }
            stream.flush().expect("nothing is buffered");
            self.held.push(stream);
        }
    }

    /// Starts a run and returns its id.
    pub(super) fn start(&self, job: &Job) -> String {
        let wanted = json!({ "job": job.name, "target": job.target, "wait": false });
        let answer = self.post("/api/v1/runs", &wanted.to_string(), 202);
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Waits for the record of a run.
    pub(super) fn record(&self, id: &str) -> Value {
        let mut body = String::new();
        let came = poll_until(PATIENCE, || {
            let answer = self.daemon.get(&format!("/api/v1/runs/{id}"));
            body = answer.body;
            answer.status == 200
        });
        assert!(came, "no record of {id}; the daemon's log:\n{}", self.daemon.log());
        serde_json::from_str(&body).expect("JSON")
    }

    /// The records of a job, newest first.
    pub(super) fn records(&self, job: &Job) -> Vec<Value> {
        self.daemon.runs(&format!("?probe={}&target={}&limit=1000", job.probe, job.target))
    }

    /// Files and sockets that the daemon has open.
    pub(super) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.daemon.pid())).expect("the daemon runs").count()
    }

    /// The body of an answer with this status.
    fn post(&self, path: &str, body: &str, status: u16) -> String {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        let answer = self.daemon.request("POST", path, &headers, body);
        assert_eq!(answer.status, status, "{}", answer.body);
        answer.body
    }
}

/// The job of this name.
pub(super) fn job(name: &str) -> &'static Job {
    JOBS.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("no job {name:?}"))
}

fn config(faulty: &str, healthy: &str, lasts: &str) -> String {
    let mut text = format!("[http]\napi_token = '{TOKEN}'\n[limits]\nconcurrent_load = 2\n");
    for allow in ["observe", "touch", "load"] {
        let name = format!("{}ed", allow.trim_end_matches('e'));
        text.push_str(&format!(
            "[targets.{name}]\nurl = '{faulty}'\nallow = '{allow}'\nconnect_timeout = '1s'\nresponse_timeout = '1s'\n"
        ));
    }
    text.push_str(&format!("[targets.healthy]\nurl = '{healthy}'\nallow = 'touch'\n"));
    for Job { name, probe, target, timeout, settings } in &JOBS {
        let settings = settings.replace("<lasts>", lasts);
        text.push_str(&format!(
            "[jobs.{name}]\nprobe = '{probe}'\ntargets = ['{target}']\nschedule = 'manual'\ntimeout = '{timeout}s'\n\
             {settings}\n"
        ));
    }
    text
}
