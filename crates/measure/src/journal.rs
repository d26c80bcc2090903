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

pub use self::{
    change::{Changes, Origin},
    crash::crash_point,
    entry::{Entry, Setting},
    file::{Damaged, Found, Journal, JournalError, Open},
    restore::{Fate, OwnKeys, Restored},
};
