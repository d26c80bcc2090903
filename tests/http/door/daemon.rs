//! The whole daemon behind a door: what users may start, the health check, a bad start, and that nothing tells a secret.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;
use testkit::{Authority, RedisServer, poll_until};

use super::{super::PATIENCE, server::TLS};
use crate::support::{Daemon, redprobe};

const PASSWORD: &str = "correct-horse-7731";

struct Bench {
    directory: TempDir,
    clients: Authority,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clients = Authority::new("clients");
        // Another name than the address that a health check asks: it must not matter.
        Authority::new("servers").server(&["redprobe.example"]).write(directory.path(), "cert");
        clients.client(&["probe.example"]).write(directory.path(), "client");
        fs::write(directory.path().join("ca.pem"), clients.certificate()).expect("it can be written");
        fs::write(directory.path().join("password"), format!("{PASSWORD}\n")).expect("it can be written");
        Self { directory, clients }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn web(&self, text: &str) {
        let text = text.replace("key.pem", "cert-key.pem");
        fs::write(self.directory.path().join("web.yml"), text).expect("it can be written");
    }

    fn config(&self, redis: &RedisServer, more: &str) -> String {
        format!(
            "[http]\nweb_config_file = {:?}\n{more}\n[targets.cache]\nurl = {:?}\nallow = \"touch\"\n",
            self.path("web.yml"),
            redis.url()
        )
    }

    fn healthy(&self, daemon: &Daemon, more: &[&str]) -> (Option<i32>, String) {
        let (config, address) = (daemon.config().display().to_string(), daemon.address().to_string());
        let mut arguments = vec!["healthcheck", "--config", &config, "--web.listen-address", &address];
        arguments.extend(more);
        let output = redprobe(&arguments).output().expect("redprobe starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn users() -> String {
    format!("basic_auth_users:\n  joe: {}\n", bcrypt::hash(PASSWORD, 4).expect("it can be made"))
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn a_user_may_start_runs_and_reload_and_the_token_may_too() {
    let (bench, redis) = (Bench::new(), RedisServer::start());
    bench.web(&users());
    let mut daemon = Daemon::launch(&bench.config(&redis, "api_token = \"the-token-9142\""));
    daemon.await_listening();
    let user = basic("joe", PASSWORD);
    let run = r#"{"probe":"server_info","target":"cache"}"#;
    for (method, path, body) in
        [("POST", "/api/v1/runs", run), ("POST", "/-/reload", ""), ("GET", "/-/healthy", "")]
    {
        for (authorization, expected) in [
            (user.as_str(), 200),
            ("Bearer the-token-9142", 200),
            ("Bearer wrong", 401),
            (&basic("joe", "wrong"), 401),
            ("", 401),
        ] {
            let headers = [("Authorization", authorization), ("Content-Type", "application/json")];
            let headers = if authorization.is_empty() { &headers[1..] } else { &headers };
            let answer = daemon.request(method, path, headers, body);
            assert_eq!(answer.status, expected, "{method} {path} {authorization}: {}", answer.body);
        }
    }
    // Touch by the multi-target route.
    let probe = daemon.request("GET", "/probe?target=cache&probe=health", &[("Authorization", &user)], "");
    assert_eq!(probe.status, 200, "{}", probe.body);
    // A browser that remembers the login does not lend it to another site's page.
    for other in [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example"), ("Origin", "null")] {
        let headers = [("Authorization", user.as_str()), ("Content-Type", "application/json"), other];
        assert_eq!(daemon.request("POST", "/api/v1/runs", &headers, run).status, 403, "{other:?}");
    }
    let headers =
        [("Authorization", user.as_str()), ("Content-Type", "application/json"), ("Origin", "http://test")];
    assert_eq!(daemon.request("POST", "/api/v1/runs", &headers, run).status, 200);
    // No secret anywhere.
    let mut said = daemon.log();
    for path in ["/config", "/", "/metrics", "/api/v1/runs", "/api/v1/targets"] {
        said += &daemon.request("GET", path, &[("Authorization", &user)], "").body;
    }
    assert_eq!(daemon.stop(), Some(0));
    said += &daemon.log();
    assert!(said.contains("web.yml"), "the reader is broken");
    for secret in [PASSWORD, "the-token-9142", "$2b$", user.trim_start_matches("Basic ")] {
        assert!(!said.contains(secret), "{secret} is shown in {said}");
    }
}

#[test]
fn a_health_check_finds_its_daemon_behind_every_lock() {
    let (bench, redis) = (Bench::new(), RedisServer::start());
    let password = bench.path("password");
    let login = ["--user", "joe", "--password-file", &password];
    let verify = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
    let (certificate, key) = (bench.path("client.pem"), bench.path("client-key.pem"));
    let shown = ["--cert-file", certificate.as_str(), "--key-file", &key];

    bench.web(TLS);
    let mut daemon = Daemon::launch(&bench.config(&redis, ""));
    daemon.await_listening();
    let healthy = |arguments: &[&str]| bench.healthy(&daemon, arguments);
    assert!(poll_until(PATIENCE, || healthy(&[]).0 == Some(0)), "{:?}", healthy(&[]));

    bench.web(&format!("{TLS}{}", users()));
    assert_eq!(healthy(&login), (Some(0), String::new()));
    let (code, said) = healthy(&[]);
    assert!(code == Some(3) && said.contains("give --user and --password-file"), "{said}");

    bench.web(&format!("{TLS}{verify}{}", users()));
    assert_eq!(healthy(&[&login[..], &shown].concat()), (Some(0), String::new()));
    let (code, said) = healthy(&login);
    assert!(code == Some(3) && said.contains("give --cert-file and --key-file"), "{said}");

    // Somebody else's certificate is not taken for the daemon's.
    Authority::new("others").server(&["redprobe.example"]).write(bench.directory.path(), "other");
    fs::write(
        bench.directory.path().join("other.yml"),
        "tls_server_config:\n  cert_file: other.pem\n  key_file: other-key.pem\n",
    )
    .expect("it can be written");
    let (code, said) = healthy(&["--web.config.file", &bench.path("other.yml")]);
    assert!(code == Some(3) && said.contains("UnknownIssuer"), "{said}");
    bench.web("junk");
    assert_eq!(healthy(&login).0, Some(3));
    drop(bench.clients);
}

#[test]
fn the_token_of_the_configuration_opens_for_the_health_check() {
    let (bench, redis) = (Bench::new(), RedisServer::start());
    bench.web(&users());
    let mut daemon = Daemon::launch(&bench.config(&redis, "api_token = \"the-token-9142\""));
    daemon.await_listening();
    assert!(poll_until(PATIENCE, || bench.healthy(&daemon, &[]).0 == Some(0)));
}

#[test]
fn a_bad_web_configuration_is_a_bad_start() {
    let bench = Bench::new();
    bench.web("tls_server_config:\n  cert_file: none.pem\n  key_file: cert.pem\n");
    let config = bench.path("redprobe.toml");
    fs::write(&config, "[http]\nlisten = \"127.0.0.1:0\"\n[targets.a]\nurl = \"redis://127.0.0.1:1\"\n")
        .expect("it can be written");
    let web = bench.path("web.yml");
    let output = redprobe(&["serve", "--config", &config, "--web.config.file", &web])
        .env("STATE_DIRECTORY", bench.directory.path())
        .output()
        .expect("redprobe starts, and ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("tls_server_config.cert_file: none.pem: cannot be read"), "{said}");
    assert!(said.contains("tls_server_config.key_file: cert.pem: holds no private key"), "{said}");
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn the_shipped_file_is_harmless_and_promtool_likes_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/web.yml");
    let output = std::process::Command::new("promtool").args(["check", "web-config"]).arg(&path).output();
    let output = output.expect("promtool is installed; scripts/install-deps.sh promtool does it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&path).expect("it can be read");
    let web = redprobe::config::web::WebConfig::parse(&text, Path::new("/")).expect("it is good");
    assert!(web.tls.is_none() && web.users.is_empty() && web.rate_limit.is_none() && web.notes.is_empty());
    // What it shows is good, too, once it is switched on; promtool is too old for two of the keys.
    let bench = Bench::new();
    let on: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // Settings stand right after the #, or two blanks and more; words after one.
            Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") && !rest.contains("htpasswd") => {
                format!("{rest}\n")
            }
            _ => String::new(),
        })
        .collect();
    let on = on
        .replace("server-key.pem", "cert-key.pem")
        .replace("server.pem", "cert.pem")
        .replace("clients.pem", "ca.pem");
    let web = redprobe::config::web::WebConfig::parse(&on, bench.directory.path());
    let web = web.unwrap_or_else(|mistakes| panic!("{mistakes:?} in\n{on}"));
    assert!(
        web.tls.is_some() && !web.users.is_empty() && web.rate_limit.is_some() && !web.headers.is_empty()
    );
}
