//! Secrets of the server's configuration appear nowhere, however loud the log is.

use testkit::RedisServer;

use crate::support::Daemon;

const SECRETS: [&str; 4] = ["hunter2secret", "m4stersecret", "k3ysecret", "us3rsecret"];

#[test]
fn no_secret_of_the_server_appears_anywhere() {
    let server = RedisServer::with(&[
        "--requirepass",
        SECRETS[0],
        "--masterauth",
        SECRETS[1],
        "--masteruser",
        "somebody",
        "--tls-key-file-pass",
        SECRETS[2],
    ]);
    server.ok(&["ACL", "SETUSER", "app", "on", &format!(">{}", SECRETS[3]), "+@all", "~*"]);
    let url = server.url().replace("redis://", &format!("redis://:{}@", SECRETS[0]));
    let mut told = Vec::new();
    for arguments in [
        &["run", "config_audit", "--format", "json", "-vv"][..],
        &["run", "config_audit", "-vv"],
        &["audit", "-vv"],
        &["audit", "--format", "markdown"],
    ] {
        let state = tempfile::TempDir::new().unwrap();
        let arguments = [arguments, &["--target", &url]].concat();
        let output = crate::probes::redprobe(state.path(), &arguments).output().unwrap();
        told.extend([output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    }
    let config = format!(
        "[log]\nlevel = \"trace\"\n\n[targets.a]\nurl = \"{url}\"\n\n[jobs.audit]\nprobe = \"config_audit\"\ntargets = [\"a\"]\nschedule = \"every 1s\"\n"
    );
    let daemon = Daemon::start(&config);
    daemon
        .await_metric("redprobe_runs_total", &["target=\"a\"", "probe=\"config_audit\""], |runs| runs >= 2.0);
    told.extend([daemon.scrape(), daemon.get("/api/v1/runs").body, daemon.get("/config").body, daemon.log()]);
    let hashes = server.cli(&["ACL", "GETUSER", "app"]);
    let hash = hashes.lines().find(|line| line.len() == 64).expect("a hash of the password");
    for text in &told {
        assert!(!text.is_empty());
        for secret in SECRETS.iter().chain([&hash]) {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }
}
