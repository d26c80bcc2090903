//! `redprobe healthcheck`.

use super::{Exit, HealthcheckArgs};

pub(super) async fn run(_args: &HealthcheckArgs) -> anyhow::Result<Exit> {
    unimplemented!()
}
