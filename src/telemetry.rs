//! The log: tracing to stderr as text or JSON, and to a file where a directory is given.
//!
//! What is worth a line is decided where it happens; the runs' own logs are the runner's.

use crate::{cli::LogArgs, config::Log};

/// Starts logging for the rest of the process. `RUST_LOG` wins over `-v`, `-v` over the configuration.
///
/// # Errors
/// Where the directory cannot be written.
pub fn start(_log: &Log, _args: &LogArgs) -> anyhow::Result<()> {
    unimplemented!()
}
