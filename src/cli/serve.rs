//! `redprobe serve`: configuration, log, daemon, exit code. The daemon itself is `daemon.rs`.

use super::{Exit, ServeArgs};
use crate::{
    config::{Mistakes, Overrides, Plan},
    daemon,
    http::door::Door,
    telemetry,
};

/// Serves until told to stop.
///
/// # Errors
/// For a bad start.
pub async fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    let overrides = Overrides {
        listen: args.listen.clone(),
        web_config_file: args.web_config_file.clone(),
        shard: args.shard.clone(),
    };
    let plan = Plan::load(args.config.config.as_deref(), &overrides).map_err(Mistakes)?;
    // A shard may have none, and another one after a reload.
    anyhow::ensure!(plan.all_targets().next().is_some(), super::NO_TARGET);
    telemetry::start(&plan.log, &args.log)?;
    let read_again = move || Plan::load(args.config.config.as_deref(), &overrides);
    let door = Door::of(plan.http.web_config_file.as_deref()).map_err(Mistakes)?;
    let clean = daemon::serve(plan, door, Box::new(read_again)).await?;
    Ok(if clean { Exit::Ok } else { Exit::NotRestored })
}
