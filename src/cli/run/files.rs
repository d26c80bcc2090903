//! Writing a report into a file whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Whether [`replace`] can be expected to succeed: better known before the measurement than after it.
///
/// # Errors
/// Where it cannot.
pub(super) fn is_replaceable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        _ => {
            let temporary = temporary(path)?;
            File::create(&temporary)?;
            fs::remove_file(&temporary)
        }
    }
}

/// Replaces the file's content. A reader sees the old content or the new one, never a part. What is no regular file, such
/// as a pipe, is written to directly.
///
/// # Errors
/// When it cannot be written; the old content is then still there.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(content);
    }
    let temporary = temporary(path)?;
    let written = write(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Whatever is wrong with it is reported already.
        fs::remove_file(&temporary).ok();
    }
    written
}

/// Beside it, so that it can be renamed.
fn temporary(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        replace(&path, b"old and longer").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_can_be_replaced_is_known_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        is_replaceable(&path).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        replace(&path, b"old").unwrap();
        is_replaceable(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        is_replaceable(Path::new("/dev/null")).unwrap();
        assert!(is_replaceable(directory.path()).is_err());
        assert!(is_replaceable(&directory.path().join("missing").join("report.json")).is_err());
    }

    #[test]
    fn a_failure_leaves_the_old_content() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing").join("report.json");
        assert!(replace(&missing, b"new").is_err());
        assert!(replace(Path::new("/"), b"new").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
