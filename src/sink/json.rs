//! A record as the report's JSON: the same for the command line, the API and (later) history. The contract's shape.

use std::sync::Arc;

use super::Record;

/// One run.
#[must_use]
pub fn run(_record: &Record) -> serde_json::Value {
    unimplemented!()
}

/// What `redprobe run --format json` prints: the worst grade, the exit code, and the runs.
#[must_use]
pub fn suite(_records: &[Arc<Record>], _exit_code: i32) -> serde_json::Value {
    unimplemented!()
}
