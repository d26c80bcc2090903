//! `redprobe run`: probes once, through the same runner as the daemon, with progress and a report.

use super::{Exit, RunArgs};

/// Runs the probes and prints the report.
///
/// # Errors
/// Where nothing could be run.
pub async fn run(_args: RunArgs) -> anyhow::Result<Exit> {
    unimplemented!()
}
