//! The rule is enough whichever way the server is reached: over its unix socket, and by TLS with a certificate of each side.

use std::fs;

use measure::Effect;
use redprobe::{probe::ProbeKind, probes::PROBES};
use testkit::{Certificate, RedisServer};

use super::{acl, settings};
use crate::probes::{Ran, run};

/// No URL takes it as it is.
const PASSWORD: &str = "p@ss/w#rd:%25";

/// A server that wants a certificate of each client with TLS, and listens on a socket too.
struct Bed {
    server: RedisServer,
    certificate: Certificate,
    /// URL of a user without a password, and the flags that go with it.
    ways: [(String, Vec<String>); 2],
}

impl Bed {
    fn new() -> Self {
        let certificate = Certificate::valid(&["redis.example.org"]);
        let server =
            RedisServer::with_tls(&certificate, &["--unixsocket", "redis.sock", "--tls-auth-clients", "yes"]);
        let socket = server.directory().join("redis.sock").display().to_string();
        let flags = [
            ("--ca-file", certificate.authority()),
            ("--cert-file", certificate.certificate()),
            ("--key-file", certificate.key()),
        ];
        let flags = flags.iter().flat_map(|(flag, file)| [(*flag).to_owned(), file.display().to_string()]);
        let flags = flags.chain(["--server-name".into(), "redis.example.org".into()]);
        let tls = format!("rediss://127.0.0.1:{}", server.tls_port());
        let ways = [(format!("unix://{socket}?db=3"), Vec::new()), (tls, flags.collect())];
        Self { server, certificate, ways }
    }

    /// Makes the user by the rule that is printed for this way, and runs the probe as that user.
    fn run(&self, kind: &ProbeKind, effect: Effect, (url, flags): &(String, Vec<String>)) -> Ran {
        let with = |url: &str, more: &[&str]| -> Vec<String> {
            let mut arguments = vec![kind.name, "--allow", effect.as_str(), "--target", url];
            arguments.extend(settings(kind.name).iter().flat_map(|setting| ["--set", setting]));
            arguments.extend(more);
            arguments.into_iter().map(str::to_owned).chain(flags.iter().cloned()).collect()
        };
        let text = acl(&refs(&with(url, &[])));
        let line = text.lines().find(|line| line.starts_with("ACL ")).expect("it is printed");
        self.server.ok(&line.replace("PASSWORD", PASSWORD).split(' ').collect::<Vec<_>>());
        let file = self.server.directory().join("password");
        fs::write(&file, format!("{PASSWORD}\n")).expect("an own directory can be written");
        let file = file.display().to_string();
        let user = match url.strip_prefix("unix://") {
            Some(_) => format!("{url}&user=redprobe"),
            None => url.replace("://", "://redprobe@"),
        };
        run(&refs(&with(&user, &["--password-file", &file])))
    }
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn the_printed_rule_is_enough_over_a_socket_and_by_tls() {
    let bed = Bed::new();
    for kind in PROBES {
        for way in &bed.ways {
            let ran = bed.run(kind, kind.reach, way);
            let (name, run) = (kind.name, ran.expect_measured());
            assert!(!run["errors"].to_string().contains("denied"), "{name} over {}: {ran:#?}", way.0);
            assert_eq!(bed.server.denied(), [] as [&str; 0], "{name} over {}", way.0);
            assert!(!ran.stderr.contains(" lacks "), "{name} over {}: {}", way.0, ran.stderr);
        }
    }
    drop(bed.certificate);
}

#[test]
fn the_password_may_be_in_the_url_of_a_socket_and_there_may_be_none() {
    let server = RedisServer::with(&["--unixsocket", "redis.sock"]);
    let socket = server.directory().join("redis.sock").display().to_string();
    let _url = server.user("prober", PASSWORD, "~* +@all");
    server.ok(&["ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all"]);
    for user in ["user=prober&pass=p%40ss%2Fw%23rd%3A%2525", "user=open"] {
        let ran = run(&["health", "--target", &format!("unix://{socket}?db=2&{user}")]);
        ran.expect("passed");
    }
}
