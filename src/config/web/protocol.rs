//! Versions, cipher suites and curves of `tls_server_config`.
//!
//! What rustls cannot do is left out with a note, and refused where nothing would be left.

use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup},
};

use super::{
    super::suggest,
    Findings,
    names::{self, HTTP2_NEEDS, Known, VERSIONS},
    table::{Table, shown},
};

/// What is spoken.
pub(super) struct Protocol {
    /// TLS 1.2, 1.3 or both; none where there was a mistake.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    /// The server's order of suites counts, not the client's.
    pub(super) prefer_own_order: bool,
    suites: Option<Vec<SupportedCipherSuite>>,
    curves: Option<Vec<&'static dyn SupportedKxGroup>>,
}

impl Protocol {
    pub(super) fn read(table: &mut Table, http2: bool, found: &mut Findings) -> Self {
        let (min_key, max_key) = (table.key("min_version"), table.key("max_version"));
        let min = version(table, "min_version", 2, found);
        let max = version(table, "max_version", 3, found);
        let versions = names::versions(min, max);
        if min < 2 {
            found.note(format!("{min_key}: {} is not spoken; TLS12 is the oldest", VERSIONS[min]));
        }
        if min > max {
            found.refuse(
                &min_key,
                format!("{} is above {max_key} {}; no version is left", VERSIONS[min], VERSIONS[max]),
            );
        } else if max < 2 {
            found.refuse(
                &max_key,
                format!("{} is not spoken, so no version is left; write TLS12 or TLS13", VERSIONS[max]),
            );
        }
        let prefer_own_order = table.flag("prefer_server_cipher_suites", true, found);
        let suites_key = table.key("cipher_suites");
        let names = table.list("cipher_suites", found).filter(|names| !names.is_empty());
        let suites = names.map(|names| {
            known(&names, (&suites_key, "cipher suite"), (names::suite, &names::suites()), found)
        });
        if let Some(suites) = suites.as_ref().filter(|suites| !suites.is_empty()) {
            check_suites(suites, (min, max), (http2, &suites_key), found);
        }
        let curves_key = table.key("curve_preferences");
        let names = table.list("curve_preferences", found).filter(|names| !names.is_empty());
        let curves =
            names.map(|names| known(&names, (&curves_key, "curve"), (names::curve, &names::curves()), found));
        Self { versions, prefer_own_order, suites, curves }
    }

    /// What rustls computes with. The suites of TLS 1.3 are not chosen, as in Go: all three are good.
    pub(super) fn provider(&self) -> CryptoProvider {
        let mut provider = super::tls::provider();
        if let Some(suites) = &self.suites {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some());
            provider.cipher_suites.extend(suites.iter().filter(|suite| suite.tls13().is_none()));
        }
        if let Some(curves) = &self.curves {
            provider.kx_groups.clone_from(curves);
        }
        provider
    }
}

/// What a name stands for.
type Find<T> = fn(&str) -> Option<Known<T>>;

/// A version's place in [`VERSIONS`].
fn version(table: &mut Table, name: &str, unless: usize, found: &mut Findings) -> usize {
    let Some(text) = table.text(name, found) else { return unless };
    VERSIONS.iter().position(|version| *version == text).unwrap_or_else(|| {
        let hint = suggest::one_of(&text, &VERSIONS);
        found.refuse(
            table.key(name),
            format!("{} is no TLS version; write TLS12 or TLS13{hint}", shown(&text)),
        );
        unless
    })
}

/// The names that rustls can do. A mistake where it can do none, and for a name that nobody knows.
fn known<T>(
    names: &[String],
    (key, thing): (&str, &str),
    (find, all): (Find<T>, &[&str]),
    found: &mut Findings,
) -> Vec<T> {
    let mut can = Vec::new();
    let mut cannot = Vec::new();
    let before = found.mistakes.0.len();
    for name in names {
        match find(name) {
            Some(Known::Can(it)) => can.push(it),
            Some(Known::Cannot) => cannot.push(name.as_str()),
            None => {
                let hint = suggest::one_of(name, all);
                found.refuse(key, format!("{} is no {thing}{hint}", shown(name)));
            }
        }
    }
    if can.is_empty() && found.mistakes.0.len() == before {
        let others: Vec<&str> = all.iter().copied().filter(|name| !cannot.contains(name)).collect();
        let (cannot, others) = (cannot.join(", "), others.join(", "));
        found.refuse(
            key,
            format!("redprobe's TLS does not have {cannot}, so no {thing} is left; add one of {others}"),
        );
    } else if !cannot.is_empty() {
        found.note(format!("{key}: left out, for redprobe's TLS does not have it: {}", cannot.join(", ")));
    }
    can
}

/// What a list of suites must have beside names.
fn check_suites(
    suites: &[SupportedCipherSuite],
    (min, max): (usize, usize),
    (http2, key): (bool, &str),
    found: &mut Findings,
) {
    let listed: Vec<CipherSuite> = suites.iter().map(SupportedCipherSuite::suite).collect();
    let none_of_tls12 = suites.iter().all(|suite| suite.tls13().is_some());
    if http2 && min < 3 && !HTTP2_NEEDS.iter().any(|needed| listed.contains(needed)) {
        found.refuse(
            key,
            "HTTP/2 needs TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 here; \
             add one, or set http_server_config.http2 to false, or min_version to TLS13",
        );
    } else if none_of_tls12 && max < 3 {
        found.refuse(
            key,
            "none of these is for TLS 1.2, so that with max_version TLS12 none is left; add one that is",
        );
    } else if none_of_tls12 && min < 3 {
        found.note(format!("{key}: none is for TLS 1.2, so that only TLS 1.3 is spoken"));
    }
}
