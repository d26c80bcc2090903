//! A server behind a door, in this process, and clients that speak TLS to it.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, routing::get as on_get};
use redprobe::{
    config::{Http, web},
    http::{
        door::Door,
        listen::{self, Around},
    },
    sink::Sinks,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use testkit::{Authority, Identity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::super::{Answer, PATIENCE, request_text};

/// The certificate and key that every bench has.
pub(super) const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

/// Longer than any test.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// The bench: a server with files of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) directory: TempDir,
    /// Vouches for the server.
    pub(super) authority: Authority,
    /// Vouches for clients, in `ca.pem`.
    pub(super) clients: Authority,
    pub(super) sinks: Arc<Sinks>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

/// Connections at a time, and time-outs of reading and idling.
pub(super) type Bounds = (usize, Duration, Duration);

impl Server {
    pub(super) async fn start(web: &str) -> Self {
        Self::start_within(web, (64, LONG, LONG)).await
    }

    pub(super) async fn start_within(
        web: &str,
        (max_connections, read_timeout, idle_timeout): Bounds,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let own = authority.server(&["localhost", "127.0.0.1"]);
        for (name, text) in [
            ("cert.pem", own.certificate.as_str()),
            ("key.pem", &own.key),
            ("ca.pem", &clients.certificate()),
            ("web.yml", web),
        ] {
            fs::write(directory.path().join(name), text).expect("it can be written");
        }
        let door = Door::of(Some(&directory.path().join("web.yml"))).expect("the file is good");
        let sinks = Arc::new(Sinks::new(10));
        let metrics = Arc::clone(&sinks);
        let app = Router::new()
            .route("/metrics", on_get(move || async move { metrics.metrics.render() }))
            .route("/large", on_get(|| async { vec![b'x'; 8 << 20] }))
            .route("/echo", axum::routing::post(|body: String| async { body }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let http = Http {
            listen: address,
            web_config_file: None,
            api_token: None,
            max_connections,
            read_timeout,
            idle_timeout,
        };
        let shows_token: redprobe::http::door::ShowsToken =
            Box::new(|headers| headers.get("authorization").is_some_and(|value| value == "Bearer right"));
        let around = Around { http, sinks: Arc::clone(&sinks), door, shows_token };
        let ended = tokio::spawn(listen::serve(listener, app, around, stop.clone()));
        Self { address, directory, authority, clients, sinks, stop, ended }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the web configuration; `web.yml` is that itself.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("it can be written");
    }

    /// A client that knows the server's authority and nothing else.
    pub(super) fn client(&self) -> Client {
        Client { address: self.address, roots: self.authority.certificate(), ..Client::default() }
    }

    /// A plain scrape, status only; `None` where the server says nothing.
    pub(super) fn figure(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.sinks.metrics.render()).expect("it is text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("the server counts its connections").parse().expect("whole")
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.ended).await.expect("the server ends in time").expect("the server ends");
    }
}

/// How a client speaks TLS.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) roots: String,
    pub(super) identity: Option<Identity>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) alpn: Vec<&'static str>,
    pub(super) provider: CryptoProvider,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            address: ([127, 0, 0, 1], 0).into(),
            roots: String::new(),
            identity: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            alpn: Vec::new(),
            provider: web::provider(),
        }
    }
}

impl Client {
    pub(super) fn with(self, identity: &Identity) -> Self {
        Self { identity: Some(identity.clone()), ..self }
    }

    /// A connection whose handshake is over. With TLS 1.3 the server may still refuse the client's certificate.
    pub(super) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.roots.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&self.versions)
            .expect("there is something to speak")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        timeout(PATIENCE, connecting).await.expect("the handshake ends")
    }

    /// `GET path` on a connection of its own.
    pub(super) async fn get(&self, path: &str) -> io::Result<Answer> {
        self.get_with(path, &[]).await
    }

    pub(super) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut stream = self.connect().await?;
        stream.write_all(request_text(self.address, "GET", path, headers, "").as_bytes()).await?;
        let mut text = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("the server closes")?;
        if text.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Answer::parse(&String::from_utf8_lossy(&text)))
    }

    /// Whether the server lets it in.
    pub(super) async fn comes_in(&self) -> bool {
        self.get("/metrics").await.is_ok_and(|answer| answer.status == 200)
    }
}

/// One request on a connection that stays open; `None` where the server closes it instead.
pub(super) async fn again(stream: &mut TlsStream<TcpStream>) -> Option<u16> {
    stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
    let mut text = Vec::new();
    let mut chunk = [0; 4 << 10];
    while !text.ends_with(b"\r\n\r\n") {
        let read =
            timeout(PATIENCE, stream.read(&mut chunk)).await.expect("the server answers or closes").ok()?;
        if read == 0 {
            return None;
        }
        text.extend_from_slice(&chunk[..read]);
    }
    Some(Answer::parse(&String::from_utf8_lossy(&text)).status)
}
