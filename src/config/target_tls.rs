//! The TLS of a target: its files, and the name that its certificate must be for.
//!
//! What is in the files is the core's to read; how it goes on from there too.

use measure::conn::{Endpoint, TlsFiles};

use super::{Mistakes, raw::TargetSettings};

/// Gives the endpoint what its settings say of TLS.
pub(super) fn apply(path: &str, settings: &TargetSettings, endpoint: &mut Endpoint, mistakes: &mut Mistakes) {
    let key = |name: &str| format!("{path}.{name}");
    let Some(tls) = endpoint.tls.take() else {
        let set = [
            ("ca_file", settings.ca_file.is_some()),
            ("cert_file", settings.cert_file.is_some()),
            ("key_file", settings.key_file.is_some()),
            ("server_name", settings.server_name.is_some()),
        ];
        let message = if settings.sentinels.is_some() || settings.cluster_nodes.is_some() {
            "is for TLS, and these servers are reached without; write tls = true, or leave it out"
        } else {
            "is for TLS, and the URL has none; write rediss:// in the URL, or leave it out"
        };
        for (name, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            mistakes.add(key(name), message);
        }
        return;
    };
    let files = TlsFiles {
        ca_file: settings.ca_file.clone(),
        cert_file: settings.cert_file.clone(),
        key_file: settings.key_file.clone(),
    };
    let tls = if files == TlsFiles::default() { Ok(tls) } else { tls.with_files(files) };
    let tls =
        tls.map_err(|wrong| wrong.into_iter().for_each(|(name, message)| mistakes.add(key(name), message)));
    let name = settings.server_name.as_deref();
    endpoint.tls = match (tls, name) {
        (Ok(tls), Some(name)) => mistakes.take(key("server_name"), tls.named(name)),
        (Ok(tls), None) => Some(tls),
        (Err(()), _) => None,
    };
}
