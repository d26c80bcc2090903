//! The command line: exit codes, lists, and the commands that need no Redis.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Stdio,
    thread,
};

use crate::support::redprobe;

/// Exit code, stdout and stderr.
fn call(arguments: &[&str]) -> (i32, String, String) {
    let output = redprobe(arguments).env("STATE_DIRECTORY", "/tmp").output().expect("redprobe starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
}

/// 2 would read as a POOR run.
#[test]
fn bad_arguments_exit_3() {
    for arguments in
        [&["bogus"][..], &[], &["run"], &["probes", "--format", "xml"], &["serve", "--no-such-flag"]]
    {
        let (code, out, err) = call(arguments);
        assert_eq!((code, out.as_str()), (3, ""), "{arguments:?}: {err}");
        assert!(err.contains("--help") || err.contains("Usage: redprobe"), "{arguments:?}: {err}");
    }
}

#[test]
fn help_and_version_exit_0() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "serve"]] {
        let (code, out, err) = call(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out.contains("redprobe"), "{arguments:?}: {out}");
    }
}

#[test]
fn lists_are_json_for_programs() {
    let (code, out, _) = call(&["probes", "--format", "json"]);
    let probes: serde_json::Value = serde_json::from_str(&out).expect("probes prints JSON");
    assert_eq!(code, 0);
    let names: Vec<_> =
        probes.as_array().unwrap().iter().map(|probe| probe["name"].as_str().unwrap()).collect();
    let registry: Vec<_> = redprobe::probes::PROBES.iter().map(|kind| kind.name).collect();
    assert_eq!(names, registry);
    let (code, out, _) = call(&["metrics", "--format", "json"]);
    let metrics: serde_json::Value = serde_json::from_str(&out).expect("metrics prints JSON");
    assert_eq!(code, 0);
    let metrics = metrics.as_array().unwrap();
    assert_eq!(metrics.len(), redprobe::sink::metrics::Metrics::catalogue().len());
    assert!(metrics.iter().all(|metric| metric["help"].as_str().is_some_and(|help| !help.is_empty())));
}

#[test]
fn lists_for_people_name_everything() {
    let (_, probes, _) = call(&["probes"]);
    for kind in redprobe::probes::PROBES {
        let names = kind.settings.iter().map(|(name, _)| *name);
        let names = names.chain(kind.objectives.iter().map(|objective| objective.name));
        for name in names.chain(kind.metrics.iter().map(|metric| metric.name)).chain([kind.name]) {
            assert!(probes.contains(name), "{name} is missing");
        }
    }
    let (_, metrics, _) = call(&["metrics"]);
    for metric in redprobe::sink::metrics::Metrics::catalogue() {
        assert!(metrics.contains(metric.name), "{} is missing", metric.name);
    }
}

/// `redprobe probes | head -1` must not end in an error.
#[test]
fn a_reader_that_leaves_is_no_mistake() {
    let mut child = redprobe(&["metrics"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redprobe starts");
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = call(&["completions", shell]);
        assert_eq!(code, 0, "{shell}");
        assert!(out.contains("healthcheck"), "{shell}");
    }
}

#[test]
fn check_sums_up_what_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redprobe.toml");
    let text = "[targets.eu]\nurl = \"redis://:hunter2@cache.invalid:7000\"\nallow = \"load\"\n\
                environment = \"production\"\n\
                [jobs.info]\nprobe = \"server_info\"\ntargets = [\"*\"]\nschedule = \"*/5 * * * *\"\n";
    std::fs::write(&path, text).unwrap();
    let (code, out, err) = call(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""));
    let path = path.display();
    assert_eq!(
        out,
        format!(
            "{path}: no mistakes\n\
             state in /tmp, HTTP on 127.0.0.1:19121\n\
             1 target\n  eu: cache.invalid:7000, production, allows touch\n\
             2 jobs\n  health: health on eu, every 15s, at most 5s, touch\n  \
             info: server_info on eu, cron 0 */5 * * * * UTC, at most 5m, observe\n\
             note: targets.eu.allow: load is lowered to touch: nothing above it runs on production\n\
             start it: redprobe serve --config {path}\n"
        )
    );
}

#[test]
fn a_user_without_a_password_is_a_note_since_one_may_need_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redprobe.toml");
    std::fs::write(&path, "[targets.a]\nurl = \"redis://h\"\nusername = \"u\"\n").unwrap();
    let (code, out, _) = call(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(out.contains("note: targets.a.username: has no password, which is right only for"), "{out}");
}

#[test]
fn serve_refuses_to_watch_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redprobe.toml");
    std::fs::write(&path, "[log]\nlevel = \"warn\"\n").unwrap();
    let (code, _, err) = call(&["serve", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 3);
    assert!(err.contains("no target is configured") && err.contains("default-config"), "{err}");
}

/// Answers one request with this, and stops.
fn answer(status: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut request = [0; 1024];
        let length = stream.read(&mut request).expect("a request comes");
        stream.write_all(status.as_bytes()).expect("the answer leaves");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (address, server)
}

#[test]
fn healthcheck_tells_healthy_from_ill_and_absent() {
    for (status, code) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 3),
        ("SSH-2.0-x\r\n", 3),
    ] {
        let (address, server) = answer(status);
        let (got, _, err) = call(&["healthcheck", "--web.listen-address", &address.to_string()]);
        assert_eq!(got, code, "{status:?}: {err}");
        assert!(server.join().unwrap().starts_with("GET /-/healthy HTTP/1.1\r\n"));
    }
    // A daemon that goes on with its old configuration is well, whatever somebody is writing into the file.
    let (address, server) = answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redprobe.toml");
    let text =
        format!("surprise = 1\n[http]\nlisten = \"{address}\"\n[targets.cache]\nallow = \"everything\"\n");
    std::fs::write(&file, text).unwrap();
    let (got, _, err) = call(&["healthcheck", "--config", file.to_str().unwrap()]);
    assert_eq!(got, 0, "{err}");
    server.join().unwrap();
    let (got, _, err) = call(&["healthcheck", "--web.listen-address", "127.0.0.1:1"]);
    assert_eq!(got, 3);
    assert!(err.contains("127.0.0.1:1 does not answer"), "{err}");
}
