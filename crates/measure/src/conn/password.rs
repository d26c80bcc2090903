//! A password that may change while it is used: read again from its file once the server refuses it.
//!
//! When that is tried is decided in [`super::open`]; where a password is configured, by the daemon.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::{ExposeSecret, SecretString};

/// What stands for a secret in a text.
const HIDDEN: &str = "***";
/// Passwords remembered, so that an old one stays hidden too: the one in use and those before it.
const REMEMBERED: usize = 4;

/// A password. Clones share it: what one has read again, all use. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    /// The one in use is the last.
    known: Mutex<Vec<SecretString>>,
}

impl Password {
    /// One that was read from `file`, where there is one.
    #[must_use]
    pub fn new(secret: SecretString, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { file, known: Mutex::new(vec![secret]) }))
    }

    /// The one in use.
    #[must_use]
    pub fn current(&self) -> SecretString {
        self.with(|known| known.last().cloned().unwrap_or_default())
    }

    /// The text with no password in it, neither the one in use nor one before it.
    #[must_use]
    pub fn hide(&self, mut text: String) -> String {
        self.with(|known| {
            for secret in known.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty()) {
                if text.contains(secret) {
                    text = text.replace(secret, HIDDEN);
                }
            }
        });
        text
    }

    /// Reads its file again, since the server has refused `used`. Whether there is now another to try.
    ///
    /// # Errors
    /// Where the file cannot be read any more, or is empty.
    pub(super) fn read_again(&self, used: &SecretString) -> Result<bool, String> {
        let Some(file) = &self.0.file else { return Ok(false) };
        if self.current().expose_secret() != used.expose_secret() {
            // Another connection has read it meanwhile.
            return Ok(true);
        }
        let shown = file.display();
        let secret = read_secret(file).map_err(|error| format!("{shown} cannot be read again: {error}"))?;
        if secret.expose_secret().is_empty() {
            return Err(format!("{shown} is empty now"));
        }
        if secret.expose_secret() == used.expose_secret() {
            return Ok(false);
        }
        tracing::info!(file = %shown, "the server refused the password; its file has another one now");
        self.with(|known| {
            known.push(secret);
            let surplus = known.len().saturating_sub(REMEMBERED);
            known.drain(..surplus);
        });
        Ok(true)
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Vec<SecretString>) -> T) -> T {
        use_it(&mut self.0.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<&str> for Password {
    fn from(secret: &str) -> Self {
        Self::new(SecretString::from(secret), None)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").field("file", &self.0.file).finish_non_exhaustive()
    }
}

/// A secret from a file of its own. Editors and `echo` end a file with one newline; any other blank is part of it.
///
/// # Errors
/// Where the file cannot be read.
pub fn read_secret(file: &Path) -> io::Result<SecretString> {
    let text = fs::read_to_string(file)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SecretString::from(text.strip_suffix('\r').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_again_once_its_file_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "first\r\n").unwrap();
        let password = Password::new(read_secret(&file).unwrap(), Some(file.clone()));
        let first = password.current();
        assert_eq!(first.expose_secret(), "first");
        assert_eq!(password.read_again(&first), Ok(false));
        fs::write(&file, "second ").unwrap();
        let clone = password.clone();
        assert_eq!(clone.read_again(&first), Ok(true));
        assert_eq!(password.current().expose_secret(), "second ");
        assert_eq!(password.read_again(&first), Ok(true), "read by a clone meanwhile");
        assert_eq!(password.hide("first, second , third".into()), "***, ***, third");

        fs::write(&file, "\n").unwrap();
        assert!(password.read_again(&password.current()).unwrap_err().ends_with("is empty now"));
        fs::remove_file(&file).unwrap();
        assert!(password.read_again(&password.current()).unwrap_err().contains("cannot be read again"));
        assert_eq!(password.current().expose_secret(), "second ");
    }

    #[test]
    fn one_without_a_file_stays() {
        let password = Password::from("geheim");
        assert_eq!(password.read_again(&password.current()), Ok(false));
        assert!(!format!("{password:?}").contains("geheim"));
    }
}
