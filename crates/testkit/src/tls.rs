//! Certificates that live as long as a test: good ones, and ones with a flaw.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// A server's certificate with its key, and the authority that issued it, as PEM files in a directory of their own.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// Valid for these names and addresses.
    #[must_use]
    pub fn valid(names: &[&str]) -> Self {
        Self::issue(names, |_| {})
    }

    /// As [`Certificate::valid`], but past its time.
    #[must_use]
    pub fn expired(names: &[&str]) -> Self {
        Self::issue(names, |leaf| leaf.not_after = date_time_ymd(2001, 1, 1))
    }

    fn issue(names: &[&str], flaw: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, new_key()).expect("it signs itself");
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let mut leaf = CertificateParams::new(names).expect("names a certificate can be for");
        flaw(&mut leaf);
        let key = new_key();
        let leaf = leaf.signed_by(&key, &issuer).expect("the authority signs it");

        let made = Self { directory: TempDir::new().expect("a temporary directory can be made") };
        for (path, text) in [
            (made.authority(), issuer.pem()),
            (made.certificate(), leaf.pem()),
            (made.key(), key.serialize_pem()),
        ] {
            std::fs::write(path, text).expect("an own directory can be written");
        }
        made
    }

    /// The file of the authority that issued it.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The file of the certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// The file of its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}
