//! The bounded memory of runs behind `/api/v1/runs`: a ring, in which failures outlive successes.

use std::sync::Arc;

use super::Record;
use crate::verdict::Outcome;

/// The runs kept.
#[derive(Debug)]
pub struct History;

/// Which runs to list; `None` is any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By probe.
    pub probe: Option<String>,
    /// By target.
    pub target: Option<String>,
    /// By outcome.
    pub outcome: Option<Outcome>,
    /// At most this many, the newest.
    pub limit: usize,
}

impl History {
    /// An empty memory of this many runs.
    #[must_use]
    pub fn new(_runs_kept: usize) -> Self {
        unimplemented!()
    }

    /// Keeps a run, forgetting the oldest that may be.
    pub fn push(&self, _record: Arc<Record>) {
        unimplemented!()
    }

    /// The run with this id.
    #[must_use]
    pub fn get(&self, _id: &str) -> Option<Arc<Record>> {
        unimplemented!()
    }

    /// The newest runs that match, newest first.
    #[must_use]
    pub fn list(&self, _filter: &Filter) -> Vec<Arc<Record>> {
        unimplemented!()
    }
}
