//! The files of the journal: made, locked, found again, removed. What an entry says is `entry`'s matter.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Read as _, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use super::entry::{Entry, Read};

/// Ending of an entry's file.
const ENTRY: &str = "jsonl";
/// Added to the name of one that cannot be trusted.
const DAMAGED: &str = "damaged";
/// Bytes that an entry may take on the disk.
const ROOM: usize = 4096;
/// No entry comes near this; a file that does is none.
const LONGEST: u64 = 1 << 20;

/// The journal of one state directory, which other processes may use at the same time.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the journal {} cannot be {verb}: {error}", path.display())]
pub struct JournalError {
    path: PathBuf,
    verb: &'static str,
    error: io::Error,
}

/// An entry of which this process has the lock: nobody else puts it back meanwhile. Dropped, it is there for others.
#[derive(Debug)]
pub struct Open {
    /// What it says.
    pub entry: Entry,
    path: PathBuf,
    /// Whether the server has answered the change. Until then it may still be on its way.
    pub(super) answered: AtomicBool,
    _lock: Lock,
}

/// Given back by name: to close the file leaves it with whatever process was just being started, for a moment.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where this fails, closing the file does it.
        let _ = self.0.unlock();
    }
}

/// A file that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What lies in the journal.
#[derive(Debug, Default)]
pub struct Found {
    /// Left by dead processes, the newest first: where two changed one setting, the older one knows the first value.
    pub open: Vec<Open>,
    /// Of processes that live.
    pub live: Vec<Entry>,
    /// What nobody can put back without a person's help.
    pub damaged: Vec<Damaged>,
}

impl Journal {
    /// The journal in `state_dir`. Nothing is made before the first entry.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("journal") }
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether an entry could be written down now.
    ///
    /// # Errors
    /// Where the directory cannot be written, or the disk is full.
    pub fn check(&self) -> Result<(), JournalError> {
        self.make_folder()?;
        let path = self.folder.join("room");
        let written =
            File::options().write(true).create(true).truncate(true).open(&path).and_then(|mut file| {
                file.write_all(&[b' '; ROOM])?;
                file.sync_all()
            });
        // Another process may have made the same look.
        let _ = fs::remove_file(&path);
        written.map_err(|error| failed("written", &path, error))
    }

    fn make_folder(&self) -> Result<(), JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| failed("made", &self.folder, error))
    }

    /// Writes an entry down. Once this returns, it is on the disk.
    pub(super) fn write(&self, entry: Entry) -> Result<Open, JournalError> {
        self.make_folder()?;
        for number in 0.. {
            let path = self.folder.join(format!("{}-{number}.{ENTRY}", file_name(&entry.run)));
            let made = File::options().write(true).create_new(true).mode(0o600).open(&path);
            let mut file = match made {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed("written", &path, error)),
            };
            // Somebody who looks for dead processes' files may have come by before the lock.
            if file.try_lock().is_err() {
                continue;
            }
            let written = file
                .write_all(entry.seal().as_bytes())
                .and_then(|()| file.sync_all())
                .and_then(|()| self.sync());
            if let Err(error) = written {
                // Half an entry counts as none.
                let _ = fs::remove_file(&path);
                return Err(failed("written", &path, error));
            }
            if is_at(&file, &path) {
                return Ok(Open { entry, path, answered: AtomicBool::new(false), _lock: Lock(file) });
            }
        }
        unreachable!("the numbers do not end")
    }

    /// Looks through the journal. Takes the lock of every entry that is nobody's, removes what dead processes have left
    /// unfinished, and moves aside what is damaged.
    ///
    /// # Errors
    /// Where the directory cannot be read. There being none is no error.
    pub fn find(&self) -> Result<Found, JournalError> {
        let mut found = Found::default();
        let unreadable = |error| failed("read", &self.folder, error);
        let listing = match fs::read_dir(&self.folder) {
            Ok(listing) => listing,
            Err(error) if is_absence(&error) => return Ok(found),
            Err(error) => return Err(unreadable(error)),
        };
        let mut paths = Vec::new();
        for file in listing {
            paths.push(file.map_err(unreadable)?.path());
        }
        paths.sort_unstable();
        for path in paths.into_iter().rev() {
            let ending = path.extension().and_then(|ending| ending.to_str());
            match ending {
                Some(ENTRY) => self.look_at(path, &mut found),
                Some(DAMAGED) => {
                    found.damaged.push(Damaged { path, why: "it was found damaged before".into() });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn look_at(&self, path: PathBuf, found: &mut Found) {
        let (file, content) = match open(&path) {
            Ok(read) => read,
            // Put back and removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                found.damaged.push(Damaged { path, why: format!("it cannot be read: {error}") });
                return;
            }
        };
        let free = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => {
                found.damaged.push(Damaged { path, why: format!("it cannot be locked: {error}") });
                return;
            }
        };
        match Entry::unseal(&content) {
            Read::Entry(entry) if !free => found.live.push(entry),
            // It is being written.
            _ if !free => {}
            _ if !is_at(&file, &path) => {}
            Read::Entry(entry) => {
                found.open.push(Open { entry, path, answered: AtomicBool::new(false), _lock: Lock(file) });
            }
            Read::Torn => {
                tracing::info!(path = %path.display(), "a process died before it changed a setting; its note is removed");
                if let Err(error) = fs::remove_file(&path).and_then(|()| self.sync()) {
                    tracing::warn!(path = %path.display(), %error, "an unfinished note cannot be removed");
                }
            }
            Read::Damaged(why) => found.damaged.push(Damaged { path: aside(path), why }),
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Open {
    /// Drops the entry: everything in it is put back, or not ours to put back.
    pub(super) fn close(&self) -> Result<(), JournalError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("cleared", &self.path, error)),
        }
        // Where this fails, a power cut may bring the entry back; it then finds its values put back already.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed("cleared", folder, error))
    }

    /// Where it is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Nor can there be a journal where a file stands in place of its directory.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failed(verb: &'static str, path: &Path, error: io::Error) -> JournalError {
    JournalError { path: path.to_owned(), verb, error }
}

/// A run's id as part of a file's name.
fn file_name(run: &str) -> String {
    run.chars().filter(char::is_ascii_alphanumeric).take(40).collect()
}

fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let mut content = Vec::new();
    io::Read::by_ref(&mut file).take(LONGEST).read_to_end(&mut content)?;
    Ok((file, content))
}

/// Whether this very file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |there: fs::Metadata| Some((there.dev(), there.ino()));
    let here = file.metadata().ok().and_then(same);
    here.is_some() && here == fs::metadata(path).ok().and_then(same)
}

/// Gives a damaged file a name by which nobody takes it for an entry. Where that cannot be, it is found damaged again.
fn aside(path: PathBuf) -> PathBuf {
    let mut name = path.clone().into_os_string();
    name.push(".");
    name.push(DAMAGED);
    let to = PathBuf::from(name);
    if fs::rename(&path, &to).is_ok() { to } else { path }
}
