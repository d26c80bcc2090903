//! The flags that say how to get through to a target; the same for each command that takes one.

use std::path::PathBuf;

use clap::Args;

use crate::config::Access;

/// How to get through to the target, over what the configuration says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access to the target")]
pub struct AccessArgs {
    /// File with the password; a URL on the command line can be read by everybody on this machine.
    #[arg(long, value_name = "FILE", requires = "target")]
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities to trust, for rediss://
    #[arg(long, value_name = "FILE", requires = "target")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to a server that wants one.
    #[arg(long, value_name = "FILE", requires = "target")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, value_name = "FILE", requires = "target")]
    pub key_file: Option<PathBuf>,
    /// Name that the server's certificate must be for, where it is not the URL's host.
    #[arg(long, value_name = "NAME", requires = "target")]
    pub server_name: Option<String>,
}

impl From<&AccessArgs> for Access {
    fn from(args: &AccessArgs) -> Self {
        let AccessArgs { password_file, ca_file, cert_file, key_file, server_name } = args.clone();
        Self { password_file, ca_file, cert_file, key_file, server_name }
    }
}
