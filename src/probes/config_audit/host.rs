//! What is read on the server's machine: kernel, limits, disk, files. Only where that is this machine.
//!
//! A server behind a port of a container, or reached through a tunnel, answers on the loopback too: its process has to be
//! found here, by its id and the time of its start.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use measure::{
    conn::{Address, Endpoint},
    facts::Info,
};
use rustix::fs::{StatVfs, statvfs};

use super::value::{Missing, Unknown, Value};

/// How far the start of the server, as it tells it, may be from that of the process: both round to seconds.
const START_DIFFERS: f64 = 3.0;

/// What is known of the machine.
#[derive(Debug)]
pub(super) struct Host(BTreeMap<&'static str, Result<Value, Missing>>);

impl Host {
    /// A fact.
    pub(super) fn get(&self, name: &str) -> Result<Value, Missing> {
        self.0.get(name).cloned().unwrap_or_else(|| Err(Missing::unclear(format!("nothing reads {name}"))))
    }
}

/// Reads the machine, where the server is on it.
pub(super) fn read(endpoint: &Endpoint, info: Option<&Info>, dir: Option<&str>) -> Result<Host, Missing> {
    let process = find(endpoint, info).ok_or_else(|| {
        Missing::Unknown(Unknown::Remote, "it is read on the server's machine, which this is not".to_owned())
    })?;
    let mut facts = BTreeMap::new();
    for name in
        ["overcommit_memory", "swap_total", "somaxconn", "tcp_max_syn_backlog", "thp", "clocksource", "cpus"]
    {
        facts.insert(name, kernel(name));
    }
    facts.insert("swapped", status(&process, "VmSwap:").map(|kilobytes| number(kilobytes * 1_024.0)));
    facts.insert("uid", uid(&process));
    facts.insert("open_files_limit", open_files(&process));
    facts.insert("cgroup_memory_max", cgroup(&process));
    let dir = dir.filter(|dir| !dir.is_empty()).map(|dir| in_its_root(&process, dir));
    let unknown = || Missing::Unknown(Unknown::Denied, "the server does not tell its directory".to_owned());
    let disk = dir.ok_or_else(unknown);
    facts.insert("disk_free", disk.clone().and_then(|dir| space(&dir)));
    facts.insert("disk_type", disk.and_then(|dir| file_system(&process, &dir)));
    let config = info.and_then(|info| info.text("config_file")).filter(|path| !path.is_empty());
    facts.insert(
        "config_world_readable",
        match config {
            Some(path) => world_readable(&in_its_root(&process, path)),
            None => Err(Missing::setup("the server has no configuration file")),
        },
    );
    Ok(Host(facts))
}

/// The folder of the server's process under /proc.
fn find(endpoint: &Endpoint, info: Option<&Info>) -> Option<PathBuf> {
    let here = match &endpoint.address {
        Address::Unix(_) => true,
        Address::Sentinel(_) => false,
        Address::Tcp(host, _) => {
            host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    };
    let info = info.filter(|_| here)?;
    let process = Path::new("/proc").join(info.integer("process_id")?.to_string());
    let name = read_line(&process.join("comm")).ok()?;
    let is_server = ["redis", "valkey", "keydb", "dragonfly"].iter().any(|known| name.starts_with(known));
    let started = (age(&process)? - info.number("uptime_in_seconds")?).abs() <= START_DIFFERS;
    (is_server && started).then_some(process)
}

/// Seconds since the process began.
fn age(process: &Path) -> Option<f64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before it may hold blanks, and ends with the last bracket.
    let start: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = read_line(Path::new("/proc/uptime")).ok()?.split_whitespace().next()?.parse().ok()?;
    Some(up - start / rustix::param::clock_ticks_per_second() as f64)
}

fn kernel(name: &str) -> Result<Value, Missing> {
    let path = Path::new(match name {
        "overcommit_memory" => "/proc/sys/vm/overcommit_memory",
        "somaxconn" => "/proc/sys/net/core/somaxconn",
        "tcp_max_syn_backlog" => "/proc/sys/net/ipv4/tcp_max_syn_backlog",
        "thp" => "/sys/kernel/mm/transparent_hugepage/enabled",
        "clocksource" => "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        "swap_total" => {
            return lines("/proc/meminfo", "SwapTotal:").map(|kilobytes| number(kilobytes * 1_024.0));
        }
        _ => return cpus(),
    });
    let text = read_line(path).map_err(|error| unreadable(path, &error))?;
    Ok(match text.parse::<f64>() {
        Ok(it) => number(it),
        // `always [madvise] never`
        Err(_) => match text.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
            Some((chosen, _)) => Value::text(chosen),
            None => Value::Text(text),
        },
    })
}

fn cpus() -> Result<Value, Missing> {
    let path = Path::new("/proc/cpuinfo");
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    match text.lines().filter(|line| line.starts_with("processor")).count() {
        0 => Err(Missing::unclear("the machine does not list its processors")),
        cpus => Ok(number(cpus as f64)),
    }
}

fn status(process: &Path, field: &str) -> Result<f64, Missing> {
    lines(process.join("status"), field)
}

/// The first number after this word at the beginning of a line.
fn lines(path: impl AsRef<Path>, field: &str) -> Result<f64, Missing> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let rest = text.lines().find_map(|line| line.strip_prefix(field));
    let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Missing::unclear(format!("{} has no {field}", path.display())))
}

/// `Uid:` real, effective, saved, of the file system.
fn uid(process: &Path) -> Result<Value, Missing> {
    let path = process.join("status");
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let rest = text.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = rest.and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    effective.map(number).ok_or_else(|| Missing::unclear("the process does not tell its user"))
}

/// `Max open files`, soft, hard, unit.
fn open_files(process: &Path) -> Result<Value, Missing> {
    let path = process.join("limits");
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let rest = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    match rest.and_then(|rest| rest.split_whitespace().next()) {
        Some("unlimited") => Ok(number(f64::from(u32::MAX))),
        Some(soft) => {
            soft.parse().map(number).map_err(|_| Missing::unclear("the limit of open files is no number"))
        }
        None => Err(Missing::unclear("the process does not tell its limit of open files")),
    }
}

/// The memory limit of the process's cgroup and of those above it: the least; 0 where there is none.
fn cgroup(process: &Path) -> Result<Value, Missing> {
    let path = process.join("cgroup");
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let second = text.lines().find_map(|line| line.strip_prefix("0::"));
    let first = text.lines().find_map(|line| line.split_once(":memory:").map(|(_, group)| group));
    let (root, file, group) = match (first, second) {
        (Some(group), _) => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", group),
        (None, Some(group)) => ("/sys/fs/cgroup", "memory.max", group),
        (None, None) => return Ok(number(0.0)),
    };
    let mut least: Option<f64> = None;
    for folder in Path::new(group.trim_start_matches('/')).ancestors() {
        let limit = read_line(&Path::new(root).join(folder).join(file)).ok();
        // "max", or a number beyond any memory, is none.
        let limit = limit.and_then(|text| text.parse::<f64>().ok()).filter(|limit| *limit < 1e15);
        least = [least, limit].into_iter().flatten().reduce(f64::min);
    }
    Ok(number(least.unwrap_or(0.0)))
}

/// A path as the server sees it: its root need not be ours.
fn in_its_root(process: &Path, path: &str) -> PathBuf {
    let root = process.join("root");
    match fs::read_link(&root) {
        Ok(link) if link == Path::new("/") => PathBuf::from(path),
        // Unreadable for all but the owner and root; then the path is most likely the same.
        Err(_) => PathBuf::from(path),
        Ok(_) => root.join(path.trim_start_matches('/')),
    }
}

fn space(dir: &Path) -> Result<Value, Missing> {
    let StatVfs { f_bavail, f_frsize, .. } =
        statvfs(dir).map_err(|error| unreadable(dir, &io::Error::from(error)))?;
    Ok(number(f_bavail as f64 * f_frsize as f64))
}

/// The type of the file system with the longest mount point above `dir`.
fn file_system(process: &Path, dir: &Path) -> Result<Value, Missing> {
    let path = process.join("mounts");
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let mounts = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounts.filter(|(point, _)| dir.starts_with(point));
    let found = above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| Value::text(kind));
    found.ok_or_else(|| Missing::unclear("no mount point holds the server's directory"))
}

fn world_readable(path: &Path) -> Result<Value, Missing> {
    let mode = fs::metadata(path).map_err(|error| unreadable(path, &error))?.permissions().mode();
    Ok(Value::Flag(mode & 0o004 != 0))
}

fn read_line(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn number(number: f64) -> Value {
    Value::Number(number)
}

fn unreadable(path: &Path, error: &io::Error) -> Missing {
    Missing::Unknown(Unknown::Unreadable, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let process = Path::new("/proc/self");
        assert!(age(process).is_some_and(|age| (0.0..3_600.0).contains(&age)));
        for name in ["overcommit_memory", "swap_total", "somaxconn", "cpus"] {
            assert!(matches!(kernel(name), Ok(Value::Number(_))), "{name}: {:?}", kernel(name));
        }
        assert_eq!(uid(process), Ok(number(f64::from(rustix::process::geteuid().as_raw()))));
        assert!(open_files(process).is_ok() && cgroup(process).is_ok() && status(process, "VmSwap:").is_ok());
        assert!(matches!(space(Path::new("/")), Ok(Value::Number(free)) if free >= 0.0));
        assert!(matches!(file_system(process, Path::new("/")), Ok(Value::Text(_))));
    }

    #[test]
    fn another_process_of_the_same_id_is_not_the_server() {
        let endpoint = Endpoint::parse("redis://127.0.0.1:1").unwrap();
        let own = fs::read_link("/proc/self").unwrap();
        let id = own.display();
        let info = Info::parse(&format!("process_id:{id}\r\nuptime_in_seconds:0\r\n"));
        let missing = read(&endpoint, Some(&info), None).unwrap_err();
        assert!(matches!(missing, Missing::Unknown(Unknown::Remote, _)), "its name is not a server's");
    }
}
