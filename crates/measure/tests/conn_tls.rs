//! TLS towards a real server, and each reason for which it fails.

use std::time::Duration;

use measure::{
    Reason,
    conn::{self, Endpoint, Tls},
    redis,
};
use testkit::{Certificate, RedisServer};

use crate::support::endpoint;

/// The server's TLS endpoint, trusting the authority of `certificate`.
fn trusting(server: &RedisServer, certificate: &Certificate) -> Endpoint {
    let mut endpoint = endpoint(&server.tls_url());
    endpoint.tls = Some(Tls::with_ca_file("localhost".into(), &certificate.authority()).unwrap());
    endpoint
}

async fn reason(endpoint: &Endpoint) -> Reason {
    conn::connect(endpoint, "redprobe-test").await.expect_err("the connection fails").reason
}

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
    assert_eq!(reason(&endpoint(&server.tls_url())).await, Reason::TlsUntrusted);
    assert_eq!(reason(&trusting(&server, &Certificate::valid(&["localhost"]))).await, Reason::TlsUntrusted);
}

#[tokio::test]
async fn refuses_a_certificate_past_its_time_or_for_another_name() {
    let expired = Certificate::expired(&["localhost"]);
    let server = RedisServer::with_tls(&expired, &[]);
    assert_eq!(reason(&trusting(&server, &expired)).await, Reason::TlsExpired);
    let elsewhere = Certificate::valid(&["example.org"]);
    let server = RedisServer::with_tls(&elsewhere, &[]);
    assert_eq!(reason(&trusting(&server, &elsewhere)).await, Reason::TlsName);
}

#[tokio::test]
async fn other_failures_of_the_handshake() {
    let certificate = Certificate::valid(&["localhost"]);
    // With TLS 1.3 the server says only after the handshake that it wanted a certificate of the client.
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let arguments = ["--tls-auth-clients", "yes", "--tls-protocols", protocols];
        let server = RedisServer::with_tls(&certificate, &arguments);
        assert_eq!(reason(&trusting(&server, &certificate)).await, Reason::TlsProtocol, "{protocols}");
    }

    let server = RedisServer::with_tls(&certificate, &[]);
    let mut plain = trusting(&server, &certificate);
    plain.tls = None;
    assert!([Reason::Reset, Reason::Protocol].contains(&reason(&plain).await));

    let mut to_plain = trusting(&server, &certificate);
    to_plain.connect_timeout = Duration::from_millis(500);
    to_plain.address = endpoint(&server.url()).address;
    assert!([Reason::TlsProtocol, Reason::ConnectTimeout].contains(&reason(&to_plain).await));
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
fn says_what_is_wrong_with_a_file_of_authorities() {
    let certificate = Certificate::valid(&["localhost"]);
    let missing = certificate.authority().with_file_name("missing.pem");
    for path in [&missing, &certificate.key()] {
        let message = Tls::with_ca_file("localhost".into(), path).unwrap_err();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
}
