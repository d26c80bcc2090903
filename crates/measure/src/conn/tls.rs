//! TLS towards a server: whom to trust, what to show, and what a failed handshake means.
//!
//! Which reason an error of rustls has is in [`crate::error`]; here it gets its sentence, and what to do about it.

mod files;
mod witness;

use std::{
    fmt, io,
    sync::{Arc, LazyLock, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::time::ASN1Time;

pub use self::files::{TlsFiles, TlsMistakes};
use self::{
    files::Trust,
    witness::{Identity, Shown, Witness},
};
use crate::error::{Failure, Reason, tls_reason};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// Trusts the web's well-known authorities.
static WEB: LazyLock<Arc<WebPkiServerVerifier>> = LazyLock::new(|| {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    files::verifier(roots).expect("the web has authorities")
});

/// What all handshakes have in common; each has a witness of its own besides.
static COMMON: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for the default protocol versions")
        .with_webpki_verifier(Arc::clone(&WEB))
        .with_no_client_auth();
    // A resumed session shows no certificate. Few clients of Redis resume any, so its price is not theirs either.
    config.resumption = Resumption::disabled();
    config
});

/// Certificate and key are two files: whoever replaces them is between the two for a moment.
const HALF_REPLACED: Duration = Duration::from_millis(100);

/// TLS towards one server. Clones share what was read of the files, and what the server has shown.
#[derive(Clone)]
pub struct Tls {
    /// Name that the certificate must be for.
    pub server_name: String,
    /// Whether that name was given, and is not just the host's.
    is_named: bool,
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsFiles,
    trust: Mutex<Arc<Trust>>,
    shown: Arc<Shown>,
}

/// When the certificates of a target expire: it is the earliest of a chain that counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsExpiry {
    /// The server's, as it was shown last; `None` until it was.
    pub server: Option<SystemTime>,
    /// Our own; `None` where there is none.
    pub client: Option<SystemTime>,
}

impl Tls {
    /// Trusts the web's well-known authorities and shows no certificate.
    #[must_use]
    pub fn web(server_name: String) -> Self {
        let files = TlsFiles::default();
        let trust = files.read().expect("where there is no file, there is no mistake");
        Self::made_of(files, Arc::new(trust), server_name, false)
    }

    /// As it is, but by these files. They are read again whenever they have changed.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn with_files(self, files: TlsFiles) -> Result<Self, TlsMistakes> {
        let trust = Arc::new(files.read()?);
        Ok(Self::made_of(files, trust, self.server_name, self.is_named))
    }

    fn made_of(files: TlsFiles, trust: Arc<Trust>, server_name: String, is_named: bool) -> Self {
        let shared = Shared { files, trust: Mutex::new(trust), shown: Arc::default() };
        Self { server_name, is_named, shared: Arc::new(shared) }
    }

    /// As it is, but for a server whose certificate must be for `name`, whatever its address.
    ///
    /// # Errors
    /// Where that is not a name or address that a certificate can be for.
    pub fn named(self, name: &str) -> Result<Self, String> {
        checked(name)?;
        Ok(Self { server_name: name.to_owned(), is_named: true, ..self })
    }

    /// As it is, but at another host: where a target's server is found to be now. A name that was given stays.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Self {
        let mut tls = self.clone();
        if !tls.is_named {
            host.clone_into(&mut tls.server_name);
        }
        tls
    }

    /// As it is, for another target: what the servers of the two show is told apart.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::made_of(self.files().clone(), self.trust(), self.server_name.clone(), self.is_named)
    }

    /// The files that it was made of.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.shared.files
    }

    /// When the certificates expire.
    #[must_use]
    pub fn expiry(&self) -> TlsExpiry {
        TlsExpiry { server: self.shared.shown.get(), client: self.trust().expires }
    }

    fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.shared.trust.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is in the files now.
    fn refreshed(&self) -> Result<Arc<Trust>, TlsMistakes> {
        let trust = self.trust();
        if !self.shared.files.differ_from(&trust) {
            return Ok(trust);
        }
        let trust = Arc::new(self.shared.files.read()?);
        tracing::info!(files = ?self.shared.files, "the files of TLS have changed and were read again");
        *self.shared.trust.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&trust);
        Ok(trust)
    }

    async fn refresh(&self) -> Result<Arc<Trust>, Failure> {
        if let Ok(trust) = self.refreshed() {
            return Ok(trust);
        }
        tokio::time::sleep(HALF_REPLACED).await;
        self.refreshed().map_err(|mistakes| {
            let ours = mistakes.iter().any(|(key, _)| *key != "ca_file");
            let reason = if ours { Reason::TlsClientCertificate } else { Reason::TlsUntrusted };
            let mistakes: Vec<String> =
                mistakes.into_iter().map(|(key, message)| format!("{key}: {message}")).collect();
            Failure::new(
                reason,
                format!("the files of TLS have changed and cannot be used: {}", mistakes.join("; ")),
            )
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server_name, shared, .. } = self;
        f.debug_struct("Tls").field("server_name", server_name).field("files", &shared.files).finish()
    }
}

fn checked(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("{name:?} is not a name or IP address that a certificate can be for"))
}

/// What a handshake has learnt that matters once it is over.
#[derive(Debug, Clone)]
pub(super) struct Handshake {
    tls: Tls,
    asked_for_ours: bool,
}

/// The handshake.
///
/// # Errors
/// With one of the `tls_` reasons.
pub(super) async fn handshake(
    tls: &Tls,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Handshake), Failure> {
    let name = checked(&tls.server_name).map_err(|message| Failure::new(Reason::TlsName, message))?;
    let trust = tls.refresh().await?;
    let witness = Witness { judge: Arc::clone(&trust.verifier), shown: Arc::clone(&tls.shared.shown) };
    let identity = Arc::new(Identity { certificate: trust.identity.clone(), asked: AtomicBool::new(false) });
    let mut config = COMMON.clone();
    config.dangerous().set_certificate_verifier(Arc::new(witness));
    config.client_auth_cert_resolver = Arc::<Identity>::clone(&identity);
    let result = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let seen = Handshake { tls: tls.clone(), asked_for_ours: identity.was_asked_for() };
    match result {
        Ok(stream) => Ok((stream, seen)),
        Err(error) => Err(seen.failed(&error)),
    }
}

impl Handshake {
    fn failed(&self, error: &io::Error) -> Failure {
        let reason = match tls_reason(error) {
            // How TLS 1.2 says that a certificate is required.
            Some(Reason::TlsProtocol) if self.asked_for_ours && is_handshake_failure(error) => {
                Reason::TlsClientCertificate
            }
            reason => reason.unwrap_or(Reason::TlsProtocol),
        };
        let message = match reason {
            Reason::TlsClientCertificate => self.about_ours(&error.to_string()),
            _ => self.about_its(reason, error),
        };
        Failure::new(reason, message)
    }

    /// What a failure of the first words over it really was: with TLS 1.3 a server says only then that it wants another
    /// client certificate.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        match failure.reason {
            Reason::TlsClientCertificate => Failure::new(failure.reason, self.about_ours(&failure.message)),
            Reason::Reset if self.asked_for_ours && self.tls.files().cert_file.is_none() => {
                Failure::new(Reason::TlsClientCertificate, self.about_ours(&failure.message))
            }
            _ => failure,
        }
    }

    fn about_ours(&self, detail: &str) -> String {
        match &self.tls.files().cert_file {
            None => format!(
                "the server wants a client certificate, and there is none to show ({detail}); set cert_file and key_file"
            ),
            Some(file) => {
                let file = file.display();
                let end = self.tls.expiry().client.map(date).unwrap_or_default();
                format!(
                    "the server does not accept the client certificate {file} ({detail}; it is good until {end}); have one \
                     issued that is valid now, for client use, by an authority that the server trusts (its tls-ca-cert-file)"
                )
            }
        }
    }

    fn about_its(&self, reason: Reason, error: &io::Error) -> String {
        let name = &self.tls.server_name;
        let certificate = error.get_ref().and_then(|error| match error.downcast_ref()? {
            Error::InvalidCertificate(error) => Some(error),
            _ => None,
        });
        match (certificate, reason) {
            (Some(CertificateError::ExpiredContext { not_after, .. }), _) => {
                let end = unix(*not_after);
                format!("the server's certificate expired on {}; renew it, or one of its issuers'", date(end))
            }
            (Some(CertificateError::NotValidYetContext { not_before, .. }), _) => {
                let begin = date(unix(*not_before));
                format!("the server's certificate is not valid before {begin}; are the clocks right?")
            }
            (Some(CertificateError::NotValidForNameContext { presented, .. }), _) => {
                // Each comes as `DnsName("…")` or `IpAddress(…)`.
                let bare = |name: &String| {
                    name.split_once('(').map_or(&**name, |(_, rest)| rest.trim_end_matches(')')).to_owned()
                };
                let names = presented.iter().map(bare).collect::<Vec<_>>().join(", ");
                format!(
                    "the server's certificate is for {names} and not for {name:?}; connect by a name that it is for, or \
                     set server_name to one"
                )
            }
            (Some(error), Reason::TlsUntrusted) => match &self.tls.files().ca_file {
                Some(file) => format!(
                    "no authority in {} has issued the server's certificate ({error}); is it the right ca_file?",
                    file.display()
                ),
                None => format!(
                    "none of the web's authorities has issued the server's certificate ({error}); set ca_file to the \
                     certificate of the one that has"
                ),
            },
            _ => format!("TLS handshake with {name:?}: {error}"),
        }
    }
}

fn is_handshake_failure(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(Error::AlertReceived(AlertDescription::HandshakeFailure)))
}

fn unix(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// "Mon, 01 Jan 2001 00:00:00 +0000".
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let seconds = seconds.and_then(|since| i64::try_from(since.as_nanos() / 1_000_000_000).ok());
    let date = seconds.and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    date.and_then(|date| date.to_rfc2822().ok()).unwrap_or_else(|| "an unknown date".into())
}
