//! What the integration tests share: the binary with a clean environment, a running daemon, and golden files. Redis
//! servers are in `testkit`.

use std::{env, fs, path::Path, process::Command};

mod daemon;

pub(crate) use daemon::Daemon;

/// A call of the binary, with nothing of this process's environment that could configure it.
pub(crate) fn redprobe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redprobe"));
    for (name, _) in env::vars_os() {
        let ours = name.to_str().is_some_and(|name| name.starts_with("REDPROBE") || name == "RUST_LOG");
        if ours {
            command.env_remove(&name);
        }
    }
    command.args(arguments);
    command
}

/// Compares with a golden file; with `BLESS=1` writes it.
pub(crate) fn golden(path: &Path, now: &str) {
    if env::var_os("BLESS").is_some() {
        fs::write(path, now).expect("the golden file can be written");
        return;
    }
    let then = fs::read_to_string(path).unwrap_or_default();
    assert!(
        then == now,
        "{} is not what the code makes of it (make bless rewrites it, for review in the diff); now:\n{now}",
        path.display()
    );
}
