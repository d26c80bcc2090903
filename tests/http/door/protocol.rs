//! Versions, suites, curves and protocols, as clients that can do only some of them see it.

use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion,
    version::{TLS12, TLS13},
};

use super::server::{Client, Server, TLS};

/// What was agreed on, or nothing.
async fn agreed(client: &Client) -> Option<(ProtocolVersion, CipherSuite)> {
    let stream = client.connect().await.ok()?;
    let (_, session) = stream.get_ref();
    Some((session.protocol_version()?, session.negotiated_cipher_suite()?.suite()))
}

#[tokio::test]
async fn versions_are_spoken_from_least_to_most() {
    for (versions, spoken) in [
        ("", [true, true]),
        ("  min_version: TLS10\n  max_version: TLS13\n", [true, true]),
        ("  min_version: TLS13\n", [false, true]),
        ("  max_version: TLS12\n", [true, false]),
    ] {
        let server = Server::start(&format!("{TLS}{versions}")).await;
        for (version, expected) in [&TLS12, &TLS13].into_iter().zip(spoken) {
            let mut client = server.client();
            client.versions = vec![version];
            assert_eq!(agreed(&client).await.is_some(), expected, "{versions:?}, {version:?}");
        }
        server.end().await;
    }
}

#[tokio::test]
async fn suites_are_those_listed_in_their_order() {
    const WEAK: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    const STRONG: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    const CHACHA: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let list = format!("{TLS}  cipher_suites: [{WEAK:?}, {STRONG:?}]\n");
    for (own_order, offered, chosen) in [
        (true, vec![STRONG, WEAK], Some(WEAK)),
        (false, vec![STRONG, WEAK], Some(STRONG)),
        (false, vec![WEAK, STRONG], Some(WEAK)),
        (true, vec![STRONG], Some(STRONG)),
        (true, vec![CHACHA], None),
    ] {
        let server = Server::start(&format!("{list}  prefer_server_cipher_suites: {own_order}\n")).await;
        let mut client = server.client();
        client.versions = vec![&TLS12];
        let all = client.provider.cipher_suites.clone();
        let find =
            |wanted: &CipherSuite| *all.iter().find(|suite| suite.suite() == *wanted).expect("rustls has it");
        client.provider.cipher_suites = offered.iter().map(find).collect();
        assert_eq!(agreed(&client).await.map(|(_, suite)| suite), chosen, "{own_order} {offered:?}");
        // The list is for TLS 1.2 alone, as in Go.
        assert!(
            agreed(&server.client()).await.is_some_and(|(version, _)| version == ProtocolVersion::TLSv1_3)
        );
        server.end().await;
    }
}

#[tokio::test]
async fn curves_are_those_listed() {
    let server = Server::start(&format!("{TLS}  curve_preferences: [CurveP521, CurveP384, X25519]\n")).await;
    for (group, spoken) in
        [(NamedGroup::secp384r1, true), (NamedGroup::X25519, true), (NamedGroup::secp256r1, false)]
    {
        for version in rustls::ALL_VERSIONS {
            let mut client = server.client();
            client.versions = vec![version];
            client.provider.kx_groups.retain(|known| known.name() == group);
            assert_eq!(agreed(&client).await.is_some(), spoken, "{group:?}");
        }
    }
    server.end().await;
}

#[tokio::test]
async fn http2_is_spoken_where_both_like_it() {
    for (http2, offered, chosen) in [
        ("", vec!["h2", "http/1.1"], Some("h2")),
        ("", vec!["http/1.1"], Some("http/1.1")),
        ("", vec![], None),
        ("http_server_config:\n  http2: false\n", vec!["h2", "http/1.1"], Some("http/1.1")),
    ] {
        let server = Server::start(&format!("{TLS}{http2}")).await;
        let mut client = server.client();
        client.alpn.clone_from(&offered);
        let stream = client.connect().await.expect("both can do TLS");
        let spoken =
            stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(spoken.as_deref(), chosen, "{http2:?} {offered:?}");
        server.end().await;
    }
}

#[tokio::test]
async fn whoever_speaks_http_to_tls_is_told_so() {
    let server = Server::start(TLS).await;
    let answer = super::super::get(server.address, "/metrics").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, "this address speaks https:// only\n"));
    server.end().await;
}
