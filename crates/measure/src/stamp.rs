//! What changes when a file is written or replaced, so that whoever has read it can see cheaply whether to read it again.
//!
//! Which files those are, and what a change means, belongs to whoever reads them.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// A file as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that `path` leads to now; `None` where it leads to none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            place: (file.dev(), file.ino()),
            size: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Whether the file last changed, its name included, before this moment, in seconds since 1970.
    #[must_use]
    pub fn is_older_than(&self, seconds: f64) -> bool {
        let (whole, nanos) = self.changed;
        (whole as f64) + (nanos as f64) / 1e9 < seconds
    }
}
