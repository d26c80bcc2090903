//! `redprobe healthcheck`: asks a running daemon, for container runtimes that know no HTTP.
//!
//! Its configuration says where the daemon listens, and its web configuration whether with TLS. The daemon is known by
//! being the one with the certificate of that file, so that no name has to fit and no authority has to be at hand.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Exit, HealthcheckArgs};
use crate::config::{
    Http, Mistakes, Overrides,
    web::{self, Tls, WebConfig},
};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Enough for the status line.
const READ_AT_MOST: u64 = 1_024;

pub(super) async fn run(args: &HealthcheckArgs) -> anyhow::Result<Exit> {
    let overrides = Overrides {
        listen: args.listen.clone(),
        web_config_file: args.web_config_file.clone(),
        ..Overrides::default()
    };
    let http = Http::load(args.config.config.as_deref(), &overrides).map_err(Mistakes)?;
    let web = match &http.web_config_file {
        Some(path) => WebConfig::load(path).outcome.map_err(Mistakes)?,
        None => WebConfig::default(),
    };
    let address = reachable(http.listen);
    let login = login(args, &http)?;
    let tls = web.tls.as_ref().map(|tls| connector(args, tls)).transpose()?;
    let status = tokio::time::timeout(TIMEOUT, ask(address, tls, &login))
        .await
        .with_context(|| format!("{address} did not answer within {} s", TIMEOUT.as_secs_f64()))?
        .with_context(|| format!("{address} does not answer"))?;
    match status {
        200 => super::print("healthy\n")?,
        401 => bail!(
            "{address} asks for a login: give --user and --password-file of a user in basic_auth_users, or set \
             http.api_token_file"
        ),
        status => bail!("{address} answered with status {status}"),
    }
    Ok(Exit::Ok)
}

/// Where a daemon that listens on every address can be reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        let loopback =
            if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}

/// The header that opens the door: the user's that was given, else the token that the configuration has.
fn login(args: &HealthcheckArgs, http: &Http) -> anyhow::Result<String> {
    if let (Some(user), Some(file)) = (&args.user, &args.password_file) {
        let password = read(file)?;
        let password = password.strip_suffix(b"\n").unwrap_or(&password);
        let password = password.strip_suffix(b"\r").unwrap_or(password);
        let both = BASE64_STANDARD.encode([user.as_bytes(), b":", password].concat());
        return Ok(format!("Authorization: Basic {both}\r\n"));
    }
    let token = http.api_token.as_ref().map(ExposeSecret::expose_secret);
    Ok(token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n")))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// TLS with the daemon of this certificate, and with a certificate of one's own where one was given.
fn connector(args: &HealthcheckArgs, tls: &Tls) -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(web::provider());
    let known = Known { certificate: tls.certificate.clone(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(known));
    let config = match (&args.cert_file, &args.key_file) {
        (Some(certificate), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
            let chain = chain.ok().filter(|chain| !chain.is_empty());
            let chain = chain.with_context(|| holds_none(certificate, "certificate"))?;
            let own = PrivateKeyDer::from_pem_slice(&read(key)?).ok();
            let own = own.with_context(|| holds_none(key, "private key"))?;
            builder.with_client_auth_cert(chain, own).context("--cert-file and --key-file cannot be used")?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn holds_none(path: &Path, thing: &str) -> String {
    format!("{} holds no {thing} in PEM", path.display())
}

/// The status of `GET /-/healthy`.
async fn ask(address: SocketAddr, tls: Option<TlsConnector>, login: &str) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(address).await?;
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: {address}\r\n{login}Connection: close\r\n\r\n");
    match tls {
        None => exchange(stream, &request).await,
        Some(connector) => {
            const HINT: &str = "the TLS handshake failed; where client_auth_type is RequireAndVerifyClientCert, give \
                --cert-file and --key-file";
            let name = ServerName::IpAddress(address.ip().into());
            let stream = connector.connect(name, stream).await.context(HINT)?;
            // With TLS 1.3 the client hears only now that its certificate will not do.
            exchange(stream, &request).await.context(HINT)
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> anyhow::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(READ_AT_MOST).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    status.and_then(|status| status.trim().parse().ok()).context("that is no HTTP answer")
}

/// Takes the server for the daemon where it has the daemon's certificate, and its key.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
