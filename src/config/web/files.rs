//! The files that a web configuration names: read within bounds, and remembered, to know when one has changed.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};

/// Bytes of one file; more than any chain of certificates.
const LARGEST: u64 = 1 << 20;

/// Reads files and remembers which, and what was in them.
pub(super) struct Files {
    directory: PathBuf,
    read: Vec<PathBuf>,
    digest: Context,
}

impl Files {
    /// Relative names are relative to the directory of `path`.
    pub(super) fn beside(path: &Path) -> Self {
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { directory, read: Vec::new(), digest: Context::new(&SHA256) }
    }

    /// Where a name in the file leads.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The content of a file.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    pub(super) fn bytes(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content));
        self.read.push(path.to_path_buf());
        // The length first: what ends one file and begins the next must not be read two ways.
        self.digest.update(&[u8::from(read.is_ok())]);
        self.digest.update(&content.len().to_le_bytes());
        self.digest.update(&content);
        match read {
            Ok(length) if length as u64 > LARGEST => Err(format!("is larger than {LARGEST} bytes")),
            Ok(_) => Ok(content),
            Err(error) => Err(format!("cannot be read: {error}")),
        }
    }

    /// The same, as text.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    pub(super) fn text(&mut self, path: &Path) -> Result<String, String> {
        String::from_utf8(self.bytes(path)?).map_err(|_| "is not UTF-8 text".to_owned())
    }

    /// What was read, and its digest.
    pub(super) fn end(self) -> (Vec<PathBuf>, Vec<u8>) {
        (self.read, self.digest.finish().as_ref().to_vec())
    }
}
