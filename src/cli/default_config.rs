//! `redprobe default-config`: a configuration file to begin with. Its text is made in `config`.

use super::Exit;
use crate::config::default_file;

pub(super) fn run() -> anyhow::Result<Exit> {
    super::print(default_file())?;
    Ok(Exit::Ok)
}
