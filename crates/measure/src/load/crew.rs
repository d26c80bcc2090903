//! One phase of load that runs beside others on one thread, the type of its clients forgotten.
//!
//! How several run together is `load::run_together`'s matter; what each does, its connector's.

use futures_util::future::LocalBoxFuture;

use super::{
    Connector, LoadPlan,
    thread::{self, Seat, Setup},
};
use crate::error::Failure;

/// What a crew does once its thread runs.
pub(super) type Body = Box<dyn FnOnce(Seat) -> LocalBoxFuture<'static, Result<(), Failure>> + Send>;

/// A plan and who carries it out.
pub struct Crew {
    pub(super) plan: LoadPlan,
    pub(super) body: Body,
}

impl Crew {
    /// Of `plan`, on whose number of threads nothing depends here, with the clients that `connector` makes.
    #[must_use]
    pub fn new<C: Connector>(plan: LoadPlan, connector: C) -> Self {
        Self { plan, body: Box::new(move |seat| Box::pin(thread::body(Setup { seat, connector }))) }
    }
}
