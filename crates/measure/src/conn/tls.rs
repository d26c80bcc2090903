//! TLS towards a server: whom to trust, and what a failed handshake means.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::error::{Failure, Reason, tls_reason};

/// TLS towards the server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Name that the certificate must be for.
    pub server_name: String,
    /// PEM file of the authorities to trust; the web's well-known ones where unset.
    pub ca_file: Option<PathBuf>,
    /// Made once when the configuration is read.
    pub config: Arc<ClientConfig>,
}

/// Shared by all targets that trust the web's authorities.
static WEB: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));

impl Tls {
    /// Trusts the web's well-known authorities.
    #[must_use]
    pub fn web(server_name: String) -> Self {
        Self { server_name, ca_file: None, config: Arc::clone(&WEB) }
    }

    /// Trusts the authorities in a PEM file, and no other.
    ///
    /// # Errors
    /// A sentence that names the file, where it cannot be read or holds no certificate.
    pub fn with_ca_file(server_name: String, file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("cannot read certificates from {shown}: {error}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| format!("{shown} holds a certificate that cannot be used: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("{shown} holds no certificate: expected PEM, -----BEGIN CERTIFICATE-----"));
        }
        Ok(Self { server_name, ca_file: Some(file.to_owned()), config: trusting(roots) })
    }
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The handshake.
///
/// # Errors
/// With one of the `tls_` reasons.
pub(super) async fn handshake(tls: &Tls, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(tls.server_name.clone()).map_err(|_| {
        Failure::new(
            Reason::TlsName,
            format!("{:?} is not a name that a certificate can be for", tls.server_name),
        )
    })?;
    TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream).await.map_err(|error| {
        let reason = tls_reason(&error).unwrap_or(Reason::TlsProtocol);
        Failure::new(reason, format!("TLS handshake: {error}"))
    })
}
