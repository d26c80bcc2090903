//! The only way to change a server's settings: written down before, put back after, by whoever is alive to do it.
//!
//! Each change is a file of its own under `<state_dir>/journal/`, on the disk before the server hears of it and locked
//! while its process lives. A file whose lock is free belongs to a dead process, and anybody may put back what it names.
//! The file goes only after the server was asked and says that it is as before. When that is tried, and how often, is
//! the daemon's to decide.

mod change;
mod crash;
mod entry;
mod file;
mod restore;
mod settings;

use crate::grant::Grant;

pub use self::{
    change::{Changes, Origin},
    crash::crash_point,
    entry::{Entry, Setting},
    file::{Damaged, Found, Journal, JournalError, Open},
    restore::{Fate, OwnKeys, Restored},
};

/// What is sent around a change, beside the `config|get` and `config|set` of its settings, which the probes declare.
pub const GRANTS: &[Grant] = &[
    Grant::disrupt("info", "server", "see which server it is whose settings are changed"),
    Grant::disrupt("info", "", "see whether memory is free again before a setting is put back"),
    Grant::disrupt("client|id", "", "know the connection that changes a setting").optional(LATE),
    Grant::disrupt(
        "client|kill",
        "ID 1",
        "end the connection of a run that died, before its settings are put back",
    )
    .optional(LATE),
    Grant::disrupt(
        "scan",
        "0 MATCH x COUNT 1",
        "find the keys of a run that died, where they take the memory",
    )
    .optional("its settings go back once the TTL has removed them"),
];

const LATE: &str =
    "a change that was still on its way when its run died may come after its settings were put back";
