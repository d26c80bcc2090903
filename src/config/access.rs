//! What the command line says of how to get through to a target, over what is configured: password file and TLS.

use std::path::PathBuf;

use super::{Mistake, raw::TargetSettings};

/// Each as its flag has it; what is missing stays as configured.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `--password-file`.
    pub password_file: Option<PathBuf>,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// `--cert-file`.
    pub cert_file: Option<PathBuf>,
    /// `--key-file`.
    pub key_file: Option<PathBuf>,
    /// `--server-name`.
    pub server_name: Option<String>,
}

impl Access {
    /// Puts it in the place of what is configured.
    pub(super) fn lay_over(&self, settings: &mut TargetSettings) {
        let Self { password_file, ca_file, cert_file, key_file, server_name } = self.clone();
        if password_file.is_some() {
            (settings.password, settings.password_file) = (None, password_file);
        }
        settings.ca_file = ca_file.or_else(|| settings.ca_file.take());
        settings.cert_file = cert_file.or_else(|| settings.cert_file.take());
        settings.key_file = key_file.or_else(|| settings.key_file.take());
        settings.server_name = server_name.or_else(|| settings.server_name.take());
    }

    /// Names each mistake of the target after the flag that made it.
    pub(super) fn as_typed(&self, mistakes: Vec<Mistake>) -> Vec<Mistake> {
        let flags = [
            ("password_file", "--password-file", self.password_file.is_some()),
            ("ca_file", "--ca-file", self.ca_file.is_some()),
            ("cert_file", "--cert-file", self.cert_file.is_some()),
            ("key_file", "--key-file", self.key_file.is_some()),
            ("server_name", "--server-name", self.server_name.is_some()),
        ];
        let typed = |mut mistake: Mistake| {
            let key = mistake.key.strip_prefix("targets.").and_then(|key| key.rsplit_once('.'));
            let key = key.map_or("", |(_, key)| key);
            if let Some((_, flag, _)) = flags.iter().find(|(name, _, given)| *given && *name == key) {
                mistake.key = (*flag).to_owned();
            }
            mistake
        };
        mistakes.into_iter().map(typed).collect()
    }
}
