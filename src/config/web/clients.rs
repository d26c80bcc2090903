//! Certificates of clients: who must show one, who vouches for it, and whom it may name.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoClientAuth, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use super::{
    super::suggest,
    Findings,
    files::Files,
    pem::Pem,
    table::{Table, shown},
};

/// What is asked of clients; Go's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    NoClientCert,
    /// A certificate, if they like; any will do.
    RequestClientCert,
    /// A certificate; any will do.
    RequireAnyClientCert,
    /// A certificate, if they like; one that is shown must be vouched for.
    VerifyClientCertIfGiven,
    /// A certificate that is vouched for. The only one that keeps anybody out.
    RequireAndVerifyClientCert,
}

const TYPES: [(&str, ClientAuth); 6] = [
    ("NoClientCert", ClientAuth::NoClientCert),
    ("RequestClientCert", ClientAuth::RequestClientCert),
    ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
    // An old name of the same.
    ("RequireClientCert", ClientAuth::RequireAnyClientCert),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
];

/// Whom the server lets in by their certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// What is asked.
    pub auth: ClientAuth,
    /// Who vouches.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Names of which the certificate must have one; any where there are none.
    pub names: Vec<String>,
}

/// What the file says of clients.
pub(super) struct Asked {
    auth: ClientAuth,
    given: bool,
    authority: Option<Pem>,
    names: Option<Vec<String>>,
    path: String,
}

impl Asked {
    pub(super) fn read(table: &mut Table, found: &mut Findings) -> Self {
        let authority = Pem::read(table, "client_ca", found);
        let text = table.text("client_auth_type", found);
        let auth = text.as_deref().map(|text| {
            let known = TYPES.iter().find(|(name, _)| *name == text).map(|(_, auth)| *auth);
            known.ok_or_else(|| {
                let names = TYPES.map(|(name, _)| name);
                let hint = suggest::one_of(text, &names);
                format!("{} is unknown; write RequireAndVerifyClientCert, or leave it out{hint}", shown(text))
            })
        });
        let given = auth.is_some();
        let wrong = matches!(auth, Some(Err(_)));
        let key = table.key("client_auth_type");
        let auth = auth.and_then(|auth| found.take(&key, auth)).unwrap_or_default();
        let names = table.list("client_allowed_sans", found);
        let asked = Self { auth, given, authority, names, path: table.key("") };
        if !wrong {
            asked.check(found);
        }
        asked
    }

    fn check(&self, found: &mut Findings) {
        let Self { auth, authority, names, path, .. } = self;
        let key = format!("{path}client_auth_type");
        if let Some(authority) = authority.as_ref().filter(|_| *auth == ClientAuth::NoClientCert) {
            let message = "is set, but client_auth_type asks no client for a certificate; set it to RequireAndVerifyClientCert";
            found.refuse(&authority.key, message);
        }
        if authority.is_none() && *auth == ClientAuth::RequireAndVerifyClientCert {
            found.refuse(
                format!("{path}client_ca_file"),
                "missing; RequireAndVerifyClientCert would let nobody in without it",
            );
        }
        if authority.is_none() && *auth == ClientAuth::VerifyClientCertIfGiven {
            found.note(format!("{key}: without client_ca_file no certificate is vouched for, so that whoever shows one is refused"));
        }
        if let Some(names) = names {
            let key = format!("{path}client_allowed_sans");
            if names.is_empty() {
                found.refuse(key, "is empty, which would let nobody in; write names, or leave it out");
            } else if *auth == ClientAuth::NoClientCert {
                found.refuse(key, "is set, but client_auth_type asks no client for a certificate; set it to RequireAndVerifyClientCert");
            } else if matches!(auth, ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert) {
                found.note(format!(
                    "{key}: client_auth_type lets anybody make himself a certificate with such a name"
                ));
            }
        }
        if matches!(auth, ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert) {
            found.note(format!(
                "{key}: any certificate will do, which keeps nobody out; only RequireAndVerifyClientCert does"
            ));
        }
    }

    /// Whether anything is said of clients.
    pub(super) fn is_any(&self) -> bool {
        self.given || self.authority.is_some() || self.names.is_some()
    }

    /// Whom to let in, and what looks at them.
    pub(super) fn gate(
        self,
        provider: &Arc<CryptoProvider>,
        files: &mut Files,
        found: &mut Findings,
    ) -> Option<(Admission, Arc<dyn ClientCertVerifier>)> {
        let mut roots = RootCertStore::empty();
        let mut authorities = Vec::new();
        if let Some(pem) = &self.authority {
            let read = pem.certificates(files).and_then(|certificates| add(&mut roots, certificates));
            authorities = found.take(&pem.key, pem.blame(read))?;
        }
        let admission = Admission { auth: self.auth, authorities, names: self.names.unwrap_or_default() };
        let check = match admission.auth {
            ClientAuth::NoClientCert => return Some((admission, Arc::new(NoClientAuth))),
            ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert => Check::Anybody,
            _ if roots.is_empty() => Check::Nobody,
            _ => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
                let verifier = verifier.build().map_err(|error| format!("cannot be used: {error}"));
                Check::Vouched(found.take(&format!("{}client_ca_file", self.path), verifier)?)
            }
        };
        let gate = Gate {
            admission: admission.clone(),
            check,
            algorithms: provider.signature_verification_algorithms,
        };
        Some((admission, Arc::new(gate)))
    }
}

fn add(
    roots: &mut RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    if certificates.is_empty() {
        return Err("holds no certificate (-----BEGIN CERTIFICATE-----)".into());
    }
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|_| "holds something that is no certificate of an authority")?;
    }
    Ok(certificates)
}

/// Looks at what a client shows.
#[derive(Debug)]
struct Gate {
    admission: Admission,
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Check {
    /// Whatever is shown is good.
    Anybody,
    /// Nothing that is shown is.
    Nobody,
    /// What an authority vouches for.
    Vouched(Arc<dyn ClientCertVerifier>),
}

impl ClientCertVerifier for Gate {
    fn client_auth_mandatory(&self) -> bool {
        // Whoever shows nothing has none of the names.
        !self.admission.names.is_empty()
            || matches!(
                self.admission.auth,
                ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert
            )
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.check {
            Check::Vouched(verifier) => verifier.root_hint_subjects(),
            Check::Anybody | Check::Nobody => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match &self.check {
            Check::Anybody => {}
            Check::Nobody => return Err(CertificateError::UnknownIssuer.into()),
            Check::Vouched(verifier) => {
                let ClientCertVerified { .. } =
                    verifier.verify_client_cert(end_entity, intermediates, now)?;
            }
        }
        let allowed = &self.admission.names;
        if !allowed.is_empty() && !names(end_entity).iter().any(|name| allowed.contains(name)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The names in a certificate: DNS, e-mail, URI, and addresses in their usual form. The subject does not count.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    names.collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}
