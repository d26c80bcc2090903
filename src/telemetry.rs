//! The log: tracing to stderr as text or JSON, and to a file where a directory is given.
//!
//! What is worth a line is decided where it happens; the runs' own logs are the runner's.

use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    path::Path,
    sync::Mutex,
};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    cli::LogArgs,
    config::{Log, LogFormat},
};

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for the rest of the process. `RUST_LOG` wins over `-v`, `-v` over the configuration.
///
/// # Errors
/// Where the directory cannot be written.
pub fn start(log: &Log, args: &LogArgs) -> anyhow::Result<()> {
    start_as(log, args, &file_name())
}

/// The name of this moment's files in a `--log-dir`, without their endings.
#[must_use]
pub fn file_name() -> String {
    let time = humantime::format_rfc3339_seconds(measure::clock::wall()).to_string().replace([':', '-'], "");
    format!("redprobe-{time}")
}

/// As [`start`], with a name for the log's file: a report beside it has the same.
///
/// # Errors
/// Where the directory cannot be written.
pub fn start_as(log: &Log, args: &LogArgs, name: &str) -> anyhow::Result<()> {
    let mut layers = vec![stderr(log.format)];
    if let Some(dir) = &args.log_dir {
        let file = file(dir, name).with_context(|| format!("{}: cannot write a log there", dir.display()))?;
        layers.push(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file)).boxed());
    }
    let filter = filter(&log.level, args.verbose, std::env::var("RUST_LOG").ok());
    // Per layer, so that it can be said of boxed ones.
    let layers: Vec<Boxed> =
        layers.into_iter().map(|layer| layer.with_filter(EnvFilter::new(&filter)).boxed()).collect();
    // A second start in one process (a test) keeps the first.
    tracing_subscriber::registry().with(layers).try_init().ok();
    Ok(())
}

fn stderr(format: LogFormat) -> Boxed {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        // The module's name would be a second field named `target`, after the Redis server's.
        LogFormat::Json => layer.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            layer.with_ansi(colour).with_target(false).boxed()
        }
    }
}

/// `-v` speaks of redprobe alone: its libraries at debug would drown it.
fn filter(level: &str, verbose: u8, rust_log: Option<String>) -> String {
    if let Some(filter) = rust_log.filter(|filter| filter.parse::<EnvFilter>().is_ok() && !filter.is_empty())
    {
        return filter;
    }
    match verbose {
        0 => level.to_owned(),
        1 => format!("{level},redprobe=debug,measure=debug"),
        _ => format!("{level},redprobe=trace,measure=trace"),
    }
}

/// A new file, named with the time.
fn file(dir: &Path, name: &str) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    File::options().create(true).append(true).open(dir.join(format!("{name}.log")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_wins_over_v_over_the_configuration() {
        assert_eq!(filter("warn", 0, None), "warn");
        assert_eq!(filter("warn", 1, None), "warn,redprobe=debug,measure=debug");
        assert_eq!(filter("warn", 2, Some("error".into())), "error");
        assert_eq!(filter("warn", 0, Some(String::new())), "warn");
    }
}
