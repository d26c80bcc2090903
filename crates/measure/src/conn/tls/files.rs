//! The PEM files of TLS: the authorities to trust, and the certificate and key to show; and when they have changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{PROVIDER, WEB, witness::earliest_end};
use crate::stamp::Stamp;

/// The files that a target's TLS is made of; each may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the authorities to trust; the web's well-known ones where unset.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to the server, and those between it and its authority.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
}

/// What is wrong with the files, each with the name of the field of [`TlsFiles`] that it is about.
pub type TlsMistakes = Vec<(&'static str, String)>;

/// What was read of the files.
pub(super) struct Trust {
    pub(super) verifier: Arc<WebPkiServerVerifier>,
    pub(super) identity: Option<Arc<CertifiedKey>>,
    /// When the identity expires.
    pub(super) expires: Option<SystemTime>,
    stamps: [Option<Stamp>; 3],
}

impl TlsFiles {
    /// Reads all of them.
    pub(super) fn read(&self) -> Result<Trust, TlsMistakes> {
        // Before the files: one that changes while it is read is read once more.
        let stamps = self.stamps();
        let mut mistakes = TlsMistakes::new();
        let mut note = |key: &'static str, message: String| mistakes.push((key, message));
        let verifier = match &self.ca_file {
            Some(file) => authorities(file).map_err(|message| note("ca_file", message)).ok(),
            None => Some(Arc::clone(&WEB)),
        };
        let (chain, key) = (self.cert_file.as_deref(), self.key_file.as_deref());
        let chain = chain.and_then(|file| certificates(file).map_err(|error| note("cert_file", error)).ok());
        let key = key.and_then(|file| private_key(file).map_err(|error| note("key_file", error)).ok());
        let expires = chain.as_deref().and_then(earliest_end);
        let mut identity = None;
        match (chain, key) {
            (Some(chain), Some(key)) => match self.fit(chain, key) {
                Ok(fitting) => identity = Some(Arc::new(fitting)),
                Err(message) => note("key_file", message),
            },
            (Some(_), None) if self.key_file.is_none() => {
                note("cert_file", "has no key; set key_file as well".into());
            }
            (None, Some(_)) if self.cert_file.is_none() => {
                note("key_file", "has no certificate; set cert_file as well".into());
            }
            _ => {}
        }
        match verifier {
            Some(verifier) if mistakes.is_empty() => Ok(Trust { verifier, identity, expires, stamps }),
            _ => Err(mistakes),
        }
    }

    /// Whether any of them is another than the one that was read.
    pub(super) fn differ_from(&self, trust: &Trust) -> bool {
        trust.stamps != self.stamps()
    }

    fn stamps(&self) -> [Option<Stamp>; 3] {
        [&self.ca_file, &self.cert_file, &self.key_file].map(|file| Stamp::of(file.as_deref()?))
    }

    fn fit(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, String> {
        let shown = |file: &Option<PathBuf>| file.as_deref().unwrap_or(Path::new("")).display().to_string();
        let (cert, key_file) = (shown(&self.cert_file), shown(&self.key_file));
        CertifiedKey::from_der(chain, key, &PROVIDER).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("{key_file} is not the key of the first certificate in {cert}")
            }
            error => format!("{key_file} cannot be used with {cert}: {error}"),
        })
    }
}

/// Checks a server's certificate against the authorities in a file, and no other.
fn authorities(file: &Path) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            format!("{} holds a certificate that cannot be used: {error}", file.display())
        })?;
    }
    verifier(roots).map_err(|error| format!("{} cannot be used: {error}", file.display()))
}

/// Checks a server's certificate against these authorities.
pub(super) fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER))
        .build()
        .map_err(|error| error.to_string())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read certificates from {shown}: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{shown} holds no certificate: expected PEM, -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

/// No message repeats what is in the file.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let shown = file.display();
    let text = fs::read(file).map_err(|error| format!("cannot read a key from {shown}: {error}"))?;
    if memchr::memmem::find(&text, b"ENCRYPTED").is_some() {
        return Err(format!(
            "{shown} is encrypted, and there is nobody to ask for its password; decrypt it into a file that only \
             redprobe's user can read: (umask 077; openssl pkey -in {shown} -out plain.pem)"
        ));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_its_text_may_repeat_the_key| {
        format!("{shown} holds no private key: expected PEM, -----BEGIN PRIVATE KEY-----")
    })
}
