//! `redprobe serve`: configuration, log, daemon, exit code. The daemon itself is `daemon.rs`.

use super::{Exit, ServeArgs};
use crate::{
    config::{Mistakes, Overrides, Plan},
    telemetry,
};

/// Serves until told to stop.
///
/// # Errors
/// For a bad start.
pub async fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    let overrides = Overrides { listen: args.listen.clone() };
    let plan = Plan::load(args.config.config.as_deref(), &overrides).map_err(Mistakes)?;
    anyhow::ensure!(!plan.targets.is_empty(), super::NO_TARGET);
    telemetry::start(&plan.log, &args.log)?;
    unimplemented!()
}
