//! A PEM text of the web configuration file: under its key, or in the file that `…_file` names.

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{
    Findings,
    files::Files,
    table::{Table, shown},
};

/// Where a PEM text is.
pub(super) struct Pem {
    /// The key that says so.
    pub(super) key: String,
    place: Place,
}

enum Place {
    Inline(String),
    File(String),
}

impl Pem {
    /// What `name` or `name_file` says; nothing where both are missing or empty.
    pub(super) fn read(table: &mut Table, name: &str, found: &mut Findings) -> Option<Self> {
        let file_key = format!("{name}_file");
        let (inline, file) = (table.text(name, found), table.text(&file_key, found));
        if inline.is_some() && file.is_some() {
            found.refuse(table.key(name), format!("is set, and {file_key} as well; keep one of them"));
        }
        match (inline, file) {
            (Some(text), _) => Some(Self { key: table.key(name), place: Place::Inline(text) }),
            (None, Some(file)) if file.contains("-----BEGIN") => {
                let message =
                    format!("is a PEM text, not the name of a file (value not shown); it belongs in {name}");
                found.refuse(table.key(&file_key), message);
                None
            }
            (None, Some(file)) => Some(Self { key: table.key(&file_key), place: Place::File(file) }),
            (None, None) => None,
        }
    }

    /// Its bytes.
    pub(super) fn bytes(&self, files: &mut Files) -> Result<Vec<u8>, String> {
        match &self.place {
            Place::Inline(text) => Ok(text.clone().into_bytes()),
            Place::File(name) => files.bytes(&files.place(name)),
        }
    }

    /// All certificates in it, as they are there.
    pub(super) fn certificates(&self, files: &mut Files) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = self.bytes(files)?;
        // The parser's own message may quote the text.
        let read: Result<_, _> = CertificateDer::pem_slice_iter(&text).collect();
        read.map_err(|_| {
            "is no PEM text; expected -----BEGIN CERTIFICATE----- and lines of base64".to_owned()
        })
    }

    /// A message about what a file holds names the file.
    pub(super) fn blame<T>(&self, result: Result<T, String>) -> Result<T, String> {
        match &self.place {
            Place::Inline(_) => result,
            Place::File(name) => {
                result.map_err(|message| format!("{}: {message}", shown(name).trim_matches('"')))
            }
        }
    }
}
