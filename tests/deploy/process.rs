//! A program that the compose file runs, started here: in a directory of its own, ended when it is dropped.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use testkit::poll_until;

/// For a start on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) directory: TempDir,
}

impl Process {
    /// Starts it in `directory`, where its log goes as well.
    pub(crate) fn start(words: &[String], directory: TempDir) -> Self {
        let (program, arguments) = words.split_first().expect("a program");
        let log = File::create(directory.path().join("log")).expect("the directory can be written");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {program}: {error}; scripts/install-deps.sh redis prometheus alertmanager")
            });
        Self { child, directory }
    }

    /// Waits until `good`, and says its log where it never is or where it ends.
    pub(crate) fn await_that(&mut self, mut good: impl FnMut() -> bool) {
        let mut ended = None;
        let came = poll_until(PATIENCE, || {
            ended = self.child.try_wait().expect("an own child can be waited for");
            ended.is_some() || good()
        });
        assert!(came && ended.is_none(), "{ended:?}; its log:\n{}", self.log());
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are small")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// The body of `GET path`, where that is answered with 200.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
}
