//! Certificates that live as long as a test: good ones, and ones with a flaw.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// Who issues certificates.
pub struct Issuer {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, and the authority that issued it, as PEM files in a directory of their own.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
}

impl Default for Issuer {
    /// One of the same name as all others of its kind.
    fn default() -> Self {
        Self::named("An authority of a test")
    }
}

impl Issuer {
    fn named(name: &str) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(authority, new_key()).expect("it signs itself") }
    }

    /// Valid for these names and addresses, for servers and clients alike.
    #[must_use]
    pub fn valid(&self, names: &[&str]) -> Certificate {
        self.issue(names, |_| {})
    }

    /// As [`Issuer::valid`], but past its time: it ended with the year 2000.
    #[must_use]
    pub fn expired(&self, names: &[&str]) -> Certificate {
        self.issue(names, |leaf| leaf.not_after = date_time_ymd(2001, 1, 1))
    }

    /// As [`Issuer::valid`], until the first day of this year.
    #[must_use]
    pub fn until(&self, year: i32, names: &[&str]) -> Certificate {
        self.issue(names, |leaf| leaf.not_after = date_time_ymd(year, 1, 1))
    }

    fn issue(&self, names: &[&str], flaw: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let mut leaf = CertificateParams::new(names).expect("names a certificate can be for");
        // OpenSSL takes one of the same name as its issuer for self-signed.
        leaf.distinguished_name.push(DnType::CommonName, "A certificate of a test");
        flaw(&mut leaf);
        let key = new_key();
        let leaf = leaf.signed_by(&key, &self.issuer).expect("the authority signs it");

        let made = Certificate { directory: TempDir::new().expect("a temporary directory can be made") };
        for (path, text) in [
            (made.authority(), self.issuer.pem()),
            (made.certificate(), leaf.pem()),
            (made.key(), key.serialize_pem()),
        ] {
            fs::write(path, text).expect("an own directory can be written");
        }
        made
    }
}

impl Certificate {
    /// [`Issuer::valid`], of an authority of its own.
    #[must_use]
    pub fn valid(names: &[&str]) -> Self {
        Issuer::named("The authority of one certificate").valid(names)
    }

    /// [`Issuer::expired`], of an authority of its own.
    #[must_use]
    pub fn expired(names: &[&str]) -> Self {
        Issuer::named("The authority of one certificate").expired(names)
    }

    /// Puts another's files in the place of its own, as whoever renews certificates does.
    pub fn replace_with(&self, other: &Certificate) {
        for (from, to) in [
            (other.authority(), self.authority()),
            (other.certificate(), self.certificate()),
            (other.key(), self.key()),
        ] {
            let new = to.with_extension("new");
            fs::copy(from, &new).and_then(|_| fs::rename(&new, to)).expect("an own directory can be written");
        }
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
