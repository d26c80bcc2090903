//! `redprobe serve`: the start order, reload, and the stop. Everything it starts has its own file.

use std::sync::Arc;

use crate::{
    config::{Mistake, Plan},
    schedule::runner::Runner,
};

/// The running daemon, as HTTP sees it.
#[derive(Debug)]
pub struct Daemon;

impl Daemon {
    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        unimplemented!()
    }

    /// The runner.
    #[must_use]
    pub fn runner(&self) -> &Arc<Runner> {
        unimplemented!()
    }

    /// Whether every start-up step is done and no stop has begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        unimplemented!()
    }

    /// Reads the configuration again. With mistakes in it, the plan in force stays, and the metric says so.
    ///
    /// # Errors
    /// Every mistake.
    pub async fn reload(&self) -> Result<(), Vec<Mistake>> {
        unimplemented!()
    }
}
