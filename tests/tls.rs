//! Targets with TLS, as the whole of redprobe tells of them: each fault by its own reason and message wherever a run is
//! told of, and when the certificates expire.
//!
//! What a handshake comes to, version by version, is tested in the measuring core.

use std::fs;

use testkit::{Certificate, Issuer, RedisServer, poll_until};

use crate::support::{Daemon, redprobe};

/// A server for each fault, and what its target is configured with.
struct Bed {
    issuer: Issuer,
    good: Certificate,
    client: Certificate,
    expired: Certificate,
    elsewhere: Certificate,
    servers: Vec<RedisServer>,
}

/// Target, reason, words of the message.
const FAULTS: [(&str, &str, &[&str]); 7] = [
    ("wrong_password", "auth_rejected", &["WRONGPASS"]),
    ("expired", "tls_expired", &["expired on Mon, 01 Jan 2001"]),
    ("other_name", "tls_name", &["is for", "example.org", "set server_name"]),
    ("unknown_ca", "tls_untrusted", &["no authority in", "right ca_file?"]),
    ("no_client_certificate", "tls_client_certificate", &["set cert_file and key_file"]),
    ("no_client_certificate_12", "tls_client_certificate", &["set cert_file and key_file"]),
    ("strange_client", "tls_client_certificate", &["does not accept the client certificate"]),
];

/// 2040-01-01 and 2050-01-01.
const Y2040: f64 = 2_208_988_800.0;
const Y2050: f64 = 2_524_608_000.0;
const Y2001: f64 = 978_307_200.0;

impl Bed {
    fn new() -> Self {
        let issuer = Issuer::default();
        let good = issuer.until(2040, &["localhost"]);
        let client = issuer.until(2050, &["prober"]);
        let (expired, elsewhere) = (issuer.expired(&["localhost"]), issuer.valid(&["example.org"]));
        let mutual = ["--tls-auth-clients", "yes", "--requirepass", "its-password"];
        let mutual_12 = [&mutual[..], &["--tls-protocols", "TLSv1.2"]].concat();
        let servers = vec![
            RedisServer::with_tls(&good, &mutual),
            RedisServer::with_tls(&good, &mutual_12),
            RedisServer::with_tls(&expired, &[]),
            RedisServer::with_tls(&elsewhere, &[]),
        ];
        Self { issuer, good, client, expired, elsewhere, servers }
    }

    fn config(&self, stranger: &Certificate) -> String {
        let urls: Vec<String> = self.servers.iter().map(RedisServer::tls_url).collect();
        let identity =
            |of: &Certificate| format!("cert_file = {:?}\nkey_file = {:?}\n", of.certificate(), of.key());
        let target = |name: &str, url: &str, more: &str| {
            format!(
                "[targets.{name}]\nurl = {url:?}\nca_file = {:?}\nconnect_timeout = '10s'\n{more}\n",
                self.good.authority()
            )
        };
        let (right, wrong) = ("password = 'its-password'\n", "password = 'wrong'\n");
        let with = |more: &str| format!("{more}{}", identity(&self.client));
        let other_ca = Certificate::valid(&["localhost"]);
        let kept = self.servers[0].directory().join("other-ca.pem");
        fs::copy(other_ca.authority(), &kept).expect("an own directory can be written");
        let unknown = target("unknown_ca", &urls[0], &with(right))
            .replace(&format!("{:?}", self.good.authority()), &format!("{kept:?}"));
        [
            "[jobs.health]\nprobe = 'health'\ntargets = ['*']\nschedule = 'every 4s'\n".into(),
            target("good", &urls[0], &with(right)),
            target("wrong_password", &urls[0], &with(wrong)),
            target("expired", &urls[2], ""),
            target("other_name", &urls[3], ""),
            unknown,
            target("no_client_certificate", &urls[0], right),
            target("no_client_certificate_12", &urls[1], right),
            target("strange_client", &urls[1], &format!("{right}{}", identity(stranger))),
        ]
        .concat()
    }
}

#[test]
fn each_fault_has_its_reason_and_its_message_everywhere() {
    let (bed, stranger) = (Bed::new(), Certificate::valid(&["stranger"]));
    let config = format!("{}\n[log]\nlevel = 'info,redprobe=debug'\n", bed.config(&stranger));
    let daemon = Daemon::start(&config);
    daemon.await_metric("redprobe_up", &["target=\"good\""], |up| up == 1.0);
    for (target, reason, words) in FAULTS {
        let labels = [format!("target=\"{target}\""), format!("reason=\"{reason}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        daemon.await_metric("redprobe_run_failures_total", &labels, |count| count >= 1.0);
        daemon.await_metric("redprobe_up", &labels[..1], |up| up == 0.0);
        let run = daemon.runs(&format!("?target={target}")).remove(0);
        let message = run["conclusion"].as_str().expect("text");
        assert_eq!(run["reason"], reason, "{run:#}");
        assert!(words.iter().all(|word| message.contains(word)), "{target}: {message}");
        let json_text = serde_json::to_string(message).expect("text");
        daemon.await_log(json_text.trim_matches('"'));
        let file = daemon.config().display().to_string();
        let output = redprobe(&["run", "health", "--config", &file, "--target", target]).output();
        let output = output.expect("the binary was built with the tests");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains(&format!("({reason})")), "{target}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{target}: {text}");
    }
}

#[test]
fn when_certificates_expire_is_told_also_of_one_that_has() {
    const SERVER: &str = "redprobe_tls_certificate_expiry_timestamp_seconds";
    const CLIENT: &str = "redprobe_tls_client_certificate_expiry_timestamp_seconds";
    let (bed, stranger) = (Bed::new(), Certificate::valid(&["stranger"]));
    let daemon = Daemon::start(&bed.config(&stranger));
    daemon.await_metric(SERVER, &["target=\"good\""], |at| at == Y2040);
    assert_eq!(daemon.metric(CLIENT, &["target=\"good\""]), Some(Y2050));
    daemon.await_metric(SERVER, &["target=\"expired\""], |at| at == Y2001);
    assert_eq!(daemon.metric(CLIENT, &["target=\"expired\""]), None);
    let good = daemon.runs("?target=good").remove(0);
    let told = serde_json::json!({
        "certificate_expires_at": "2040-01-01T00:00:00Z",
        "client_certificate_expires_at": "2050-01-01T00:00:00Z",
    });
    assert_eq!(good["tls"], told);
    let alone = daemon.get("/probe?target=good&probe=health").body;
    assert!(alone.contains(&format!("{SERVER}{{target=\"good\"}} {Y2040}")), "{alone}");
    let file = daemon.config().display().to_string();
    let output = redprobe(&["run", "health", "--config", &file, "--target", "good"]).output();
    let text = String::from_utf8_lossy(&output.expect("it starts").stdout).into_owned();
    assert!(text.contains("certificate: expires 2040-01-01T00:00:00Z"), "{text}");
    assert!(text.contains("client certificate: expires 2050-01-01T00:00:00Z"), "{text}");
}

/// As cert-manager does it, while the daemon runs; and as a hasty hand does.
#[test]
fn certificates_are_renewed_under_a_running_daemon() {
    let (bed, stranger) = (Bed::new(), Certificate::valid(&["stranger"]));
    let daemon = Daemon::start(&bed.config(&stranger));
    let labels = ["target=\"strange_client\""];
    let reason = [labels[0], "reason=\"tls_client_certificate\""];
    daemon.await_metric("redprobe_run_failures_total", &reason, |count| count >= 1.0);
    stranger.replace_with(&bed.issuer.valid(&["prober"]));
    daemon.await_metric("redprobe_up", &labels, |up| up == 1.0);

    let key = fs::read(stranger.key()).expect("it is there");
    fs::write(stranger.key(), "half a key").expect("it can be written");
    let failed = poll_until(std::time::Duration::from_secs(30), || {
        // The connection that is kept has no need of the file.
        let _ended = bed.servers[1].cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        daemon.runs("?target=strange_client").iter().any(|run| {
            let message = run["conclusion"].as_str().unwrap_or_default();
            message.contains("have changed and cannot be used: key_file: ")
                && message.contains("no private key")
        })
    });
    assert!(failed, "{:#?}", daemon.runs("?target=strange_client"));
    fs::write(stranger.key(), key).expect("it can be written");
    daemon.await_metric("redprobe_up", &labels, |up| up == 1.0);
    drop((bed.expired, bed.elsewhere));
}

#[test]
fn flags_name_the_files_and_mistakes_name_the_flags() {
    let bed = Bed::new();
    let url = bed.servers[0].tls_url();
    let of = |file: std::path::PathBuf| file.display().to_string();
    let password = bed.servers[0].directory().join("password");
    fs::write(&password, "its-password\n").expect("an own directory can be written");
    let (ca, cert, key) = (of(bed.good.authority()), of(bed.client.certificate()), of(bed.client.key()));
    let call = |arguments: &[&str]| {
        let output = redprobe(&[&["run", "health"], arguments].concat()).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let password = of(password);
    let all = ["--target", &url, "--ca-file", &ca, "--cert-file", &cert, "--key-file", &key];
    let (code, said) = call(&[&all[..], &["--password-file", &password]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = call(&["--target", &url, "--cert-file", &cert, "--server-name", "a b"]);
    assert_eq!(code, Some(3));
    assert!(said.contains("error: --cert-file: has no key; set key_file as well"), "{said}");
    let (code, said) = call(&["--target", "redis://h", "--ca-file", &ca, "--server-name", "b"]);
    assert_eq!(code, Some(3));
    for flag in ["--ca-file", "--server-name"] {
        assert!(said.contains(&format!("error: {flag}: is for TLS, and the URL has none")), "{said}");
    }
}
