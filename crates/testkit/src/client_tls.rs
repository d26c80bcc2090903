//! An authority for certificates of servers and of their clients, for tests of who is let in.
//!
//! Certificates with a flaw, of Redis servers, are `tls`.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};

/// Somebody who vouches for certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one, which nobody else knows.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, new_key()).expect("it signs itself") }
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for these names and addresses.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue(names, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// A client's certificate with these DNS names and addresses.
    #[must_use]
    pub fn client(&self, names: &[&str]) -> Identity {
        self.issue(names, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A client's certificate with an e-mail address and a URI.
    #[must_use]
    pub fn client_named(&self, mail: &str, uri: &str) -> Identity {
        self.issue(&[], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names = vec![
                SanType::Rfc822Name(mail.try_into().expect("ASCII")),
                SanType::URI(uri.try_into().expect("ASCII")),
            ];
        })
    }

    /// A client's certificate whose time is over.
    #[must_use]
    pub fn expired_client(&self, names: &[&str]) -> Identity {
        self.issue(names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let mut params = CertificateParams::new(names).expect("names a certificate can be for");
        change(&mut params);
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs it");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Identity {
    /// A certificate that nobody vouches for.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let params = CertificateParams::new(names).expect("names a certificate can be for");
        let key = new_key();
        let certificate = params.self_signed(&key).expect("it signs itself");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes `<name>.pem` and `<name>-key.pem`; returns where.
    ///
    /// # Panics
    /// Where the directory cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = (directory.join(format!("{name}.pem")), directory.join(format!("{name}-key.pem")));
        std::fs::write(&paths.0, &self.certificate).expect("the directory can be written");
        std::fs::write(&paths.1, &self.key).expect("the directory can be written");
        paths
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}
