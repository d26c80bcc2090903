//! The binary: arguments in, exit code out. What a command does is in `redprobe::cli`.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use redprobe::{
    cli::{self, Cli, Exit},
    config::Mistakes,
};

fn main() -> ExitCode {
    // Before anything can open a TLS connection; fails only where one is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
    redprobe::private::keep_secrets();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe leaves nobody to tell.
            error.print().ok();
            // clap's own 2 would read as a POOR run.
            return if error.use_stderr() { exit(Exit::NotMeasured) } else { exit(Exit::Ok) };
        }
    };
    // Load has threads of its own; these two carry HTTP, schedules and the observing probes.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(cli::dispatch(cli));
            // Not for ever: a name lookup that hangs cannot be called back.
            runtime.shutdown_timeout(Duration::from_secs(1));
            result
        }
        Err(error) => Err(error.into()),
    };
    result.map_or_else(
        |error| {
            match error.downcast_ref::<Mistakes>() {
                Some(mistakes) => mistakes.0.iter().for_each(|mistake| eprintln!("error: {mistake}")),
                None => eprintln!("error: {error:#}"),
            }
            exit(Exit::NotMeasured)
        },
        exit,
    )
}

fn exit(exit: Exit) -> ExitCode {
    ExitCode::from(exit.code())
}
