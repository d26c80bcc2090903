//! `redprobe check`.

use super::{ConfigArgs, Exit};

pub(super) fn run(_args: &ConfigArgs) -> anyhow::Result<Exit> {
    unimplemented!()
}
