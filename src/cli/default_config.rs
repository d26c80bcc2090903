//! `redprobe default-config`.

use super::Exit;

pub(super) fn run() -> anyhow::Result<Exit> {
    unimplemented!()
}
