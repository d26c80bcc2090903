//! The demo as somebody runs it, `scripts/demo.sh`, and what its Prometheus has for the dashboards.
//!
//! Panels that may be empty are in `empties.rs`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use measure::clock::{self, Instant};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use testkit::poll_until;

use super::{api, empties};
use crate::monitoring::dashboards::{self, Expression, Purpose};

/// For the start of all of it, and for its end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The demo has something of everything after two minutes; a busy machine needs longer.
const FILLED: Duration = Duration::from_secs(240);

/// A demo that runs. Dropping it ends it, the way that a closed terminal does.
#[derive(Debug)]
pub(super) struct Demo {
    child: Child,
    /// `TMPDIR` of all its processes, and of nobody else.
    directory: TempDir,
    pub(super) began: Instant,
}

impl Demo {
    /// Starts it with the binary under test.
    pub(super) fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let temporary = directory.path().join("tmp");
        fs::create_dir(&temporary).expect("the directory can be written");
        let log = File::create(directory.path().join("demo.log")).expect("the directory can be written");
        // Ctrl-C works also where this test was started in the background, which leaves SIGINT ignored.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "scripts/demo.sh"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
            .env("DEMO_PROGRAM", env!("CARGO_BIN_EXE_redprobe"))
            .env("TMPDIR", &temporary)
            .env_remove("TARGET");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("an open file can be cloned")).stderr(log);
        let child = command.process_group(0).spawn().expect("the demo can be started");
        Self { child, directory, began: clock::now() }
    }

    /// Where its Prometheus is, as it says once everything runs.
    pub(super) fn await_prometheus(&mut self) -> SocketAddr {
        let mut address = None;
        let mut ended = false;
        let told = poll_until(PATIENCE, || {
            address = self.log().lines().find_map(prometheus);
            ended = self.has_ended();
            address.is_some() || ended
        });
        assert!(told && address.is_some(), "no Prometheus (ended: {ended}):\n{}", self.log());
        address.expect("it is told")
    }

    /// Presses Ctrl-C, and waits until the script has ended; returns whether it was content with that.
    pub(super) fn interrupt(&mut self) -> bool {
        kill_process_group(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let mut status = None;
        let ended = poll_until(PATIENCE, || {
            status = self.child.try_wait().expect("an own child can be waited for");
            status.is_some()
        });
        ended && status.is_some_and(|status| status.success())
    }

    /// What it has left: files in its temporary directory, and processes that still have it in their environment.
    pub(super) fn left(&self) -> Vec<String> {
        let temporary = self.directory.path().join("tmp");
        let files = fs::read_dir(&temporary).expect("the directory can be read");
        let files = files.map(|entry| entry.expect("it can be read").path().display().to_string());
        let mark = format!("TMPDIR={}\0", temporary.display());
        let processes = fs::read_dir("/proc").expect("there is /proc").filter_map(|entry| {
            let process: PathBuf = entry.ok()?.path();
            let environment = fs::read(process.join("environ")).ok()?;
            let ours = String::from_utf8_lossy(&environment).contains(&mark);
            ours.then(|| fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " "))
        });
        files.chain(processes).collect()
    }

    /// Everything that it has said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("demo.log")).unwrap_or_default()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("an own child can be waited for").is_some()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The script ends what it has started, each in a process group of its own; killing it would leave all of that.
        if !self.has_ended() && kill_process(Pid::from_child(&self.child), Signal::TERM).is_ok() {
            let _ = poll_until(PATIENCE, || self.has_ended());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn prometheus(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("  Prometheus   http://")?;
    rest.split('/').next()?.parse().ok()
}

/// What is wrong with the panels once the demo has run for a while: those without data that may not be so, and leave to
/// be empty that is no longer needed.
pub(super) fn wrong_panels(prometheus: SocketAddr) -> Vec<String> {
    let mut expressions = dashboards::all_expressions();
    expressions.retain(|expression| expression.purpose != Purpose::Annotation);
    assert!(!expressions.is_empty(), "there are no dashboards");
    let mut lacking = Vec::new();
    let _ = poll_until(FILLED, || {
        let lack = |expression| Some((expression, lack(prometheus, expression)?));
        lacking = expressions.iter().filter_map(lack).collect();
        lacking.iter().all(is_allowed)
    });
    let empty: Vec<&Expression> = lacking.iter().map(|(expression, _)| *expression).collect();
    let wrong = lacking.iter().filter(|one| !is_allowed(one));
    let wrong = wrong.map(|(one, why)| format!("{}, {:?}: {why}: {}", one.file, one.place, one.text));
    wrong.chain(empties::stale(&expressions, &empty)).collect()
}

const EMPTY: &str = "no data";

/// Why there is nothing to be seen; nothing where there is.
fn lack(prometheus: SocketAddr, expression: &Expression) -> Option<String> {
    let series = expression.query.clone().and_then(|query| api::query(prometheus, &query));
    match series {
        Ok(series) => series.is_empty().then(|| EMPTY.to_owned()),
        // A Prometheus that has just started refuses as well.
        Err(error) => Some(error),
    }
}

fn is_allowed((expression, why): &(&Expression, String)) -> bool {
    why == EMPTY && empties::allowed(expression)
}
