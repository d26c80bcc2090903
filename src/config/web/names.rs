//! Go's names of TLS versions, cipher suites and curves, and what of it rustls with ring can do.
//!
//! What it cannot do is known by name, so that a file made for Go is read; what no Go knows is a mistake.

use rustls::{
    CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, crypto::SupportedKxGroup,
    version,
};

/// Names in the order of age.
pub(super) const VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];

/// Suites that Go has, or had, and that rustls leaves out for being weak: CBC, and RSA without forward secrecy.
const WEAK_SUITES: [&str; 8] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// Go's name of each suite that rustls has.
const SUITES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Go's name of each curve, with what rustls calls it.
const CURVES: [(&str, NamedGroup); 4] = [
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
    ("CurveP521", NamedGroup::secp521r1),
    ("X25519", NamedGroup::X25519),
];

/// HTTP/2 asks for one of these where TLS 1.2 is spoken (RFC 9113, 9.2.2).
pub(super) const HTTP2_NEEDS: [CipherSuite; 2] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
];

/// A name that Go knows.
pub(super) enum Known<T> {
    /// rustls can do it.
    Can(T),
    /// It cannot.
    Cannot,
}

/// The suite of this name.
pub(super) fn suite(name: &str) -> Option<Known<SupportedCipherSuite>> {
    if WEAK_SUITES.contains(&name) {
        return Some(Known::Cannot);
    }
    let (_, wanted) = SUITES.iter().find(|(known, _)| *known == name)?;
    let found = rustls::crypto::ring::ALL_CIPHER_SUITES.iter().find(|suite| suite.suite() == *wanted);
    Some(found.map_or(Known::Cannot, |suite| Known::Can(*suite)))
}

/// All names of suites, for a message.
pub(super) fn suites() -> Vec<&'static str> {
    SUITES.iter().map(|(name, _)| *name).collect()
}

/// The curve of this name.
pub(super) fn curve(name: &str) -> Option<Known<&'static dyn SupportedKxGroup>> {
    let (_, wanted) = CURVES.iter().find(|(known, _)| *known == name)?;
    let found = rustls::crypto::ring::ALL_KX_GROUPS.iter().find(|group| group.name() == *wanted);
    Some(found.map_or(Known::Cannot, |group| Known::Can(*group)))
}

/// All names of curves, for a message.
pub(super) fn curves() -> Vec<&'static str> {
    CURVES.iter().map(|(name, _)| *name).collect()
}

/// The versions from `min` to `max`, which are places in [`VERSIONS`], that rustls speaks.
pub(super) fn versions(min: usize, max: usize) -> Vec<&'static SupportedProtocolVersion> {
    let spoken = [(2, &version::TLS12), (3, &version::TLS13)];
    spoken.into_iter().filter(|(place, _)| (min..=max).contains(place)).map(|(_, version)| version).collect()
}
