//! `make bench`: how redprobe's load and its `/metrics` compare with other tools, as ratios measured in one run.
//!
//! Every comparison runs interleaved, round by round, against the same redis-server, and quotes medians: machines
//! drift, ratios less so. Each client is a process of its own, so that processor time is counted alike for all. What
//! must be true for correctness is in the tests; nothing here fails a build.

use std::process::ExitCode;

mod ceiling;
mod client;
mod ops;
mod process;
mod scrape;
mod table;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] | ["all"] => ops::run(5).and_then(|()| scrape::run(3)),
        ["ops"] => ops::run(5),
        ["ops", rounds] => rounds.parse().map_err(Into::into).and_then(ops::run),
        ["scrape"] => scrape::run(3),
        ["client", rest @ ..] => client::run(rest),
        ["ceiling", rest @ ..] => ceiling::run(rest),
        _ => Err(anyhow::anyhow!("usage: redprobe-bench [all | ops [ROUNDS] | scrape]")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redprobe-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
