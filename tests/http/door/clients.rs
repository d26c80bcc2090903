//! Certificates of clients: each type of asking for them, against each kind of client; and the names in them.

use testkit::{Authority, Identity};

use super::server::{Server, TLS, again};

const CA: &str = "  client_ca_file: ca.pem\n";

#[tokio::test]
async fn each_type_lets_in_whom_it_says() {
    // Whether a client comes in: without a certificate, vouched for, expired, of another authority, self-signed.
    for (auth, ca, expected) in [
        ("NoClientCert", "", [true, true, true, true, true]),
        ("RequestClientCert", "", [true, true, true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true, true, true]),
        ("RequireClientCert", "", [false, true, true, true, true]),
        ("VerifyClientCertIfGiven", CA, [true, true, false, false, false]),
        ("VerifyClientCertIfGiven", "", [true, false, false, false, false]),
        ("RequireAndVerifyClientCert", CA, [false, true, false, false, false]),
    ] {
        let server = Server::start(&format!("{TLS}{ca}  client_auth_type: {auth}\n")).await;
        let strangers = Authority::new("strangers");
        let known = server.clients.client(&["prometheus"]);
        let shown = [
            None,
            Some(known),
            Some(server.clients.expired_client(&["prometheus"])),
            Some(strangers.client(&["prometheus"])),
            Some(Identity::self_signed(&["prometheus"])),
        ];
        for version in rustls::ALL_VERSIONS {
            let mut came = Vec::new();
            for identity in &shown {
                let mut client = server.client();
                client.versions = vec![version];
                client.identity.clone_from(identity);
                came.push(client.comes_in().await);
            }
            assert_eq!(came, expected, "{auth} with {version:?}");
        }
        server.end().await;
    }
}

#[tokio::test]
async fn a_certificate_needs_one_of_the_allowed_names() {
    let allowed = "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans:\n    - prometheus.example\n    \
        - 10.0.0.7\n    - 2001:db8::7\n    - ops@example.org\n    - spiffe://example/prometheus\n";
    let server = Server::start(&format!("{TLS}{CA}{allowed}")).await;
    let ca = &server.clients;
    for (identity, comes_in) in [
        (ca.client(&["prometheus.example"]), true),
        (ca.client(&["other.example", "prometheus.example"]), true),
        (ca.client(&["10.0.0.7"]), true),
        (ca.client(&["2001:db8:0::0007"]), true),
        (ca.client_named("ops@example.org", "spiffe://example/other"), true),
        (ca.client_named("other@example.org", "spiffe://example/prometheus"), true),
        (ca.client(&["other.example"]), false),
        (ca.client(&["sub.prometheus.example"]), false),
        (ca.client(&["10.0.0.8"]), false),
        (ca.client_named("other@example.org", "spiffe://example/other"), false),
        (ca.client(&[]), false),
        (Authority::new("strangers").client(&["prometheus.example"]), false),
    ] {
        assert_eq!(server.client().with(&identity).comes_in().await, comes_in, "{}", identity.certificate);
    }
    assert!(!server.client().comes_in().await, "none at all has no name");
    server.end().await;
    // Where a certificate is not asked of everybody, a name still is.
    let given = allowed.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven");
    let server = Server::start(&format!("{TLS}{CA}{given}")).await;
    assert!(!server.client().comes_in().await);
    assert!(server.client().with(&server.clients.client(&["prometheus.example"])).comes_in().await);
    server.end().await;
}

#[tokio::test]
async fn whom_a_new_authority_does_not_know_loses_his_connection() {
    let server = Server::start(&format!("{TLS}{CA}  client_auth_type: RequireAndVerifyClientCert\n")).await;
    let client = server.client().with(&server.clients.client(&["prometheus"]));
    let mut open = client.connect().await.expect("it is let in");
    assert_eq!(again(&mut open).await, Some(200));
    let next = Authority::new("next");
    server.write("ca.pem", &next.certificate());
    assert_eq!(again(&mut open).await, None, "it came by the old authority");
    assert!(!client.comes_in().await);
    assert!(server.client().with(&next.client(&["prometheus"])).comes_in().await);
    // Both, while one takes over from the other.
    server.write("ca.pem", &format!("{}{}", next.certificate(), server.clients.certificate()));
    assert!(client.comes_in().await);
    server.end().await;
}
