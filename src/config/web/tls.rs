//! `tls_server_config`: certificate and key, and all of it together as what rustls serves with.
//!
//! Versions, suites and curves are `protocol`; who must show a certificate of his own is `clients`.

use std::sync::Arc;

use rustls::{
    Error, InconsistentKeys, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{Admission, Findings, clients::Asked, files::Files, pem::Pem, protocol::Protocol, table::Table};

const KEYS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_ca_file",
    "client_auth_type",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// What is needed to serve over TLS.
#[derive(Debug)]
pub struct Tls {
    /// What rustls serves with.
    pub server: Arc<ServerConfig>,
    /// The server's own certificate.
    pub certificate: CertificateDer<'static>,
    /// Whom it lets in.
    pub admission: Admission,
}

/// `None` where there is no TLS, and where there are mistakes.
pub(super) fn read(mut table: Table, http2: bool, files: &mut Files, found: &mut Findings) -> Option<Tls> {
    let before = found.mistakes.0.len();
    let certificate = Pem::read(&mut table, "cert", found);
    let key = Pem::read(&mut table, "key", found);
    let asked = Asked::read(&mut table, found);
    let set = certificate.is_some() || key.is_some() || asked.is_any();
    if !set && found.mistakes.0.len() == before && table.has_more() {
        let names = table.key("cert_file");
        found.note(format!("{names} is not set: answers are plain HTTP, whatever else stands beside it"));
    }
    let protocol = Protocol::read(&mut table, http2, found);
    let path = table.key("");
    table.end(&KEYS, found);
    if !set {
        return None;
    }
    for (name, pem) in [("cert", &certificate), ("key", &key)] {
        if pem.is_none() {
            found.missing(
                &format!("{path}{name}_file"),
                &format!("TLS needs it, or {name} with the PEM text itself"),
            );
        }
    }
    let provider = Arc::new(protocol.provider());
    let own = certificate.zip(key).and_then(|(certificate, key)| {
        // Both are looked at, so that both mistakes are told.
        let chain = certificate.certificates(files).and_then(|chain| match chain.is_empty() {
            true => Err("holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned()),
            false => Ok(chain),
        });
        let chain = found.take(&certificate.key, certificate.blame(chain));
        let private = key.bytes(files).and_then(|text| private_key(&text));
        let private = found.take(&key.key, key.blame(private));
        let (chain, private) = chain.zip(private)?;
        match CertifiedKey::from_der(chain, private, &provider) {
            Err(Error::InvalidCertificate(_)) => {
                let broken = Err("holds something that is no certificate".to_owned());
                found.take(&certificate.key, certificate.blame(broken))
            }
            own => found.take(&key.key, key.blame(own.map_err(|error| unfit(&error)))),
        }
    });
    let gate = asked.gate(&provider, files, found);
    let ((admission, verifier), own) = gate.zip(own)?;
    if found.mistakes.0.len() > before {
        return None;
    }
    let certificate = own.cert.first()?.clone();
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&protocol.versions);
    let builder = found
        .take(path.trim_end_matches('.'), builder.map_err(|error| format!("cannot be served: {error}")))?;
    let mut server =
        builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    server.ignore_client_order = protocol.prefer_own_order;
    server.alpn_protocols =
        if http2 { vec![b"h2".into(), b"http/1.1".into()] } else { vec![b"http/1.1".into()] };
    // Whoever comes again is looked at again: what a session remembers may have expired meanwhile.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Some(Tls { server: Arc::new(server), certificate, admission })
}

/// The first private key of a PEM text. The parser's own message may quote the text.
fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| {
        "holds no private key (-----BEGIN PRIVATE KEY-----); one with a passphrase cannot be used".to_owned()
    })
}

fn unfit(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "is not the key of the certificate; give the one that the certificate was made for".into()
        }
        _ => "is of a kind that cannot be used; make one of RSA with 2048 bits or more, P-256, P-384 or Ed25519".into(),
    }
}

/// For a client that must know the server without an authority: what a provider of rustls is here.
#[must_use]
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
