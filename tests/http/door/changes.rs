//! The file and its certificates change while the server runs.

use std::fs;

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    super::get,
    server::{Client, Server, TLS, again},
};

/// The certificate that a client gets to see.
async fn seen(client: &Client) -> CertificateDer<'static> {
    let stream = client.connect().await.expect("the server is known");
    stream.get_ref().1.peer_certificates().expect("it shows one")[0].clone()
}

fn renew(server: &Server) {
    let next = server.authority.server(&["localhost"]);
    // Not in one step: for a moment the key is not the certificate's.
    server.write("cert.pem", &next.certificate);
    server.write("key.pem", &next.key);
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_connection_on() {
    let server = Server::start(TLS).await;
    let client = server.client();
    let first = seen(&client).await;
    let mut open = client.connect().await.expect("it is let in");
    for _ in 0..3 {
        let before = seen(&client).await;
        renew(&server);
        assert!(seen(&client).await != before, "it shows the old one");
    }
    assert_eq!(again(&mut open).await, Some(200), "who is in stays in");
    assert!(seen(&client).await != first);
    server.end().await;
}

#[tokio::test]
async fn half_a_renewal_lets_nobody_in_until_it_is_whole() {
    let server = Server::start(TLS).await;
    let client = server.client();
    let mut open = client.connect().await.expect("it is let in");
    let next = server.authority.server(&["localhost"]);
    server.write("cert.pem", &next.certificate);
    assert!(client.connect().await.is_err(), "the key is another's");
    assert_eq!(again(&mut open).await, Some(500));
    server.write("key.pem", &next.key);
    assert!(client.comes_in().await);
    assert_eq!(again(&mut open).await, Some(200));
    server.end().await;
}

#[tokio::test]
async fn a_bad_file_lets_nobody_in_until_it_is_good() {
    let server = Server::start(TLS).await;
    let client = server.client();
    let mut open = client.connect().await.expect("it is let in");
    for bad in [
        "",
        "junk",
        "tls_server_config:\n  cert_file: cert.pem\n",
        "rate_limit:\n  interval: 1s\n  burst: 9\n",
    ] {
        server.write("web.yml", bad);
        assert!(client.connect().await.is_err(), "{bad:?}");
        assert_eq!(again(&mut open).await, Some(500), "{bad:?}");
        let plain = super::super::exchange(server.address, "GET /metrics HTTP/1.0\r\n\r\n").await;
        assert!(!plain.contains("200 OK"), "{bad:?}: {plain}");
    }
    fs::remove_file(server.file("web.yml")).expect("it is there");
    assert!(client.connect().await.is_err());
    server.write("web.yml", TLS);
    assert!(client.comes_in().await);
    server.end().await;
}

#[tokio::test]
async fn tls_can_be_added_and_not_taken_away() {
    let server = Server::start("").await;
    let client = server.client();
    assert_eq!(get(server.address, "/metrics").await.status, 200);
    let mut open = TcpStream::connect(server.address).await.expect("it listens");
    open.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is taken");
    let mut head = [0; 12];
    open.read_exact(&mut head).await.expect("it is answered");
    assert_eq!(&head, b"HTTP/1.1 200");
    server.write("web.yml", TLS);
    let text = super::super::exchange(server.address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(!text.contains("redprobe_build_info"), "{text}");
    assert!(client.comes_in().await);
    open.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok();
    let mut left = String::new();
    open.read_to_string(&mut left).await.ok();
    assert!(!left.contains("redprobe_build_info"), "it came without TLS: {left}");
    server.write("web.yml", "");
    assert!(client.connect().await.is_err());
    assert!(
        !super::super::exchange(server.address, "GET /metrics HTTP/1.0\r\n\r\n").await.contains("200 OK")
    );
    server.end().await;
}
