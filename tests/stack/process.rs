//! A program of the stack as a process: its log in a file, its address out of that log, its end with the fixture's.
//!
//! Which programs there are, and what they are told, is in `bed.rs` and `demo.rs`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::poll_until;

/// For a start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. Dropping it kills it, by its id.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the first of these programs that is installed; Debian calls some by another name. What it says goes to
    /// `<name>.log` in the directory.
    pub(super) fn start(
        name: &'static str,
        programs: &[&str],
        arguments: &[String],
        directory: &Path,
    ) -> Self {
        let log = directory.join(format!("{name}.log"));
        for program in programs {
            let file = File::create(&log).expect("the directory can be written");
            let twin = file.try_clone().expect("an open file can be cloned");
            let mut command = Command::new(program);
            command.args(arguments).current_dir(directory);
            command.stdin(Stdio::null()).stdout(twin).stderr(file);
            match command.spawn() {
                Ok(child) => return Self { name, child, log },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("cannot run {program}: {error}"),
            }
        }
        panic!(
            "none of {programs:?} is on PATH; `make test` installs them, and on Debian and Ubuntu so does: \
             apt-get install prometheus prometheus-alertmanager"
        );
    }

    /// Where it listens, as it says itself once it does: it was told to take any free port.
    pub(super) fn await_address(&mut self) -> SocketAddr {
        let mut address = None;
        let mut ended = false;
        let listens = poll_until(PATIENCE, || {
            address = self.log().lines().find_map(listening);
            ended = self.has_ended();
            address.is_some() || ended
        });
        assert!(
            listens && address.is_some(),
            "{} does not listen (ended: {ended}):\n{}",
            self.name,
            self.tail(30)
        );
        address.expect("it listens")
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("an own child can be waited for").is_some()
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let ended = poll_until(PATIENCE, || self.has_ended());
        assert!(ended, "{} does not end:\n{}", self.name, self.tail(30));
    }

    /// What it has said so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of that, with its name above.
    pub(super) fn tail(&self, lines: usize) -> String {
        format!("--- {}\n{}", self.name, super::tail(&self.log(), lines))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("msg=\"Listening on\" address=")?;
    rest.split_whitespace().next()?.parse().ok()
}
