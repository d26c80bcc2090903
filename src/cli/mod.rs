//! The command line: what can be typed, and which file does it. One file per command.
//!
//! Commands turn arguments into calls of the rest and results into text and an [`Exit`]. What they print is product;
//! what they do belongs to `config`, `daemon`, `schedule` and `sink`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

mod access;
pub mod acl;
mod audit;
mod check;
mod default_config;
mod healthcheck;
mod metrics;
mod probes;
mod rearm;
mod restore;
pub mod run;
pub mod serve;

pub use access::AccessArgs;

const EXAMPLES: &str = "\
Begin with:
  redprobe run server_info --target redis://127.0.0.1:6379
  redprobe default-config > redprobe.toml
  redprobe check --config redprobe.toml
  redprobe serve --config redprobe.toml

Exit codes: 0 done; 1 FAIR and 2 POOR, for a run's grade; 3 not measured, or bad arguments or configuration;
4 something on a target could not be put back; 130 interrupted.";

const RUN_EXAMPLES: &str = "\
Examples:
  redprobe run server_info --target redis://127.0.0.1:6379
  redprobe run latency_baseline --target staging --set rate=200 --set sustained=10s
  redprobe run throughput --target redis://127.0.0.1:6379 --allow load --quick
  redprobe run all --target staging --format json --output report.json
  redprobe run health --target rediss://prober@cache:6380 --ca-file ca.pem --password-file secret

A target of the configuration brings the settings of its jobs; a URL gets the probes' own. --set takes TOML, and text
where that fails. Exit codes: 0 EXCELLENT or GOOD, 1 FAIR, 2 POOR, 3 not measured, 4 a setting
of the target could not be put back (redprobe restore tries again), 130 interrupted.";

const SERVE_EXAMPLES: &str = "\
Examples:
  redprobe serve --config redprobe.toml
  REDPROBE__TARGETS__STAGING__URL=redis://cache:6379 redprobe serve --config redprobe.toml

SIGHUP reads the configuration again; SIGTERM and Ctrl-C end the runs, clean up and stop.";

const ACL_EXAMPLES: &str = "\
Examples:
  redprobe acl health server_info --target staging
  redprobe acl all --allow touch --server-version 7.2
  redprobe acl throughput --target redis://127.0.0.1:6379 --allow load --user prober

The rule is for what the target allows (a URL: touch), or without a target for all that the probes can do. With a target,
the server is asked for its version and commands. Nothing is changed there, and no password of yours is shown: put one
in. serve and run compare what their user may do with the same list, and warn of what is missing.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  redprobe restore --config redprobe.toml
  redprobe restore --target redis://prober:password@cache:6379

What a run changes is noted in state_dir before. A setting that is still as the run made it gets its first value
again; one that somebody else has changed since is left alone and named. `serve` does the same at its start, and so
does every run that is about to change settings. Exit codes: 0 nothing is left to be put back, 3 something is.";

const AUDIT_EXAMPLES: &str = "\
Examples:
  redprobe audit --target redis://127.0.0.1:6379 --profile cache
  redprobe audit --target staging --format markdown --output audit.md
  redprobe audit --target staging --set 'accept=[\"P06\"]'

Nothing is changed on the server. Exit codes: 0 EXCELLENT or GOOD, 1 FAIR, 2 POOR, 3 not measured, 130 interrupted.";

const CHECK_EXAMPLES: &str = "\
Every mistake is a line `error: KEY: MESSAGE`; the exit code is 3 if there is one. Files of secrets are read, and no
server is asked.";

const REARM_EXAMPLES: &str = "\
Examples:
  redprobe rearm --config redprobe.toml
  redprobe rearm --config redprobe.toml --target staging memory_pressure

A probe that disrupts stays off once it had to be stopped, and everything above touch while somebody has halted it. Look
at why first: the report of the run, or `curl …/api/v1/targets`. A file `halt` in the state directory is to be removed by
hand.";

/// Scheduled probes against Redis, exported as Prometheus metrics.
#[derive(Debug, Parser)]
#[command(name = "redprobe", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the configured jobs on their schedules and serve their results over HTTP.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Run probes once, now, and print the report.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Compare a server's settings and state with what is advisable, and say how to mend what is not.
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit(AuditArgs),
    /// Print every mistake in the configuration; open no socket.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(ConfigArgs),
    /// Print the least ACL rule that some probes need on a server.
    #[command(after_help = ACL_EXAMPLES)]
    Acl(AclArgs),
    /// List the probes with their settings, objectives and metrics.
    Probes(FormatArgs),
    /// List every metric that redprobe can export.
    Metrics(FormatArgs),
    /// Print a configuration file with every setting, its default and its meaning.
    DefaultConfig,
    /// Allow again what was halted: everything, or only on one target, or one probe.
    #[command(after_help = REARM_EXAMPLES)]
    Rearm(RearmArgs),
    /// Put back the settings that a killed redprobe has left changed.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Ask a running redprobe whether it is alive.
    Healthcheck(HealthcheckArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file, TOML or YAML [default: /etc/redprobe/redprobe.toml where there is one]
    #[arg(long, value_name = "FILE", env = "REDPROBE_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
}

/// How much is logged, and where.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// Log more: -v for debug, -vv for trace.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write the log into this directory as well.
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
}

/// `redprobe serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Address to listen on, over what the configuration says.
    #[arg(long = "web.listen-address", value_name = "ADDR")]
    pub listen: Option<String>,
    /// TLS, users and more, in the format of Prometheus' exporters, over what the configuration says.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Run only this part of the targets, such as 2/5, over what the configuration says.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// `redprobe run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Probes to run, or `all`.
    #[arg(required = true, value_name = "PROBE")]
    pub probes: Vec<String>,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A target of the configuration, or the URL of a server [default: the only target configured]
    #[arg(long, value_name = "NAME|URL")]
    pub target: Option<String>,
    /// The greatest effect allowed on the target: observe, touch, load or disrupt [default for a URL: touch]
    #[arg(long, value_name = "EFFECT")]
    pub allow: Option<String>,
    /// Cut durations to 5 s and counts to a tenth.
    #[arg(long)]
    pub quick: bool,
    /// Change a setting; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Bound of one run.
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    pub timeout: String,
    /// Write the report to this file instead of stdout: as JSON, or as text where it ends in .txt.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// text for people, or json for programs
    #[arg(long, default_value = "text", hide_possible_values = true)]
    pub format: Format,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
    /// How to get through to the target.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// `redprobe acl`.
#[derive(Debug, Clone, Args)]
pub struct AclArgs {
    /// Probes that the user is for, or `all`.
    #[arg(required = true, value_name = "PROBE")]
    pub probes: Vec<String>,
    /// Where the configuration is; read for --target.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A target of the configuration, or the URL of a server [default: none; nothing is asked]
    #[arg(long, value_name = "NAME|URL")]
    pub target: Option<String>,
    /// The greatest effect that the probes may have: observe, touch, load or disrupt [default: the target's]
    #[arg(long, value_name = "EFFECT")]
    pub allow: Option<String>,
    /// Change a setting, where it decides what a probe sends; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", requires = "target")]
    pub set: Vec<String>,
    /// The user's name [default: the target's user, or redprobe]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Version of the server, such as 7.2 or "valkey 8.1" [default: the target's, or a current Redis]
    #[arg(long, value_name = "VERSION")]
    pub server_version: Option<String>,
    /// text for people, or json for programs
    #[arg(long, default_value = "text", hide_possible_values = true)]
    pub format: Format,
    /// How to get through to the target.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// `redprobe audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A target of the configuration, or the URL of a server [default: the only target configured]
    #[arg(long, value_name = "NAME|URL")]
    pub target: Option<String>,
    /// What the server is for: cache, buffer, store or mixed [default: the target's]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Change a setting of config_audit, as in 'expect={maxmemory="2gb"}' or 'accept=["P06"]'; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Bound of the audit.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub timeout: String,
    /// Write to this file instead of stdout: Markdown where it ends in .md, text in .txt, else JSON.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// text for people, markdown for pages and tickets, or json for programs
    #[arg(long, default_value = "text", hide_possible_values = true)]
    pub format: AuditFormat,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
    /// How to get through to the target.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// How an audit is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// For people.
    Text,
    /// For pages and tickets.
    Markdown,
    /// For programs.
    Json,
}

/// How a list is printed.
#[derive(Debug, Clone, Args)]
pub struct FormatArgs {
    /// text for people, or json for programs
    #[arg(long, default_value = "text", hide_possible_values = true)]
    pub format: Format,
}

/// `redprobe rearm`.
#[derive(Debug, Clone, Default, Args)]
pub struct RearmArgs {
    /// The probe to allow again [default: whatever was halted]
    #[arg(value_name = "PROBE")]
    pub probe: Option<String>,
    /// Where the configuration is; it says where the state directory is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only on this target.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

/// `redprobe restore`.
#[derive(Debug, Clone, Default, Args)]
pub struct RestoreArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only on this target of the configuration, or on the server of this URL [default: wherever a target is the server]
    #[arg(long, value_name = "NAME|URL")]
    pub target: Option<String>,
    /// How to get through to the target.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// `redprobe healthcheck`.
#[derive(Debug, Clone, Default, Args)]
pub struct HealthcheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Address of the daemon, over what the configuration says.
    #[arg(long = "web.listen-address", value_name = "ADDR")]
    pub listen: Option<String>,
    /// The daemon's web configuration file, over what the configuration says.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// User to log in as; without one, the configuration's API token is shown.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// File with the user's password.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Certificate to show, where the daemon asks clients for one.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

/// Text or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; a measured run was EXCELLENT or GOOD.
    Ok,
    /// A measured run was FAIR.
    Fair,
    /// A measured run was POOR.
    Poor,
    /// Not measured, or bad arguments or configuration.
    NotMeasured,
    /// Something on a target could not be put back.
    NotRestored,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Fair => 1,
            Exit::Poor => 2,
            Exit::NotMeasured => 3,
            Exit::NotRestored => 4,
            Exit::Interrupted => 130,
        }
    }
}

/// Does what was typed.
///
/// # Errors
/// With the sentence to print; [`crate::config::Mistakes`] where the configuration is wrong.
pub async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Check(args) => check::run(&args),
        Command::Acl(args) => acl::run(args).await,
        Command::Probes(args) => probes::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::DefaultConfig => default_config::run(),
        Command::Rearm(args) => rearm::run(&args),
        Command::Restore(args) => restore::run(&args).await,
        Command::Healthcheck(args) => healthcheck::run(&args).await,
        Command::Completions { shell } => {
            use clap::CommandFactory;
            clap_complete::generate(shell, &mut Cli::command(), "redprobe", &mut io::stdout());
            Ok(Exit::Ok)
        }
    }
}

/// What to say where there is nothing to watch.
pub(crate) const NO_TARGET: &str = "no target is configured; write one, starting from \
     `redprobe default-config > redprobe.toml`, and pass it with --config redprobe.toml";

/// Prints a result. A reader that has gone (`| head`) is no mistake.
fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print"),
    }
}

/// JSON for people to read and programs to parse.
fn json_text(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
