//! TLS towards a real server, and each reason for which it fails.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use measure::{
    Failure, Reason,
    conn::{self, Endpoint, TlsFiles},
    redis,
};
use testkit::{Certificate, Issuer, RedisServer};

use crate::support::endpoint;

/// The server's TLS endpoint, trusting the authority of `certificate`.
fn trusting(server: &RedisServer, certificate: &Certificate) -> Endpoint {
    let files = TlsFiles { ca_file: Some(certificate.authority()), ..TlsFiles::default() };
    with_files(endpoint(&server.tls_url()), files)
}

/// As [`trusting`], showing `client` when asked.
fn showing(server: &RedisServer, certificate: &Certificate, client: &Certificate) -> Endpoint {
    let files = TlsFiles {
        ca_file: Some(certificate.authority()),
        cert_file: Some(client.certificate()),
        key_file: Some(client.key()),
    };
    with_files(endpoint(&server.tls_url()), files)
}

fn with_files(mut endpoint: Endpoint, files: TlsFiles) -> Endpoint {
    endpoint.tls = endpoint.tls.map(|tls| tls.with_files(files).unwrap());
    endpoint
}

async fn failure(endpoint: &Endpoint) -> Failure {
    conn::connect(endpoint, "redprobe-test").await.map(|_| ()).expect_err("the connection fails")
}

async fn reason(endpoint: &Endpoint) -> Reason {
    failure(endpoint).await.reason
}

/// Fails with this reason, and says these words.
#[track_caller]
fn says(failure: &Failure, reason: Reason, words: &[&str]) {
    assert_eq!(failure.reason, reason, "{failure}");
    assert!(words.iter().all(|word| failure.message.contains(word)), "{words:?}: {failure}");
}

/// A server that wants a certificate of each client.
fn mutual(certificate: &Certificate, protocol: &str) -> RedisServer {
    RedisServer::with_tls(certificate, &["--tls-auth-clients", "yes", "--tls-protocols", protocol])
}

/// The first second of a year.
fn year(year: u64) -> Option<SystemTime> {
    let days = (1970..year).map(|year| if year % 4 == 0 { 366 } else { 365 }).sum::<u64>();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400))
}

const PROTOCOLS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

#[tokio::test]
async fn connects_with_a_trusted_certificate() {
    let certificate = Certificate::valid(&["localhost", "127.0.0.1"]);
    let server = RedisServer::with_tls(&certificate, &["--requirepass", "x"]);
    let mut endpoint = trusting(&server, &certificate);
    endpoint.password = Some("x".into());
    let (mut connection, times) = conn::connect(&endpoint, "redprobe-test").await.unwrap();
    assert!(times.tls > Duration::ZERO);
    let value = "v".repeat(1_000_000);
    redis::cmd("SET").arg("a").arg(&value).query_async::<()>(&mut connection).await.unwrap();
    let read: String = redis::cmd("GET").arg("a").query_async(&mut connection).await.unwrap();
    assert!(read == value);
    drop(connection);
    let gone = testkit::poll_until_async(Duration::from_secs(5), async || {
        server.clients("redprobe-test").is_empty()
    });
    assert!(gone.await);
}

#[tokio::test]
async fn distrusts_an_unknown_authority() {
    let certificate = Certificate::valid(&["localhost"]);
    let server = RedisServer::with_tls(&certificate, &[]);
    let of_the_web = failure(&endpoint(&server.tls_url())).await;
    says(&of_the_web, Reason::TlsUntrusted, &["web's authorities", "set ca_file"]);
    let of_another = failure(&trusting(&server, &Certificate::valid(&["localhost"]))).await;
    says(&of_another, Reason::TlsUntrusted, &["ca.pem", "right ca_file?"]);
}

#[tokio::test]
async fn refuses_a_certificate_past_its_time_or_for_another_name() {
    for protocol in PROTOCOLS {
        let expired = Certificate::expired(&["localhost"]);
        let server = RedisServer::with_tls(&expired, &["--tls-protocols", protocol]);
        let endpoint = trusting(&server, &expired);
        let known = endpoint.tls.clone().unwrap();
        assert_eq!(known.expiry().server, None);
        says(&failure(&endpoint).await, Reason::TlsExpired, &["expired on Mon, 01 Jan 2001", "renew"]);
        assert_eq!(known.expiry().server, year(2001), "seen although it was refused");
        let elsewhere = Certificate::valid(&["example.org"]);
        let server = RedisServer::with_tls(&elsewhere, &["--tls-protocols", protocol]);
        let endpoint = trusting(&server, &elsewhere);
        says(&failure(&endpoint).await, Reason::TlsName, &["example.org", "\"localhost\"", "server_name"]);
    }
}

#[tokio::test]
async fn a_server_may_have_another_name_than_its_address() {
    let certificate = Certificate::valid(&["redis.example.org"]);
    let server = RedisServer::with_tls(&certificate, &[]);
    let mut endpoint = trusting(&server, &certificate);
    endpoint.address = conn::Address::Tcp("127.0.0.1".into(), server.tls_port());
    let tls = endpoint.tls.clone().unwrap();
    assert!(tls.clone().named("a b").unwrap_err().contains("\"a b\""));
    endpoint.tls = Some(tls.clone().named("redis.example.org").unwrap());
    conn::connect(&endpoint, "redprobe-test").await.unwrap();
    // A node that was discovered: by its own name, unless one was given for all.
    endpoint.tls = Some(tls.named("redis.example.org").unwrap().for_host("10.0.0.1"));
    conn::connect(&endpoint, "redprobe-test").await.unwrap();
    endpoint.tls = Some(trusting(&server, &certificate).tls.unwrap().for_host("10.0.0.1"));
    says(&failure(&endpoint).await, Reason::TlsName, &["10.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_one_or_says_what_is_wrong() {
    let authority = Issuer::default();
    let certificate = authority.until(2040, &["localhost"]);
    for protocol in PROTOCOLS {
        let server = mutual(&certificate, protocol);
        let missing = failure(&trusting(&server, &certificate)).await;
        says(&missing, Reason::TlsClientCertificate, &["none to show", "set cert_file and key_file"]);
        for (client, alert) in [
            (Certificate::valid(&["prober"]), "UnknownCA"),
            // What OpenSSL says to a certificate of an authority's namesake, such as itself before it was renewed.
            (Issuer::default().valid(&["prober"]), "DecryptError"),
            (authority.expired(&["prober"]), "CertificateExpired"),
        ] {
            let refused = failure(&showing(&server, &certificate, &client)).await;
            let file = client.certificate().display().to_string();
            says(&refused, Reason::TlsClientCertificate, &["does not accept", &file, alert, "good until"]);
        }
        let client = authority.until(2050, &["prober"]);
        let endpoint = showing(&server, &certificate, &client);
        let (mut connection, _) = conn::connect(&endpoint, "redprobe-test").await.unwrap();
        redis::cmd("PING").query_async::<()>(&mut connection).await.unwrap();
        let expiry = endpoint.tls.unwrap().expiry();
        assert_eq!((expiry.server, expiry.client), (year(2040), year(2050)));
    }
}

/// With TLS 1.3 this comes after the handshake, and every client must see it alike.
#[tokio::test]
async fn every_way_in_has_the_reason() {
    let certificate = Certificate::valid(&["localhost"]);
    for protocol in PROTOCOLS {
        let server = mutual(&certificate, protocol);
        let endpoint = trusting(&server, &certificate);
        for _ in 0..20 {
            let failure = conn::open(&endpoint, "redprobe-test").await.expect_err("it is refused");
            assert_eq!(failure.reason, Reason::TlsClientCertificate, "{failure}");
        }
        let config = measure::pool::PoolConfig {
            name: "general".into(),
            size: 1,
            wait: Duration::from_secs(2),
            operation: Duration::from_secs(2),
            block: Duration::ZERO,
        };
        let pool = measure::pool::Pool::new(config, &endpoint, "redprobe-test");
        assert_eq!(pool.acquire().await.0.unwrap_err().reason, Reason::TlsClientCertificate);
    }
}

#[tokio::test]
async fn files_that_are_replaced_are_read_again() {
    let authority = Issuer::default();
    let certificate = authority.valid(&["localhost"]);
    let server = mutual(&certificate, "TLSv1.3");
    let client = Certificate::valid(&["prober"]);
    let endpoint = showing(&server, &certificate, &client);
    assert_eq!(reason(&endpoint).await, Reason::TlsClientCertificate);
    client.replace_with(&authority.until(2050, &["prober"]));
    conn::connect(&endpoint, "redprobe-test").await.unwrap();
    assert_eq!(endpoint.tls.as_ref().unwrap().expiry().client, year(2050));

    let key = fs::read(client.key()).unwrap();
    fs::write(client.key(), "no key").unwrap();
    let bad = failure(&endpoint).await;
    says(
        &bad,
        Reason::TlsClientCertificate,
        &["have changed and cannot be used: key_file: ", "no private key"],
    );
    fs::write(client.key(), key).unwrap();
    conn::connect(&endpoint, "redprobe-test").await.unwrap();
    fs::remove_file(certificate.authority()).unwrap();
    says(&failure(&endpoint).await, Reason::TlsUntrusted, &["ca_file: cannot read certificates from"]);
}

/// Certificate and key cannot be replaced in one step by everybody.
#[tokio::test]
async fn files_that_are_being_replaced_are_waited_for() {
    let authority = Issuer::default();
    let certificate = authority.valid(&["localhost"]);
    let server = mutual(&certificate, "TLSv1.3");
    let (client, next) = (authority.valid(&["prober"]), authority.valid(&["prober"]));
    let endpoint = showing(&server, &certificate, &client);
    fs::copy(next.certificate(), client.certificate()).unwrap();
    let replace_the_key = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        fs::copy(next.key(), client.key()).unwrap();
    };
    let (connected, ()) = tokio::join!(conn::connect(&endpoint, "redprobe-test"), replace_the_key);
    connected.unwrap();
}

#[tokio::test]
async fn other_failures_of_the_handshake() {
    let certificate = Certificate::valid(&["localhost"]);
    let server = RedisServer::with_tls(&certificate, &[]);
    let mut plain = trusting(&server, &certificate);
    plain.tls = None;
    assert!([Reason::Reset, Reason::Protocol].contains(&reason(&plain).await));

    let mut to_plain = trusting(&server, &certificate);
    to_plain.connect_timeout = Duration::from_millis(500);
    to_plain.address = endpoint(&server.url()).address;
    assert!([Reason::TlsProtocol, Reason::ConnectTimeout].contains(&reason(&to_plain).await));

    let arguments = ["--tls-protocols", "TLSv1.2", "--tls-ciphers", "AES128-SHA"];
    let none_in_common = RedisServer::with_tls(&certificate, &arguments);
    assert_eq!(reason(&trusting(&none_in_common, &certificate)).await, Reason::TlsProtocol);
}

#[tokio::test]
async fn a_stopped_server_does_not_finish_the_handshake() {
    let certificate = Certificate::valid(&["localhost"]);
    let server = RedisServer::with_tls(&certificate, &[]);
    let mut endpoint = trusting(&server, &certificate);
    endpoint.connect_timeout = Duration::from_millis(300);
    server.pause();
    assert_eq!(reason(&endpoint).await, Reason::ConnectTimeout);
}

#[test]
fn says_all_that_is_wrong_with_the_files() {
    let (certificate, other) = (Certificate::valid(&["localhost"]), Certificate::valid(&["localhost"]));
    let missing = certificate.authority().with_file_name("missing.pem");
    let encrypted = certificate.key().with_file_name("encrypted.pem");
    fs::write(
        &encrypted,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let wrong = |ca, cert, key| {
        let files = TlsFiles { ca_file: ca, cert_file: cert, key_file: key };
        let tls = Endpoint::parse("rediss://localhost").unwrap().tls.unwrap();
        tls.with_files(files).expect_err("it is wrong")
    };
    let (cert, key) = (certificate.certificate(), certificate.key());
    for (mistakes, told) in [
        (
            wrong(Some(missing.clone()), Some(key.clone()), Some(cert.clone())),
            &[("ca_file", "missing.pem"), ("cert_file", "no certificate"), ("key_file", "no private key")][..],
        ),
        (wrong(None, Some(cert.clone()), None), &[("cert_file", "has no key; set key_file")]),
        (wrong(None, None, Some(key)), &[("key_file", "has no certificate; set cert_file")]),
        (wrong(None, Some(cert.clone()), Some(other.key())), &[("key_file", "is not the key of the first")]),
        (wrong(None, Some(cert.clone()), Some(encrypted)), &[("key_file", "is encrypted")]),
        (wrong(None, Some(cert), Some(missing)), &[("key_file", "cannot read a key from")]),
    ] {
        assert_eq!(mistakes.len(), told.len(), "{mistakes:?}");
        for ((key, message), (wanted, words)) in mistakes.iter().zip(told) {
            assert!(key == wanted && message.contains(words), "{key}: {message}");
        }
    }
}
