//! Running a client as a process of its own: what it printed, and the processor time that it took.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// What a finished client left.
pub(crate) struct Finished {
    pub(crate) stdout: String,
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
}

/// Runs it to its end. One at a time: the time is taken from the account of all finished children.
pub(crate) fn finish(command: &mut Command) -> anyhow::Result<Finished> {
    let before = children_cpu()?;
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    let cpu = children_cpu()? - before;
    Ok(Finished { stdout: String::from_utf8_lossy(&output.stdout).into_owned(), cpu })
}

/// Processor time of all finished children, in seconds: fields 16 and 17 of `/proc/self/stat`, in ticks of 10 ms.
fn children_cpu() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| -> anyhow::Result<f64> {
        Ok(fields.get(index).context("a field of /proc/self/stat")?.parse()?)
    };
    // After the command's name, field 3 comes first.
    Ok((ticks(13)? + ticks(14)?) / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1024.0)
}

/// Whether a program is on PATH.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
