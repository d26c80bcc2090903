//! A file that one process holds: by flock, so that it is free again however the holder died.
//!
//! What it stands for is up to who takes it: the state directory, or the load on a target.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
};

/// Why a file could not be locked.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Somebody has it; what they wrote into it.
    Held(String),
    /// It cannot be opened or locked at all.
    Unusable(io::Error),
}

/// Locks a file, made where there is none, and writes into it who has it. Held until the file is dropped, and by
/// nobody once the process is dead, however it died.
pub(crate) fn lock_file(path: &Path, holder: &str) -> Result<File, Refused> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Refused::Unusable)?;
    match file.try_lock() {
        Ok(()) => {
            // Who holds it is a courtesy; that it is held is what counts, also on a disk that is full.
            let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{holder}"));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.take(200).read_to_string(&mut text).ok();
            Err(Refused::Held(text.trim().to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(Refused::Unusable(error)),
    }
}
