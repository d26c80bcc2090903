//! One run of one job, from permit to exactly one [`Record`].
//!
//! Permit → lease → guard → deadline → catch panic → clean-up → verdict → publish. When jobs run belongs to the
//! scheduler; what a grade is, to `verdict`.

use std::sync::{Arc, Mutex};

use measure::{Failure, conn::Endpoint, redis::aio::MultiplexedConnection};

/// The kept connection of a target: opened at first use, shared, dropped at the first error.
#[derive(Debug, Clone, Default)]
pub struct KeptConnection(Arc<tokio::sync::Mutex<Option<MultiplexedConnection>>>);

impl KeptConnection {
    /// The connection, opened where there is none.
    ///
    /// # Errors
    /// With the reason for which it could not be opened.
    pub async fn get(&self, _endpoint: &Endpoint) -> Result<MultiplexedConnection, Failure> {
        unimplemented!()
    }
}

/// What a run says of itself while it goes: kept with its record, shown by `-v`, `&debug=true` and the API.
#[derive(Debug, Clone, Default)]
pub struct RunLog(Arc<Mutex<Vec<String>>>);

impl RunLog {
    /// Adds a line.
    pub fn note(&self, _line: impl Into<String>) {
        unimplemented!()
    }
}

use std::time::{Duration, SystemTime};

use measure::{Effect, load::Progress};

use crate::{
    config::Job,
    sink::{Record, Sinks},
};

/// Who wants the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The scheduler.
    Schedule,
    /// The command line or the API.
    Manual,
    /// `GET /probe`: bounded by the scraper's time-out, with no more than this effect; kept out of `/metrics`.
    Scrape {
        /// The greatest effect this caller may have.
        cap: Effect,
        /// Bound of the run.
        timeout: Duration,
    },
}

/// A run under way.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its id.
    pub id: String,
    /// Its job.
    pub job: Arc<Job>,
    /// When it began.
    pub started_at: SystemTime,
    /// How far it is.
    pub progress: tokio::sync::watch::Receiver<Progress>,
}

/// Runs jobs, whoever asks: every run goes through here and becomes exactly one [`Record`].
#[derive(Debug)]
pub struct Runner;

impl Runner {
    /// Runs `job` once and publishes the record. Returns when it is published; a run that may not start now is a
    /// record too. Dropping the future does not stop the run.
    pub async fn tick(self: &Arc<Self>, _job: &Arc<Job>, _trigger: Trigger) -> Arc<Record> {
        unimplemented!()
    }

    /// Starts the same and returns its id at once; the record follows under this id, also of a run that may not start.
    pub fn start(self: &Arc<Self>, _job: &Arc<Job>, _trigger: Trigger) -> String {
        unimplemented!()
    }

    /// The runs under way, oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        unimplemented!()
    }

    /// Where records go.
    #[must_use]
    pub fn sinks(&self) -> &Arc<Sinks> {
        unimplemented!()
    }
}
