//! `redprobe probes`.

use super::{Exit, FormatArgs};

pub(super) fn run(_args: &FormatArgs) -> anyhow::Result<Exit> {
    unimplemented!()
}
